"""What a job is asked to reach: one small shape per kind, stored in the job's record."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Wish(BaseModel):
    """What is wanted of one object.

    `leads_to` is the power state this wish means to leave behind; wishes that lead to opposite states
    do not wait behind each other. `overtakes` names the kinds whose open jobs this wish goes before.
    A member that is not known is a newer version's: such a wish is not for us to fulfil in part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    leads_to: ClassVar[Literal["on", "off"] | None] = None
    overtakes: ClassVar[frozenset[str]] = frozenset()

    def opposes(self, other: "Wish") -> bool:
        """Tell whether this wish and `other` want opposite power states."""
        return {self.leads_to, other.leads_to} == {"on", "off"}


class PowerOn(Wish):
    """The VM runs."""

    kind: Literal["power_on"] = "power_on"
    leads_to: ClassVar[Literal["on", "off"] | None] = "on"


class PowerOff(Wish):
    """The VM is off: asked by ACPI, then `wait_seconds` of grace, then by force where `force` is true.

    `wait_seconds` 0 asks once and never forces. `force` None means that nobody said.
    """

    kind: Literal["power_off"] = "power_off"
    leads_to: ClassVar[Literal["on", "off"] | None] = "off"
    wait_seconds: int = 0
    force: bool | None = None


class ForceOff(Wish):
    """The VM is off at once, as if its plug were pulled."""

    kind: Literal["force_off"] = "force_off"
    leads_to: ClassVar[Literal["on", "off"] | None] = "off"
    overtakes: ClassVar[frozenset[str]] = frozenset({"power_off"})


class Reset(Wish):
    """The VM starts anew: the guest reboots, or the machine is reset where `hard` is true."""

    kind: Literal["reset"] = "reset"
    hard: bool = False


class Resize(Wish):
    """The VM has these cores and this RAM (None = as it is); a VM that ran runs again where `restart` is true.

    `asked_ram_mb` is what the caller said before it was rounded up to what VergeOS can store.
    """

    kind: Literal["resize"] = "resize"
    cpu_cores: int | None = None
    ram_mb: int | None = None
    asked_ram_mb: int | None = None
    may_stop: bool = False
    wait_seconds: int = 60
    force: bool | None = False
    restart: bool = True

    def wanted(self) -> dict[str, Any]:
        """Return the sizes that are asked for."""
        sizes = {"cpu_cores": self.cpu_cores, "ram_mb": self.ram_mb}
        return {name: value for name, value in sizes.items() if value is not None}


class CreateSnapshot(Wish):
    """The VM has a new snapshot, kept for `expires_days` from the job's acceptance; 0 keeps it for ever.

    Without a name it is named by that time. No time stands here: a call that is repeated is the same wish.
    """

    kind: Literal["create_snapshot"] = "create_snapshot"
    name: str = ""
    description: str = ""
    expires_days: int = 7
    quiesce: bool = False


class DeleteSnapshot(Wish):
    """This snapshot of the VM is gone."""

    kind: Literal["delete_snapshot"] = "delete_snapshot"
    snapshot_key: int


class RestoreSnapshot(Wish):
    """The VM is as it was at this snapshot; a VM that runs is stopped for it where `may_stop` is true."""

    kind: Literal["restore_snapshot"] = "restore_snapshot"
    snapshot_key: int
    may_stop: bool = False
    wait_seconds: int = 60
    force: bool | None = False


class AddDrive(Wish):
    """The VM has a new drive, attached at once where it runs and can be."""

    kind: Literal["add_drive"] = "add_drive"
    name: str
    description: str = ""
    size_bytes: int
    interface: str = "virtio-scsi"
    tier: int | None = None


class ResizeDrive(Wish):
    """This drive of the VM has this size; drives only grow."""

    kind: Literal["resize_drive"] = "resize_drive"
    drive_key: int
    size_bytes: int


class NetworkAction(Wish):
    """The network is on, off, started anew, or has its pending rules applied."""

    kind: Literal["network_action"] = "network_action"
    action: Literal["poweron", "poweroff", "reset", "apply"]

    def opposes(self, other: Wish) -> bool:
        """Tell whether the one powers on what the other powers off."""
        return isinstance(other, type(self)) and {self.action, other.action} == {"poweron", "poweroff"}


class TenantAction(Wish):
    """The tenant is on, off, or started anew."""

    kind: Literal["tenant_action"] = "tenant_action"
    action: Literal["poweron", "poweroff", "reset"]

    def opposes(self, other: Wish) -> bool:
        """Tell whether the one powers on what the other powers off."""
        return isinstance(other, type(self)) and {self.action, other.action} == {"poweron", "poweroff"}


AnyWish = Annotated[
    PowerOn
    | PowerOff
    | ForceOff
    | Reset
    | Resize
    | CreateSnapshot
    | DeleteSnapshot
    | RestoreSnapshot
    | AddDrive
    | ResizeDrive
    | NetworkAction
    | TenantAction,
    Field(discriminator="kind"),
]
