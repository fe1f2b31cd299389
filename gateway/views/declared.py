"""The views there are: what each asks of VergeOS, how long its rows may be served, and who may see them."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from gateway.core.access import Permission
from gateway.core.ids import VmKey
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.vm import Vm, VmLook, VmRow, VmStatus
from gateway.vergeos import vms
from gateway.vergeos.client import VergeClient

T = TypeVar("T", bound=BaseModel)

LIST_SECONDS = 30.0
SINGLE_SECONDS = 5.0  # a person who looks at one VM waits for it to change


@dataclass(frozen=True)
class View(Generic[T]):
    """One named read. `kind` is its metrics label; `key` and `label` are a row's key in VergeOS and its name.

    Rows are kept in the order of label, case aside, then key: Redis' hash keeps none, and VergeOS' order of
    names is not documented. `place`, where given, comes before that: numbers of a row, the least first.
    `listed` is the list that shows the only row of this view too, so that a live read of one puts its row there right.
    """

    name: str
    kind: str
    shape: type[T]
    query: Callable[[VergeClient], Awaitable[Iterable[T]]]
    key: Callable[[T], int | str]
    label: Callable[[T], str]
    lifetime_seconds: float
    permission: Permission = Permission.READ
    place: Callable[[T], tuple[float, ...]] | None = None
    listed: "View[Any] | None" = None

    def order(self, row: T) -> tuple[tuple[float, ...], str, str, str]:
        """Return what rows are sorted by."""
        label, place = self.label(row), () if self.place is None else self.place(row)
        return place, label.casefold(), label, str(self.key(row)).zfill(20)

    def told_to(self, listed: "View[Any]", row: T) -> dict[str, Any]:
        """Return what a row tells of the row that another view has of the same object, ready for JSON."""
        shared = self.shape.model_fields.keys() & listed.shape.model_fields.keys()
        return row.model_dump(mode="json", include=set(shared))

    def parse(self, stored: bytes) -> T:
        """Return a stored row; raises pydantic's ValidationError where another version wrote it."""
        return self.shape.model_validate_json(stored)


def _id(row: VmRow | VmStatus) -> VmKey:
    return row.id


def _name(row: VmRow | VmStatus) -> str:
    return row.name


VMS: View[VmRow] = View("vms", "vms", VmRow, vms.list_vms, _id, _name, LIST_SECONDS)


def vm_view(vm_key: VmKey) -> View[Vm]:
    """Return the view of one VM with configuration and use."""

    async def query(vergeos: VergeClient) -> tuple[Vm]:
        return (await vms.get_vm(vergeos, vm_key),)

    return View(f"vm:{vm_key}", "vm", Vm, query, _id, _name, SINGLE_SECONDS, listed=VMS)


def vm_status_view(vm_key: VmKey) -> View[VmStatus]:
    """Return the view of one VM's power state."""

    async def query(vergeos: VergeClient) -> tuple[VmStatus]:
        return (await vms.get_vm_status(vergeos, vm_key),)

    return View(f"vm-status:{vm_key}", "vm_status", VmStatus, query, _id, _name, SINGLE_SECONDS, listed=VMS)


def seen_in_look(look: VmLook) -> dict[str, Any]:
    """Return the members of a `VmRow` that a job's live look tells."""
    return {
        "name": clean(look.name, NAME_LIMIT),
        "uuid": look.uuid,
        "running": look.running,
        "status": look.status,
        "cpu_cores": look.cpu_cores,
        "ram_mb": look.ram_mb,
        "enabled": look.enabled,
        "need_restart": look.need_restart,
        "node": look.node,
        "machine_id": look.machine,
    }
