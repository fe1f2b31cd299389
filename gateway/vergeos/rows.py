"""VergeOS' rows turned into the core's shapes: every field name of VergeOS and every conversion of units is here.

Types drift between versions and tables (VergeOS API notes 6.1): keys and numbers may be strings, flags and
joined columns may be missing. A text that goes out is cleaned; only `VmLook.name` is left as it is.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import VergeOSBadAnswer
from gateway.core.ids import MachineKey, VmKey
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.vm import LogLine, MachineState, Vm, VmLook, VmRow, VmStatus

Row = Mapping[str, Any]

WORD_LIMIT = 64
TEXT_LIMIT = 2_048
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # more digits are a hexadecimal name without a letter in it
_MICROSECONDS = 1_000_000  # the logs count these; every other time of VergeOS is in seconds
_TURNED_ON = frozenset({"true", "1", "yes"})

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
NODE_ROOM_FIELDS = (
    "$key,name,vm_ram,maintenance,running_machines[sum(running_cores),sum(running_ram)] as vm_stats_totals"
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
        id=VmKey(_required(row, "$key")),
        name=name(row, "name") or "",
        running=_running(row),
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
    running = _running(row)
    if running is None:
        raise VergeOSBadAnswer(f"VergeOS does not tell the power state of VM {_required(row, '$key')}")
    return VmLook(
        key=VmKey(_required(row, "$key")),
        machine=MachineKey(_required(row, "machine")),
        name=exact(row, "name"),
        uuid=word(row, "uuid"),
        is_snapshot=flag(row, "is_snapshot"),
        enabled=flag(row, "enabled", missing=True),
        allow_hotplug=flag(row, "allow_hotplug"),
        guest_agent=flag(row, "guest_agent"),
        running=running,
        status=word(row, "status") or "unknown",
        status_info=text(row, "info"),
        started_at=moment(row, "started"),
        node=name(row, "node_name"),
        cpu_cores=_required(row, "cpu_cores"),
        ram_mb=_required(row, "ram"),
        need_restart=flag(row, "need_restart"),
        max_cores_per_vm=number(row, "max_cores_per_vm") or None,  # 0 would forbid every VM: it means no limit
        max_ram_mb_per_vm=number(row, "max_ram_per_vm") or None,
    )


def node_room(row: Row, vm: VmLook) -> int | None:
    """Return the RAM in MB that a node could give `vm` once it is off, None where VergeOS does not tell it.

    The totals of what runs may be absent, an object or a one-item list (VergeOS API notes 3.12).
    """
    totals = row.get("vm_stats_totals")
    if isinstance(totals, list) and totals:
        totals = totals[0]
    usable, used = number(row, "vm_ram"), number(totals, "running_ram") if isinstance(totals, Mapping) else None
    if usable is None or used is None or flag(row, "maintenance"):
        return None
    own = vm.ram_mb if vm.running and vm.node is not None and vm.node == name(row, "name") else 0
    return usable - used + own


def machine_state(row: Row) -> MachineState | None:
    """Return the power state of a machine, or None where VergeOS tells no machine or no state."""
    machine, running = number(row, "machine"), _running(row)
    if machine is None or running is None:
        return None
    return MachineState(
        machine=MachineKey(machine),
        running=running,
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
        "id": VmKey(_required(row, "$key")),
        "name": name(row, "name") or "",
        "running": _running(row),
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


def _running(row: Row) -> bool | None:
    """Whether it runs; where the column is missing the two plain states tell it, else it is unknown."""
    if row.get("running") is not None:
        return flag(row, "running")
    return {"running": True, "stopped": False}.get(word(row, "status"))


def _required(row: Row, field: str) -> int:
    value = number(row, field)
    if value is None:
        raise VergeOSBadAnswer(f"a row of VergeOS lacks the number `{field}`")
    return value


def key(value: object) -> int | str | None:
    """Return a key as VergeOS means it: a number where it is one ("36" and 36 are the same), else its text."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) and value != "" else None


def number(row: Row, field: str) -> int | None:
    """Return a whole number, also where it comes as text or with a decimal point; None where there is none."""
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = decimal(row, field)
    return None if found is None else int(found)


def decimal(row: Row, field: str) -> float | None:
    """Return a number, also where it comes as text; None where there is none."""
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def moment(row: Row, field: str) -> int | None:
    """Return a time in Unix seconds; None where it is missing or 0, with which VergeOS says "never"."""
    return number(row, field) or None


def flag(row: Row, field: str, *, missing: bool = False) -> bool:
    """Return a flag, also where it comes as 1 or "true"; `missing` where the row has none."""
    value = row.get(field)
    if value is None:
        return missing
    return str(value).strip().lower() in _TURNED_ON


def exact(row: Row, field: str) -> str:
    """Return a text as VergeOS has it, for comparing only."""
    value = row.get(field)
    return value if isinstance(value, str) else "" if value is None else str(value)


def name(row: Row, field: str) -> str | None:
    """Return a cleaned name of at most 128 characters, or None where there is none."""
    return clean(exact(row, field), NAME_LIMIT) or None


def word(row: Row, field: str) -> str:
    """Return a cleaned short text of at most 64 characters; empty where there is none."""
    return clean(exact(row, field), WORD_LIMIT)


def text(row: Row, field: str) -> str:
    """Return a cleaned text of at most 2,048 characters; empty where there is none."""
    return clean(exact(row, field), TEXT_LIMIT)
