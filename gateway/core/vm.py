"""The shapes of a virtual machine, as lists, single reads, the job engine and the watcher see it."""

from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.ids import MachineKey, VmKey

RAM_STEP_MB: Final = 256


def round_up_ram_mb(ram_mb: int) -> int:
    """Return `ram_mb` rounded up to VergeOS' step of 256 MB; VergeOS would round it down (VergeOS API notes 3.1)."""
    return -(-ram_mb // RAM_STEP_MB) * RAM_STEP_MB


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class VmRow(_Shape):
    """One VM in a list. Its texts are cleaned; `running` is None where VergeOS did not tell it."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "status", "cpu_cores", "ram_mb", "node")

    id: VmKey
    name: str
    running: bool | None
    status: str
    cpu_cores: int
    ram_mb: int
    os_family: str
    enabled: bool
    need_restart: bool
    node: str | None = Field(description="Name of the node it runs on; null while it is stopped.")
    cluster: str | None
    description: str
    machine_id: MachineKey | None
    uuid: str = ""


class Vm(VmRow):
    """One VM with its configuration and its present use. Times are Unix seconds."""

    guest_agent: bool
    machine_type: str
    uefi: bool
    secure_boot: bool
    boot_order: str
    on_power_loss: str
    allow_hotplug: bool
    ha_group: str
    snapshot_profile: str | None
    is_snapshot: bool
    created_at: int | None
    modified_at: int | None
    started_at: int | None
    cpu_used_percent: float | None
    ram_used_mb: int | None = Field(description="RAM the node holds for it; the guest may count otherwise.")


class VmStatus(_Shape):
    """The power state of one VM. `started_at` is in Unix seconds."""

    id: VmKey
    name: str
    running: bool | None
    status: str
    status_info: str
    node: str | None
    started_at: int | None
    need_restart: bool


class VmLook(_Shape):
    """What a job must know of a VM before it acts, from one live request.

    `name` is exact, as VergeOS has it, for the check that this is still the same VM: clean it before it
    is shown. `max_cores_per_vm` and `max_ram_mb_per_vm` are its cluster's limits, None = none told.
    """

    key: VmKey
    machine: MachineKey
    name: str
    uuid: str
    is_snapshot: bool
    enabled: bool
    allow_hotplug: bool
    guest_agent: bool
    running: bool
    status: str
    status_info: str
    started_at: int | None
    node: str | None
    cpu_cores: int
    ram_mb: int
    need_restart: bool
    max_cores_per_vm: int | None
    max_ram_mb_per_vm: int | None


class MachineState(_Shape):
    """The power state of one machine, as the watcher sees it. `started_at` is in Unix seconds."""

    machine: MachineKey
    running: bool
    status: str
    started_at: int | None
    node: str | None


class LogLine(_Shape):
    """One line of a machine's log; `at` is in Unix seconds."""

    at: float
    level: str
    text: str
    user: str
