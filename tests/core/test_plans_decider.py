"""What a dry run tells of each kind of wish: the object as it is, what is wanted, what to mind."""

import pytest
from decider_cases import job_of, live

from gateway.core.drive import GB_BYTES
from gateway.core.job import Target
from gateway.core.network import NetworkLook
from gateway.core.plans import plan
from gateway.core.tenant import TenantLook
from gateway.core.wishes import (
    AddDrive,
    CreateSnapshot,
    DeleteSnapshot,
    ForceOff,
    NetworkAction,
    PowerOff,
    PowerOn,
    Reset,
    Resize,
    ResizeDrive,
    RestoreSnapshot,
    TenantAction,
)

TARGET = Target(key=34, machine_key=91, name="web-1", uuid="u-34")


def vm(status="running", **more):
    return live(status, **more).vm


def network(*, running=True, pending=False):
    status = "running" if running else "stopped"
    values = {"key": 4, "machine": 9, "name": "Internal", "type": "internal", "started_at": None}
    return NetworkLook(**values, running=running, status=status, need_fw_apply=pending)


def tenant(*, running=True):
    status = "running" if running else "stopped"
    values = {"key": 4, "name": "acme", "uuid": "u-4", "is_snapshot": False, "started_at": None}
    return TenantLook(**values, running=running, status=status)


ADD = AddDrive(name="more", size_bytes=5 * GB_BYTES)
LOST = "all changes since the snapshot are lost"
ONCE_MORE = "counts after the next power cycle"
QUIESCED = CreateSnapshot(name="x", quiesce=True)
OUTSIDE = {
    "power on, off": (PowerOn(), vm("stopped"), []),
    "power on, runs": (PowerOn(), vm(), ["runs already"]),
    "power on, disabled": (PowerOn(), vm("stopped", enabled=False), ["is disabled and will not start"]),
    "power off": (PowerOff(), vm(), ["a guest that ignores ACPI keeps running"]),
    "power off, off": (PowerOff(), vm("stopped"), ["is off already"]),
    "power off, forced": (
        PowerOff(wait_seconds=60, force=True),
        vm(),
        ["is forced off after 60 s; the guest may lose data"],
    ),
    "force off": (ForceOff(), vm(), ["the guest is not asked and may lose data"]),
    "force off, off": (ForceOff(), vm("stopped"), ["is off already"]),
    "reset": (Reset(), vm(), []),
    "reset, hard": (Reset(hard=True), vm(), ["the guest is not asked and may lose data"]),
    "reset, off": (Reset(), vm("stopped"), ["is off, there is nothing to reset"]),
    "resize, off": (Resize(cpu_cores=4), vm("stopped"), []),
    "resize, runs": (Resize(cpu_cores=4), vm(), [ONCE_MORE]),
    "resize, to be stopped": (Resize(cpu_cores=4, may_stop=True), vm(), ["is stopped and started again"]),
    "resize, to stay off": (Resize(cpu_cores=4, may_stop=True, restart=False), vm(), ["is stopped and stays off"]),
    "resize, too large": (
        Resize(cpu_cores=4, ram_mb=8192),
        vm("stopped", max_cores_per_vm=2, max_ram_mb_per_vm=4096),
        ["the cluster allows 2 cores per VM", "the cluster allows 4096 MB of RAM per VM"],
    ),
    "add drive": (ADD, vm(), []),
    "add drive, off": (ADD, vm("stopped", allow_hotplug=False), []),
    "add drive, no hot-plug": (
        ADD,
        vm(allow_hotplug=False),
        ["cannot be attached while it runs; is at the next power cycle"],
    ),
    "add drive, not for hot-plug": (
        ADD.model_copy(update={"interface": "ide"}),
        vm(),
        ["cannot be attached while it runs; is at the next power cycle"],
    ),
    "resize drive": (ResizeDrive(drive_key=7, size_bytes=8 * GB_BYTES), vm(), []),
    "create snapshot": (CreateSnapshot(name="x"), vm(guest_agent=False), []),
    "create snapshot, to quiesce": (QUIESCED, vm(), []),
    "create snapshot, no agent": (
        QUIESCED,
        vm(guest_agent=False),
        ["has no guest agent to quiesce: it is refused"],
    ),
    "delete snapshot": (DeleteSnapshot(snapshot_key=7), vm(), ["cannot be undone"]),
    "restore": (RestoreSnapshot(snapshot_key=7), vm("stopped"), [LOST]),
    "restore, runs": (RestoreSnapshot(snapshot_key=7), vm(), [LOST, "runs: it is refused"]),
    "restore, to be stopped": (
        RestoreSnapshot(snapshot_key=7, may_stop=True),
        vm(),
        [LOST, "is stopped and started again"],
    ),
    "apply": (NetworkAction(action="apply"), network(pending=True), []),
    "apply, nothing pending": (NetworkAction(action="apply"), network(), ["no rules are pending"]),
    "network on, runs": (NetworkAction(action="poweron"), network(), ["is running already"]),
    "network on": (NetworkAction(action="poweron"), network(running=False), []),
    "network off, off": (NetworkAction(action="poweroff"), network(running=False), ["is off already"]),
    "network reset, off": (
        NetworkAction(action="reset"),
        network(running=False),
        ["is off, there is nothing to reset"],
    ),
    "tenant on": (TenantAction(action="poweron"), tenant(running=False), []),
    "tenant on, runs": (TenantAction(action="poweron"), tenant(), ["is running already"]),
    "tenant off": (TenantAction(action="poweroff"), tenant(), ["all that runs in it stops"]),
    "tenant off, off": (TenantAction(action="poweroff"), tenant(running=False), ["is off already"]),
    "tenant reset": (TenantAction(action="reset"), tenant(), ["all that runs in it stops"]),
    "tenant reset, off": (TenantAction(action="reset"), tenant(running=False), ["is off, there is nothing to reset"]),
}


@pytest.mark.parametrize(("wish", "look", "warnings"), OUTSIDE.values(), ids=OUTSIDE)
def test_a_plan_warns_of_what_the_caller_should_mind(wish, look, warnings):
    assert list(plan(wish, TARGET, look, []).warnings) == warnings


@pytest.mark.parametrize(("wish", "look", "warnings"), OUTSIDE.values(), ids=OUTSIDE)
def test_a_plan_shows_what_is_and_what_is_wanted(wish, look, warnings):
    told = plan(wish, TARGET, look, [])
    assert (told.current["running"], told.current["status"]) == (look.running, look.status)
    assert told.wanted["action"] == getattr(wish, "action", wish.kind)
    assert "kind" not in told.wanted
    assert told.requests >= 2


def test_a_plan_names_the_job_that_goes_first():
    [told] = plan(Reset(), TARGET, vm(), [job_of(PowerOff())]).warnings
    assert told == "job j1 (some_tool) goes first"


@pytest.mark.parametrize("action", ["poweroff", "reset"])
def test_a_plan_names_the_vms_that_lose_their_network_and_counts_those_it_does_not_name(action):
    names = [f"vm-{number}" for number in range(12)]
    [told] = plan(NetworkAction(action=action), TARGET, network(), [], names=names).warnings
    assert "12" in told
    assert "vm-9" in told
    assert "vm-10" not in told
    assert "2 more" in told


def test_a_plan_of_applying_rules_names_no_vms():
    assert plan(NetworkAction(action="apply"), TARGET, network(pending=True), [], names=["vm-1"]).warnings == ()
