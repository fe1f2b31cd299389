"""What a dry run answers: the object as it is, what it would become, what to mind, and what it would cost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from gateway.core.drive import HOT_PLUGGABLE
from gateway.core.job import Job, Live, Plan, Target
from gateway.core.network import NetworkLook
from gateway.core.vm import VmLook
from gateway.core.wishes import (
    AddDrive,
    AnyWish,
    CreateSnapshot,
    ForceOff,
    NetworkAction,
    PowerOff,
    Reset,
    Resize,
    RestoreSnapshot,
    TenantAction,
)


def plan(wish: AnyWish, target: Target, look: Live, open_jobs: Sequence[Job], *, names: Sequence[str] = ()) -> Plan:
    """Return what this wish would do to the object that `look` shows.

    `names` are those of the running VMs that hang on a network.
    """
    current: dict[str, Any] = {"running": look.running, "status": look.status}
    if isinstance(look, VmLook):
        current |= {"cpu_cores": look.cpu_cores, "ram_mb": look.ram_mb}
    if isinstance(look, NetworkLook):
        current |= {"need_fw_apply": look.need_fw_apply}
    warnings = [*WARNINGS.get(wish.kind, _nothing)(wish, look), *_hanging_on(wish, names)]
    if open_jobs:
        warnings.append(f"job {open_jobs[0].id} ({open_jobs[0].tool}) goes first")
    wanted = wish.model_dump(exclude={"kind"}, exclude_none=True) | {"action": getattr(wish, "action", wish.kind)}
    return Plan(target=target, current=current, wanted=wanted, warnings=tuple(warnings), requests=_requests(wish, look))


def _requests(wish: AnyWish, look: Live) -> int:
    """Count the requests that the engine sends at least: looks before acts, acts, read-backs."""
    match wish:
        case Resize():
            return 3 + (4 if wish.may_stop and look.running else 0)
        case RestoreSnapshot():
            return 4 + (4 if look.running else 0)
        case CreateSnapshot() | AddDrive():
            return 3
        case _:
            return 2


def _nothing(_wish: AnyWish, _look: Live) -> list[str]:
    return []


def _power_on(_wish: AnyWish, look: Live) -> list[str]:
    disabled = isinstance(look, VmLook) and not look.enabled
    return ["runs already"] if look.running else ["is disabled and will not start"] if disabled else []


def _power_off(wish: AnyWish, look: Live) -> list[str]:
    if not look.running:
        return ["is off already"]
    if isinstance(wish, ForceOff):
        return ["the guest is not asked and may lose data"]
    power_off = cast("PowerOff", wish)
    if power_off.force:
        return [f"is forced off after {power_off.wait_seconds} s; the guest may lose data"]
    return ["a guest that ignores ACPI keeps running"]


def _reset(wish: AnyWish, look: Live) -> list[str]:
    if not look.running:
        return ["is off, there is nothing to reset"]
    return ["the guest is not asked and may lose data"] if cast("Reset", wish).hard else []


def _resize(wish: AnyWish, look: Live) -> list[str]:
    resize, vm, told = cast("Resize", wish), cast("VmLook", look), []
    for value, limit, what in (
        (resize.cpu_cores, vm.max_cores_per_vm, "cores"),
        (resize.ram_mb, vm.max_ram_mb_per_vm, "MB of RAM"),
    ):
        if value is not None and limit is not None and value > limit:
            told.append(f"the cluster allows {limit} {what} per VM")
    if vm.running and not resize.may_stop:
        told.append("counts after the next power cycle")
    elif vm.running:
        told.append("is stopped and started again" if resize.restart else "is stopped and stays off")
    return told


def _add_drive(wish: AnyWish, look: Live) -> list[str]:
    vm = cast("VmLook", look)
    plugged = vm.allow_hotplug and cast("AddDrive", wish).interface in HOT_PLUGGABLE
    return [] if plugged or not vm.running else ["cannot be attached while it runs; is at the next power cycle"]


def _create_snapshot(wish: AnyWish, look: Live) -> list[str]:
    agent = cast("VmLook", look).guest_agent
    return (
        ["has no guest agent to quiesce: it is refused"] if cast("CreateSnapshot", wish).quiesce and not agent else []
    )


def _restore(wish: AnyWish, look: Live) -> list[str]:
    told = ["all changes since the snapshot are lost"]
    if look.running:
        stopped = "is stopped and started again" if cast("RestoreSnapshot", wish).may_stop else "runs: it is refused"
        told.append(stopped)
    return told


def _network(wish: AnyWish, look: Live) -> list[str]:
    network, action = cast("NetworkLook", look), cast("NetworkAction", wish).action
    if action == "apply":
        return [] if network.need_fw_apply else ["no rules are pending"]
    return _switched(action, look)


def _tenant(wish: AnyWish, look: Live) -> list[str]:
    action = cast("TenantAction", wish).action
    stops = look.running and action in {"poweroff", "reset"}
    return ["all that runs in it stops"] if stops else _switched(action, look)


def _switched(action: str, look: Live) -> list[str]:
    if action == "reset":
        return [] if look.running else ["is off, there is nothing to reset"]
    return [f"is {'running' if look.running else 'off'} already"] if look.running == (action == "poweron") else []


def _hanging_on(wish: AnyWish, names: Sequence[str]) -> list[str]:
    if not names or not isinstance(wish, NetworkAction) or wish.action not in {"poweroff", "reset"}:
        return []
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return [f"running VMs that lose this network ({len(names)}): {shown}"]


WARNINGS: Mapping[str, Callable[[AnyWish, Live], list[str]]] = {
    "power_on": _power_on,
    "power_off": _power_off,
    "force_off": _power_off,
    "reset": _reset,
    "resize": _resize,
    "add_drive": _add_drive,
    "create_snapshot": _create_snapshot,
    "restore_snapshot": _restore,
    "network_action": _network,
    "tenant_action": _tenant,
    "delete_snapshot": lambda _wish, _look: ["cannot be undone"],
}
