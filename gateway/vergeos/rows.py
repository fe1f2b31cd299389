"""VergeOS' rows turned into the core's shapes: every field name of VergeOS and every conversion of units is here.

Texts that go out are cleaned; only `VmLook.name` is left as it is.
"""

from dataclasses import dataclass
from typing import Any

from gateway.core.errors import VergeOSBadAnswer
from gateway.core.ids import MachineKey, VmKey
from gateway.core.vm import LogLine, MachineState, Vm, VmLook, VmRow, VmStatus
from gateway.vergeos.columns import Row, decimal, exact, flag, moment, name, number, required, running, text, word

_MICROSECONDS = 1_000_000  # the logs count these; every other time of VergeOS is in seconds

_POWER = "machine#status#running as running,machine#status#status as status"
_NODE = "machine#status#node#name as node_name"
_STARTED = "machine#status#started as started"
VM_LIST_FIELDS = (
    f"$key,name,uuid,description,cpu_cores,ram,os_family,enabled,need_restart,machine,{_POWER},"
    f"{_NODE},machine#cluster#name as cluster_name"
)
VM_FIELDS = (
    f"{VM_LIST_FIELDS},guest_agent,machine_type,uefi,secure_boot,boot_order,on_power_loss,allow_hotplug,"
    f"ha_group,created,modified,is_snapshot,snapshot_profile#name as profile,{_STARTED},"
    "machine#stats#total_cpu as cpu_pct,machine#stats#ram_used as ram_used"
)
VM_STATUS_FIELDS = f"$key,name,need_restart,{_POWER},machine#status#status_info as info,{_NODE},{_STARTED}"
VM_LOOK_FIELDS = (
    f"$key,name,uuid,machine,is_snapshot,enabled,allow_hotplug,guest_agent,cpu_cores,ram,need_restart,{_POWER},"
    f"machine#status#status_info as info,{_NODE},{_STARTED},machine#cluster#max_cores_per_vm as max_cores_per_vm,"
    "machine#cluster#max_ram_per_vm as max_ram_per_vm"
)
MACHINE_STATE_FIELDS = "machine,running,status,started,node#name as node_name"
MACHINE_LOG_FIELDS = "$key,timestamp,level,text,user"
IDENTITY_FIELDS = "$key,yb_version,os_version,cloud_name"


@dataclass(frozen=True)
class Identity:
    """Which VergeOS system answers; a text that it does not tell is empty."""

    system: str
    name: str
    version: str


def vm_row(row: Row) -> VmRow:
    """Return the list row of a VM; raises VergeOSBadAnswer if the row has no key."""
    return VmRow(**_listed(row))


def vm(row: Row) -> Vm:
    """Return a VM with configuration and use; raises VergeOSBadAnswer if the row has no key."""
    return Vm(
        **_listed(row),
        guest_agent=flag(row, "guest_agent"),
        machine_type=word(row, "machine_type"),
        uefi=flag(row, "uefi"),
        secure_boot=flag(row, "secure_boot"),
        boot_order=word(row, "boot_order"),
        on_power_loss=word(row, "on_power_loss"),
        allow_hotplug=flag(row, "allow_hotplug"),
        ha_group=word(row, "ha_group"),
        snapshot_profile=name(row, "profile"),
        is_snapshot=flag(row, "is_snapshot"),
        created_at=moment(row, "created"),
        modified_at=moment(row, "modified"),
        started_at=moment(row, "started"),
        cpu_used_percent=decimal(row, "cpu_pct"),
        ram_used_mb=number(row, "ram_used"),
    )


def vm_status(row: Row) -> VmStatus:
    """Return the power state of a VM; raises VergeOSBadAnswer if the row has no key."""
    return VmStatus(
        id=VmKey(required(row, "$key")),
        name=name(row, "name") or "",
        running=running(row),
        status=word(row, "status") or "unknown",
        status_info=text(row, "info"),
        node=name(row, "node_name"),
        started_at=moment(row, "started"),
        need_restart=flag(row, "need_restart"),
    )


def vm_look(row: Row) -> VmLook:
    """Return what a job's decision needs.

    Raises VergeOSBadAnswer if key, machine, size or power state is missing: a missing power state taken
    for "off" would end a power-off that never happened.
    """
    runs = running(row)
    if runs is None:
        raise VergeOSBadAnswer(f"VergeOS does not tell the power state of VM {required(row, '$key')}")
    return VmLook(
        key=VmKey(required(row, "$key")),
        machine=MachineKey(required(row, "machine")),
        name=exact(row, "name"),
        uuid=word(row, "uuid"),
        is_snapshot=flag(row, "is_snapshot"),
        enabled=flag(row, "enabled", missing=True),
        allow_hotplug=flag(row, "allow_hotplug"),
        guest_agent=flag(row, "guest_agent"),
        running=runs,
        status=word(row, "status") or "unknown",
        status_info=text(row, "info"),
        started_at=moment(row, "started"),
        node=name(row, "node_name"),
        cpu_cores=required(row, "cpu_cores"),
        ram_mb=required(row, "ram"),
        need_restart=flag(row, "need_restart"),
        max_cores_per_vm=number(row, "max_cores_per_vm") or None,  # 0 would forbid every VM: it means no limit
        max_ram_mb_per_vm=number(row, "max_ram_per_vm") or None,
    )


def machine_state(row: Row) -> MachineState | None:
    """Return the power state of a machine, or None where VergeOS tells no machine or no state."""
    machine, runs = number(row, "machine"), running(row)
    if machine is None or runs is None:
        return None
    return MachineState(
        machine=MachineKey(machine),
        running=runs,
        status=word(row, "status") or "unknown",
        started_at=moment(row, "started"),
        node=name(row, "node_name"),
    )


def log_line(row: Row) -> LogLine:
    """Return a line of a machine's log, its time turned from microseconds into seconds."""
    return LogLine(
        at=(number(row, "timestamp") or 0) / _MICROSECONDS,
        level=word(row, "level"),
        text=text(row, "text"),
        user=name(row, "user") or "",
    )


def identity(row: Row) -> Identity:
    """Return which system answers; what is missing is empty (VergeOS API notes 1.5)."""
    return Identity(
        system=word(row, "$key"),
        name=name(row, "cloud_name") or "",
        version=word(row, "yb_version") or word(row, "os_version"),
    )


def _listed(row: Row) -> dict[str, Any]:
    machine = number(row, "machine")
    return {
        "id": VmKey(required(row, "$key")),
        "name": name(row, "name") or "",
        "running": running(row),
        "status": word(row, "status") or "unknown",
        "cpu_cores": number(row, "cpu_cores") or 0,
        "ram_mb": number(row, "ram") or 0,
        "os_family": word(row, "os_family"),
        "enabled": flag(row, "enabled", missing=True),
        "need_restart": flag(row, "need_restart"),
        "node": name(row, "node_name"),
        "cluster": name(row, "cluster_name"),
        "description": text(row, "description"),
        "machine_id": None if machine is None else MachineKey(machine),
        "uuid": word(row, "uuid"),
    }
