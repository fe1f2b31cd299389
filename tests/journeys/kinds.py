"""The kinds of jobs on parts of VMs, networks and tenants: how each is called, what it sends, when its wish is there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.drive import GB_BYTES
from gateway.core.times import EngineTimes
from tests.conftest import fast_settings
from worker import acts

# Ten times as fast in the tests. Requests and steps have more time than in earnest: the machine may be busy.
QUICK = EngineTimes(
    request=5.0, settle=7.0, step=10.0, lease=14.0, watch_unforced=25.0, start_within=60.0, stop_within=20.0
)

ACT_FAULTS = {
    "500, not done": {"kind": "status", "status": 500},
    "504, done": {"kind": "status", "status": 504, "effect": True},
    "html, done": {"kind": "malformed", "body": "html"},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "late": {"kind": "late", "seconds": 0.2},
    "hangs, done": {"kind": "hang", "effect": True},
}
READ_FAULTS = (
    {"kind": "status", "status": 500},
    {"kind": "reset_before"},
    {"kind": "hang"},
    {"kind": "malformed", "body": "html"},
    {"kind": "status", "status": 503},
)


def quick_settings(sim, redis_url, **more):
    """Settings with short ends of every wait, so that what times out does so soon."""
    return fast_settings(sim.url, redis_url, engine=QUICK, **more)


@dataclass(frozen=True)
class Kind:
    """One kind of job. `sends` are the acts of a plain success in order, by the action that VergeOS knows.

    `prepare` makes ready the object and returns what the other two need: the call's path and body, and whether the
    wish is there. `matches` are the parts of a fault that make it strike one of the acts only.
    """

    method: str
    sends: tuple[str, ...]
    prepare: Callable[..., dict[str, Any]]
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    there: Callable[..., bool] = lambda sim, known: True
    unconfirmed: frozenset[str] = frozenset()  # acts that no look confirms: sent at most once


def rows(sim, table, **wanted):
    sim.world.db.clock.settle()
    return [row for row in sim.world.db[table] if all(row.get(name) == value for name, value in wanted.items())]


def running_vms(sim):
    """Return VMs that run, each with an agent and a quick guest."""
    vms = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
    for vm in vms:
        vm.guest_seconds = 2.0
    return [vm for vm in vms if vm.running]


def _vm(vm):
    return {"key": vm.key, "machine": vm.machine_key, "vm": vm}


def _with_snapshot(sim, vm):
    snapshot = vm.snapshot(f"before {vm.key}")
    hidden = rows(sim, "vms", machine=rows(sim, "machine_snapshots", **{"$key": snapshot})[0]["snap_machine"])
    known = {**_vm(vm), "snapshot": snapshot, "hidden": hidden[0]["$key"], "cores": vm.cpu_cores}
    sim.world.db["vms"].change(vm.row, {"cpu_cores": vm.cpu_cores + 1})
    return known


def _with_drive(sim, vm):
    drive = next(row for row in rows(sim, "machine_drives", machine=vm.machine_key) if row["name"] == "os")
    return {**_vm(vm), "drive": drive["$key"], "size_gb": drive["disksize"] // GB_BYTES + 5}


def _drive_is_there(sim, known):
    found = rows(sim, "machine_drives", machine=known["machine"], name="extra")
    return [drive_status(sim, row) for row in found] == ["online"]


def drive_status(sim, drive):
    return sim.world.db["machine_drive_status"].rows[drive["status"]].get("status", "offline")


def _restored(sim, known):
    vm = known["vm"]
    return vm.running and vm.cpu_cores == known["cores"]


def _has_size(sim, known):
    return rows(sim, "machine_drives", **{"$key": known["drive"]})[0]["disksize"] == known["size_gb"] * GB_BYTES


PARTS = {
    "add drive": Kind(
        "POST",
        ("create", "hotplugdrive"),
        lambda sim, vm: _vm(vm),
        "/vms/{key}/drives",
        {"name": "extra", "size_gb": 3, "allow_tight": True},
        _drive_is_there,
    ),
    "resize drive": Kind("PUT", ("update",), _with_drive, "/drives/{drive}", {"new_size_gb": "{size_gb}"}, _has_size),
    "create snapshot": Kind(
        "POST",
        ("create",),
        lambda sim, vm: _vm(vm),
        "/vms/{key}/snapshots",
        {"name": "ours", "expires_days": 3, "allow_tight": True},
        lambda sim, known: len(rows(sim, "machine_snapshots", machine=known["machine"], name="ours")) == 1,
    ),
    "delete snapshot": Kind(
        "DELETE",
        ("delete",),
        _with_snapshot,
        "/snapshots/{snapshot}",
        there=lambda sim, known: all(
            row.get("queue_delete") for row in rows(sim, "machine_snapshots", **{"$key": known["snapshot"]})
        ),
    ),
    "restore snapshot": Kind(
        "POST",
        ("poweroff", "restore", "poweron"),
        _with_snapshot,
        "/vms/{key}/snapshots/{snapshot}/restore",
        {"shutdown_if_running": True, "wait_timeout": 60},
        _restored,
        frozenset({"restore"}),
    ),
}


def call_of(kind, known, **more):
    """Return method, path and body of the REST call."""
    body = {name: known["size_gb"] if value == "{size_gb}" else value for name, value in kind.body.items()}
    return kind.method, kind.path.format(**known), {**body, **more}


def strike(action, known):
    """Return the members of a fault that let it meet this act on this object only."""
    match action:
        case "create":
            return {"method": "POST", "path": "machine_(drives|snapshots)$", "body_matches": _names("machine", known)}
        case "update":
            return {"method": "PUT", "path": f"machine_drives/{known['drive']}$"}
        case "delete":
            return {"method": "DELETE", "path": f"machine_snapshots/{known['snapshot']}$"}
    owner, key = known.get("owner", ("vm", known["hidden"] if action == "restore" else known["key"]))
    said = f'(?=.*"{owner}":\\s*{key}\\b)(?=.*"action":\\s*"{action}")'
    return {"method": "POST", "path": f"{'vnet' if owner == 'vnet' else owner}_actions", "body_matches": said}


def _names(member, known):
    return f'"{member}":\\s*{known[member]}\\b'


def reads_of(known):
    """Return the members of a fault that meets what is read of this VM and its parts."""
    parts = [f"vms/{known['key']}\\b", f"machine(%20|\\+)eq(%20|\\+){known['machine']}\\b"]
    parts += [f"machine_drives/{known['drive']}\\b"] if "drive" in known else []
    parts += [f"machine_snapshots/{known['snapshot']}\\b"] if "snapshot" in known else []
    return {"method": "GET", "path": "|".join(parts)}


def sent(sim, known):
    """Return what reached VergeOS for this object, in order: the actions, refused ones with a `!`."""
    return [action.action if action.ok else f"{action.action}!" for action in sim.actions if _of(sim, action, known)]


def _of(sim, action, known):
    if action.table == "vm_actions":
        return action.key in (known["key"], known.get("hidden"))
    if action.action == "create":
        return action.params.get("machine") == known["machine"]
    return (action.table, action.key) in {
        ("machine_drives", known.get("drive")),
        ("machine_snapshots", known.get("snapshot")),
    }


def let_workers_die(monkeypatch, when):
    """End a worker's run `before` or `after` each first sending of an act: its intent is saved, its answer never."""
    real, died = acts.perform, set()

    async def perform(services, job, act):
        first = (job.id, act.label) not in died
        died.add((job.id, act.label))
        if first and when == "before":
            raise TimeoutError
        made = await real(services, job, act)
        if first:
            raise TimeoutError
        return made

    monkeypatch.setattr(acts, "perform", perform)
