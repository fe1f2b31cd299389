"""The views of what hangs on a VM: its drives, its network interfaces, its snapshots; and whose a machine is."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.drive import DriveRow
from gateway.core.ids import MachineKey, VmKey
from gateway.core.nic import GuestNic, NicRow, VmNetwork
from gateway.core.snapshot import StoredSnapshot
from gateway.core.vm import VmRow
from gateway.vergeos import drives, nics, snapshots
from gateway.vergeos.client import VergeClient
from gateway.vergeos.machines import vm_of_machine
from gateway.views.declared import LIST_SECONDS, SINGLE_SECONDS, VMS, View
from gateway.views.reads import Reads
from gateway.views.rows import Rows

GUEST_SECONDS: Final = 30.0  # agents report no oftener
_BY_MACHINE: Final = "by_machine"


def _name(row: StoredSnapshot) -> str:
    return row.name


def _in_order(row: DriveRow | NicRow) -> str:
    return f"{row.order:06}"


def _key(row: DriveRow | NicRow | StoredSnapshot | VmNetwork) -> int:
    return row.id


def _mac(nic: GuestNic) -> str:
    return nic.mac_address


SNAPSHOTS: Final[View[StoredSnapshot]] = View(
    "snapshots", "snapshots", StoredSnapshot, snapshots.list_snapshots, _key, _name, LIST_SECONDS
)


VM_NETWORKS: Final[View[VmNetwork]] = View(
    "vm-networks", "vm_networks", VmNetwork, nics.list_vm_networks, _key, lambda link: link.network, LIST_SECONDS
)


def drives_view(vm_key: VmKey, machine_key: MachineKey) -> View[DriveRow]:
    """Return the view of a VM's drives."""

    async def query(vergeos: VergeClient) -> Sequence[DriveRow]:
        return await drives.list_drives(vergeos, machine_key)

    return View(_drives(vm_key), "vm_drives", DriveRow, query, _key, _in_order, SINGLE_SECONDS)


def nics_view(vm_key: VmKey, machine_key: MachineKey) -> View[NicRow]:
    """Return the view of a VM's network interfaces."""

    async def query(vergeos: VergeClient) -> Sequence[NicRow]:
        return await nics.list_nics(vergeos, machine_key)

    return View(_nics(vm_key), "vm_nics", NicRow, query, _key, _in_order, SINGLE_SECONDS)


def guest_view(vm_key: VmKey, machine_key: MachineKey) -> View[GuestNic]:
    """Return the view of what the agent in a VM's guest tells of its addresses."""

    async def query(vergeos: VergeClient) -> Sequence[GuestNic]:
        return await nics.guest_nics(vergeos, machine_key)

    return View(f"vm-guest:{vm_key}", "vm_guest", GuestNic, query, _mac, _mac, GUEST_SECONDS)


def snapshots_view(vm_key: VmKey, machine_key: MachineKey) -> View[StoredSnapshot]:
    """Return the view of one VM's snapshots."""

    async def query(vergeos: VergeClient) -> Sequence[StoredSnapshot]:
        return await snapshots.list_snapshots(vergeos, machine_key)

    return View(_snapshots(vm_key), "vm_snapshots", StoredSnapshot, query, _key, _name, SINGLE_SECONDS)


def changed_by_jobs(vm_key: VmKey) -> tuple[str, ...]:
    """Return the names of the views to be read anew after a job changed a VM's drives or snapshots.

    A restore brings the network interfaces back as well.
    """
    return (_drives(vm_key), _nics(vm_key), _snapshots(vm_key), SNAPSHOTS.name)


def by_machine(vms: Rows[VmRow]) -> Mapping[MachineKey, VmRow]:
    """Return the VMs by their machines; made once for each reading of the list."""
    known: Mapping[MachineKey, VmRow] | None = vms.rendered.get(_BY_MACHINE)
    if known is None:
        known = {row.machine_id: row for row in vms.rows if row.machine_id is not None}
        vms.rendered[_BY_MACHINE] = known
    return known


async def owner_of(views: Reads, vergeos: VergeClient, machine_key: MachineKey | None) -> VmRow | None:
    """Return the VM whose machine this is, None for any other machine, or for none at all.

    No request where a fresh list is known and has it, else one. Whoever sees a part of the VMs needs the list whatever
    the machine, so that he waits for what is hidden as for what is not there. Raises an UpstreamError.
    """
    if views.limited:
        seen = by_machine(await views.rows(VMS))
        return None if machine_key is None else seen.get(machine_key)
    if machine_key is None:
        return None
    known = await views.known(VMS)
    found = None if known is None else by_machine(known).get(machine_key)
    return await vm_of_machine(vergeos, machine_key) if found is None else found


def _drives(vm_key: VmKey) -> str:
    return f"vm-drives:{vm_key}"


def _nics(vm_key: VmKey) -> str:
    return f"vm-nics:{vm_key}"


def _snapshots(vm_key: VmKey) -> str:
    return f"vm-snapshots:{vm_key}"
