"""The kinds of jobs on parts of VMs, networks and tenants: how each is called, what it sends, when it is fulfilled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.drive import GB_BYTES
from gateway.core.times import EngineTimes
from tests.conftest import ROOMY, fast_settings
from worker import acts

QUICK = EngineTimes(**ROOMY, watch_unforced=25.0, start_within=30.0, stop_within=20.0)

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

    `prepare` makes the object ready and returns what the others need to know of it: the call's path and body, and
    `there`, which tells whether the wish is fulfilled. No look confirms the acts in `unconfirmed`: at most once.
    """

    method: str
    sends: tuple[str, ...]
    prepare: Callable[..., dict[str, Any]]
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    there: Callable[..., bool] = lambda sim, known: True
    unconfirmed: frozenset[str] = frozenset()


def rows(sim, table, **wanted):
    """Return the rows of a table with these values, as they are now."""
    sim.world.db.clock.settle()
    return [row for row in sim.world.db[table] if all(row.get(name) == value for name, value in wanted.items())]


def running_vms(sim):
    """Return the VMs that run, each with a quick guest."""
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


def _network(sim, number, *, running, pending=False):
    """Make a network; return what names it."""
    db, power = sim.world.db, sim.world.power
    row, _ = sim.world.writes.create(db["vnets"], {"name": f"net {number}", "type": "internal"}, "ui-user")
    if running:
        power.running(row["machine"], db.now() - 100)
    db["vnets"].change(row, {"need_fw_apply": pending})
    return {"key": row["$key"], "name": row["name"], "machine": row["machine"], "owner": ("vnet", row["$key"])}


def _tenant(sim, number, *, running):
    """Make a tenant without nodes; return what names it."""
    db = sim.world.db
    row, _ = sim.world.writes.create(db["tenants"], {"name": f"tenant {number}"}, "ui-user")
    if running:
        word = {"status": "running", "state": "online", "running": True, "started": int(db.now()) - 100}
        db["tenant_status"].change(db["tenant_status"].rows[row["status"]], word)
    return {"key": row["$key"], "name": row["name"], "status": row["status"], "owner": ("tenant", row["$key"])}


def is_running(sim, known):
    """Tell whether a network or tenant runs."""
    sim.world.db.clock.settle()
    if "machine" in known:
        return sim.world.power.is_running(known["machine"])
    return bool(sim.world.db["tenant_status"].rows[known["status"]].get("running"))


def is_pending(sim, known):
    """Tell whether a network has rules that wait to be applied."""
    return bool(rows(sim, "vnets", **{"$key": known["key"]})[0].get("need_fw_apply"))


def _switch(path, action, make, there, **state):
    return Kind(
        "POST",
        ("refresh" if action == "apply" else action,),
        lambda sim, number: make(sim, number, **state),
        f"{path}/{{key}}/{action}",
        there=there,
        unconfirmed=frozenset({"reset"}) if action == "reset" else frozenset(),
    )


def _is_off(sim, known):
    return not is_running(sim, known)


SWITCHES = {
    "network poweron": _switch("/networks", "poweron", _network, is_running, running=False),
    "network poweroff": _switch("/networks", "poweroff", _network, _is_off, running=True),
    "network reset": _switch("/networks", "reset", _network, is_running, running=True),
    "network apply": _switch(
        "/networks", "apply", _network, lambda sim, known: not is_pending(sim, known), running=True, pending=True
    ),
    "tenant poweron": _switch("/tenants", "poweron", _tenant, is_running, running=False),
    "tenant poweroff": _switch("/tenants", "poweroff", _tenant, _is_off, running=True),
    "tenant reset": _switch("/tenants", "reset", _tenant, is_running, running=True),
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
    owner, key = known["owner"] if "owner" in known else ("vm", known["hidden" if action == "restore" else "key"])
    said = f'(?=.*"{owner}":\\s*{key}\\b)(?=.*"action":\\s*"{action}")'
    return {"method": "POST", "path": f"{owner}_actions", "body_matches": said}


def _names(member, known):
    return f'"{member}":\\s*{known[member]}\\b'


def reads_of(known):
    """Return the members of a fault that meets what is read of this VM and its parts."""
    if "owner" in known:
        owner, key = known["owner"]
        return {"method": "GET", "path": f"{owner}s/{key}\\b"}
    parts = [f"vms/{known['key']}\\b", f"machine(%20|\\+)eq(%20|\\+){known['machine']}\\b"]
    parts += [f"machine_drives/{known['drive']}\\b"] if "drive" in known else []
    parts += [f"machine_snapshots/{known['snapshot']}\\b"] if "snapshot" in known else []
    return {"method": "GET", "path": "|".join(parts)}


def sent(sim, known):
    """Return what reached VergeOS for this object, in order: the actions, refused ones with a `!`."""
    return [action.action if action.ok else f"{action.action}!" for action in sim.actions if _of(sim, action, known)]


def _of(sim, action, known):
    if "owner" in known:
        owner, key = known["owner"]
        return (action.table, action.key) == (f"{owner}_actions", key)
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
