"""Drives and snapshots through the whole house: each effect once, whatever VergeOS or a worker does meanwhile."""

import pytest
from kinds import (
    ACT_FAULTS,
    PARTS,
    READ_FAULTS,
    call_of,
    let_workers_die,
    quick_settings,
    reads_of,
    rows,
    running_vms,
    sent,
    strike,
)

from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.acting import vm_actions
from tests.conftest import eventually

NEVER_SECONDS = 10**6
EVERY_ACT = [(name, action) for name, kind in PARTS.items() for action in kind.sends]


@pytest.fixture
async def sim():
    async with Simulator(SimulatorSettings(vms=40, seed=7, time_scale=20.0)) as simulator:
        yield simulator


@pytest.fixture
def settings(sim, redis_url):
    return quick_settings(sim, redis_url)


def known_of(sim, name, vm):
    return PARTS[name].prepare(sim, vm)


async def begun(gateway, name, known, **more):
    return (await gateway.accepted(*call_of(PARTS[name], known, **more)))["id"]


async def test_each_kind_succeeds_with_each_act_sent_once(gateway):
    vms = running_vms(gateway.sim)
    knowns = {name: known_of(gateway.sim, name, vm) for name, vm in zip(PARTS, vms, strict=False)}
    jobs = {name: await begun(gateway, name, known) for name, known in knowns.items()}
    for name, known in knowns.items():
        ended = await gateway.ended(jobs[name])
        assert (ended["state"], ended["result"]["changed"]) == ("completed", True), ended
        assert sent(gateway.sim, known) == list(PARTS[name].sends)
        assert PARTS[name].there(gateway.sim, known), name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "action"), EVERY_ACT)
async def test_an_act_whose_answer_is_spoiled_takes_effect_once(gateway, name, action):
    kind, vms = PARTS[name], running_vms(gateway.sim)
    knowns = {fault: known_of(gateway.sim, name, vm) for fault, vm in zip(ACT_FAULTS, vms, strict=False)}
    for fault, known in knowns.items():
        gateway.sim.fault(**ACT_FAULTS[fault], **strike(action, known))
    jobs = {fault: await begun(gateway, name, known) for fault, known in knowns.items()}
    for fault, known in knowns.items():
        ended = await gateway.ended(jobs[fault])
        if action in kind.unconfirmed:
            assert (ended["state"], ended["problem"]["code"]) == ("failed", "outcome_unknown"), (fault, ended)
            assert sent(gateway.sim, known).count(action) <= 1, fault
            assert known["vm"].running, fault
        else:
            assert ended["state"] == "completed", f"{fault} {ended}"
            assert sent(gateway.sim, known) == list(kind.sends), fault
            assert kind.there(gateway.sim, known), fault
    assert gateway.sim.faults == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_that_dies_around_each_act_leaves_it_done_once(gateway, monkeypatch, when):
    let_workers_die(monkeypatch, when)
    knowns = {name: known_of(gateway.sim, name, vm) for name, vm in zip(PARTS, running_vms(gateway.sim), strict=False)}
    jobs = {name: await begun(gateway, name, known) for name, known in knowns.items()}
    for name, known in knowns.items():
        ended, kind = await gateway.ended(jobs[name]), PARTS[name]
        if kind.unconfirmed:
            assert ended["problem"]["code"] == "outcome_unknown"
            assert sent(gateway.sim, known) == [act for act in kind.sends if act != "restore" or when == "after"]
            assert known["vm"].running
        else:
            assert ended["state"] == "completed", f"{name} {ended}"
            assert sent(gateway.sim, known) == list(kind.sends)
            assert kind.there(gateway.sim, known), name


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
async def test_reads_that_vergeos_spoils_at_any_step_change_nothing(idle, name):
    started = []
    for (skip, fault), vm in zip(enumerate(READ_FAULTS), running_vms(idle.sim), strict=False):
        known = known_of(idle.sim, name, vm)
        started.append((known, await begun(idle, name, known)))
        idle.sim.fault(**fault, **reads_of(known), skip=skip)
    await idle.start_worker()
    for known, job in started:
        ended = await idle.ended(job)
        assert ended["state"] == "completed", f"{name} {ended}"
        assert sent(idle.sim, known) == list(PARTS[name].sends)
        assert PARTS[name].there(idle.sim, known), name


REFUSED = {  # what VergeOS refuses: how the job ends, and whether the VM runs
    ("add drive", "create"): ("failed", "refused", True),
    ("add drive", "hotplugdrive"): ("completed", None, True),
    ("resize drive", "update"): ("failed", "refused", True),
    ("create snapshot", "create"): ("failed", "refused", True),
    ("delete snapshot", "delete"): ("failed", "refused", True),
    ("restore snapshot", "poweroff"): ("failed", "refused", True),
    ("restore snapshot", "restore"): ("failed", "refused", True),
    ("restore snapshot", "poweron"): ("failed", "left_off", False),
}


@pytest.mark.parametrize("status", [403, 422])
async def test_what_vergeos_refuses_ends_the_job_and_the_vm_runs_as_before(gateway, status):
    started = []
    for (case, end), vm in zip(REFUSED.items(), running_vms(gateway.sim), strict=False):
        known = known_of(gateway.sim, case[0], vm)
        gateway.sim.fault("status", status=status, **strike(case[1], known))
        started.append((case, end, known, await begun(gateway, case[0], known)))
    for case, (state, code, runs), known, job in started:
        ended = await gateway.ended(job)
        found = (ended["state"], ended.get("problem", {}).get("code"), known["vm"].running)
        assert found == (state, code, runs), f"{case} {ended}"
        assert case[1] not in sent(gateway.sim, known)
        if case[1] == "hotplugdrive":
            assert (ended["result"]["attached"], ended["result"]["changed"]) == (False, True)


@pytest.mark.slow
async def test_what_vergeos_takes_and_does_not_do_times_out_and_says_so(gateway, monkeypatch):
    monkeypatch.setattr(vm_actions, "HOT_PLUG_SECONDS", NEVER_SECONDS)
    plugged, stubborn, broken = running_vms(gateway.sim)[:3]
    stubborn.ignore_acpi()
    ends = {  # how the job ends, and whether the VM runs
        "add drive": (plugged, {}, "completed", None, True),
        "restore snapshot": (stubborn, {"wait_timeout": 3}, "failed", "still_running", True),
        "restore snapshot, no start": (broken.fail_to_start(), {}, "failed", "left_off", False),
    }
    started = []
    for case, (vm, more, *_) in ends.items():
        name = case.partition(",")[0]
        started.append(await begun(gateway, name, known_of(gateway.sim, name, vm), **more))
    for (vm, _, state, code, runs), job in zip(ends.values(), started, strict=True):
        ended = await gateway.ended(job)
        assert (ended["state"], ended.get("problem", {}).get("code"), vm.running) == (state, code, runs), ended
        if vm is plugged:
            assert (ended["result"]["attached"], ended["result"]["changed"]) == (False, True)
        if vm is broken:
            assert "IS NOT RUNNING" in ended["detail"]
            assert "disk image is locked" in ended["detail"]


async def test_what_is_there_already_is_left_alone(gateway):
    sim = gateway.sim
    first, second, third = running_vms(sim)[:3]
    drive = known_of(sim, "resize drive", first)
    size_gb = drive["size_gb"] - 5
    same = await gateway.accepted("PUT", f"/drives/{drive['drive']}", {"new_size_gb": size_gb})
    snapshot = known_of(sim, "delete snapshot", second)
    jobs = [await begun(gateway, "delete snapshot", snapshot, again=again) for again in (False, True)]
    ended = [await gateway.ended(job) for job in (same["id"], *jobs)]
    assert [job["state"] for job in ended] == ["completed"] * 3
    assert [job["result"]["changed"] for job in ended] == [False, True, False]
    assert sent(sim, drive) == []
    assert sent(sim, snapshot) == ["delete"]
    taken = known_of(sim, "create snapshot", third)
    jobs = [await begun(gateway, "create snapshot", taken, again=again) for again in (False, True)]
    ended = [await gateway.ended(job) for job in jobs]
    assert [job["state"] for job in ended] == ["completed", "failed"]
    assert ended[1]["problem"]["code"] == "refused"
    assert "already in use" in ended[1]["problem"]["detail"]
    assert PARTS["create snapshot"].there(sim, taken)


async def test_the_same_call_twice_makes_one_drive_and_one_snapshot(gateway):
    sim = gateway.sim
    for name, vm in zip(("add drive", "create snapshot"), running_vms(sim), strict=False):
        known = known_of(sim, name, vm)
        ids = {await begun(gateway, name, known) for _ in range(3)}
        assert len(ids) == 1
        await gateway.ended(ids.pop())
        assert sent(sim, known) == list(PARTS[name].sends)


async def test_a_drive_of_a_vm_that_is_off_is_attached_at_its_next_start(gateway):
    vm = running_vms(gateway.sim)[0].stop()
    known = known_of(gateway.sim, "add drive", vm)
    ended = await gateway.ended(await begun(gateway, "add drive", known))
    assert (ended["state"], ended["result"]["attached"]) == ("completed", False)
    assert "next start" in ended["detail"]
    assert sent(gateway.sim, known) == ["create"]


async def test_a_restore_of_a_running_vm_that_may_not_be_stopped_does_nothing(gateway):
    known = known_of(gateway.sim, "restore snapshot", running_vms(gateway.sim)[0])
    ended = await gateway.ended(await begun(gateway, "restore snapshot", known, shutdown_if_running=False))
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "still_running")
    assert sent(gateway.sim, known) == []


async def test_a_restore_of_a_vm_that_is_off_leaves_it_off(gateway):
    vm = running_vms(gateway.sim)[0].stop()
    known = known_of(gateway.sim, "restore snapshot", vm)
    ended = await gateway.ended(await begun(gateway, "restore snapshot", known))
    assert (ended["state"], ended["result"]["running"]) == ("completed", False)
    assert sent(gateway.sim, known) == ["restore"]
    await eventually(lambda: vm.cpu_cores == known["cores"])
    assert not vm.running


@pytest.mark.slow
async def test_a_guest_that_ignores_its_shutdown_is_restored_by_force_only(gateway):
    first, second = [vm.ignore_acpi() for vm in running_vms(gateway.sim)[:2]]
    knowns = [known_of(gateway.sim, "restore snapshot", vm) for vm in (first, second)]
    jobs = [
        await begun(gateway, "restore snapshot", known, wait_timeout=2, force_after_timeout=force)
        for known, force in zip(knowns, (False, True), strict=True)
    ]
    ended = [await gateway.ended(job) for job in jobs]
    assert [job["state"] for job in ended] == ["failed", "completed"]
    assert ended[0]["problem"]["code"] == "still_running"
    assert [sent(gateway.sim, known) for known in knowns] == [["poweroff"], ["poweroff", "kill", "restore", "poweron"]]
    assert first.running
    assert second.running


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, "reset_after", "500"])
async def test_a_vm_that_cannot_be_read_while_it_is_restored_runs_again(gateway, fault):
    vm = running_vms(gateway.sim)[0].unreadable_while_restoring(24)
    known = known_of(gateway.sim, "restore snapshot", vm)
    if fault is not None:
        answer = {"kind": "status", "status": 500, "effect": True} if fault == "500" else {"kind": fault}
        gateway.sim.fault(**answer, **strike("restore", known))
    gateway.sim.reset_counts()
    ended = await gateway.ended(await begun(gateway, "restore snapshot", known))
    assert gateway.sim.requests["GET vms"] < 25  # while it cannot be read it is not asked for all the time
    assert ended.get("problem", {}).get("code") == (None if fault is None else "outcome_unknown"), ended
    assert sent(gateway.sim, known) == ["poweroff", "restore", "poweron"]
    assert vm.running


async def test_a_vm_is_started_only_after_its_restore_is_done(gateway, monkeypatch):
    monkeypatch.setattr(vm_actions, "RESTORE_SECONDS", 8.0)  # 0.4 s at the speed of these tests
    known = known_of(gateway.sim, "restore snapshot", running_vms(gateway.sim)[0])
    await gateway.ended(await begun(gateway, "restore snapshot", known))
    restore, start = [action for action in gateway.sim.actions if action.action in ("restore", "poweron")]
    assert restore.effect_at <= start.at


async def test_a_vm_that_was_replaced_or_renamed_is_left_alone_by_every_kind(idle):
    started = []
    for name, vm in zip(PARTS, running_vms(idle.sim), strict=False):
        known = known_of(idle.sim, name, vm)
        started.append((name, known, await begun(idle, name, known)))
        vm.rename(f"{vm.name}-old")
    await idle.start_worker()
    for name, known, job in started:
        ended = await idle.ended(job)
        assert (ended["state"], ended["problem"]["code"]) == ("failed", "target_changed"), name
        assert sent(idle.sim, known) == []


async def test_each_kind_can_be_cancelled_while_it_is_queued(idle):
    started = []
    for name, vm in zip(PARTS, running_vms(idle.sim), strict=False):
        known = known_of(idle.sim, name, vm)
        started.append((known, await begun(idle, name, known)))
        assert (await idle.call("POST", f"/jobs/{started[-1][1]}/cancel")).status == 200
    await idle.start_worker()
    for known, job in started:
        assert (await idle.ended(job))["state"] == "cancelled"
        assert sent(idle.sim, known) == []


@pytest.mark.parametrize("done", [False, True])
async def test_each_kind_that_is_cancelled_before_its_answer_sends_nothing_more(gateway, done):
    started = []
    for name, vm in zip(PARTS, running_vms(gateway.sim), strict=False):
        known, first = known_of(gateway.sim, name, vm), PARTS[name].sends[0]
        gateway.sim.fault("hang", effect=done, **strike(first, known))
        job = await begun(gateway, name, known)
        await eventually(lambda: not waiting_faults(gateway.sim))
        assert (await gateway.call("POST", f"/jobs/{job}/cancel")).status == 200
        started.append((name, known, first, job))
    for name, known, first, job in started:
        ended = await gateway.ended(job)
        assert ended["state"] == "cancelled" or done, f"{name} {ended}"
        expected = [first] if done else []
        assert sent(gateway.sim, known) == ([*expected, "poweron"] if first == "poweroff" and done else expected)
        assert known["vm"].running


def waiting_faults(sim):
    """Return the faults that still wait for their request."""
    return [fault for fault in sim.faults if fault.hits == 0]


async def test_a_drive_whose_attaching_is_cancelled_stays_and_is_named(gateway, monkeypatch):
    monkeypatch.setattr(vm_actions, "HOT_PLUG_SECONDS", NEVER_SECONDS)
    known = known_of(gateway.sim, "add drive", running_vms(gateway.sim)[0])
    job = await begun(gateway, "add drive", known)
    await gateway.at(job, phase="waiting")
    assert (await gateway.call("POST", f"/jobs/{job}/cancel")).status == 200
    ended = await gateway.ended(job)
    [drive] = rows(gateway.sim, "machine_drives", machine=known["machine"], name="extra")
    assert (ended["state"], ended["result"]["drive_id"], ended["result"]["attached"]) == (
        "cancelled",
        drive["$key"],
        False,
    )


@pytest.mark.parametrize("guest", ["obeys late", pytest.param("ignores", marks=pytest.mark.slow)])
async def test_a_restore_that_is_cancelled_while_the_vm_stops_ends_with_the_vm_running(gateway, guest):
    vm = running_vms(gateway.sim)[0].ignore_acpi(guest == "ignores")
    vm.guest_seconds = 30.0
    known = known_of(gateway.sim, "restore snapshot", vm)
    job = await begun(gateway, "restore snapshot", known, wait_timeout=600)
    await gateway.at(job, phase="stopping")
    assert (await gateway.call("POST", f"/jobs/{job}/cancel")).status == 200
    assert (await gateway.ended(job))["state"] == "cancelled"
    assert sent(gateway.sim, known) == (["poweroff"] if guest == "ignores" else ["poweroff", "poweron"])
    assert vm.running


@pytest.mark.parametrize("phase", ["changing", pytest.param("starting", marks=pytest.mark.slow)])
async def test_a_restore_that_is_cancelled_after_it_was_sent_is_carried_to_its_end(gateway, phase):
    vm = running_vms(gateway.sim)[0].unreadable_while_restoring(20)
    known = known_of(gateway.sim, "restore snapshot", vm)
    if phase == "starting":
        gateway.sim.fault("latency", seconds=0.3, **strike("poweron", known))
    job = await begun(gateway, "restore snapshot", known)
    await gateway.at(job, phase=phase)
    assert (await gateway.call("POST", f"/jobs/{job}/cancel")).status == 200
    ended = await gateway.ended(job)
    assert ended["state"] == "completed"
    assert sent(gateway.sim, known) == ["poweroff", "restore", "poweron"]
    assert PARTS["restore snapshot"].there(gateway.sim, known)


DRY_WARNINGS = {
    "add drive": [],
    "resize drive": [],
    "create snapshot": [],
    "delete snapshot": ["cannot be undone"],
    "restore snapshot": ["all changes since the snapshot are lost", "is stopped and started again"],
}


async def test_a_dry_run_of_each_kind_says_what_it_would_do_and_does_nothing(gateway):
    for name, vm in zip(PARTS, running_vms(gateway.sim), strict=False):
        known = known_of(gateway.sim, name, vm)
        answered = await gateway.call(*call_of(PARTS[name], known, dry_run=True))
        assert (answered.status, answered.body["state"]) == (200, "planned"), answered.text
        plan = answered.body["plan"]
        assert plan["current"]["running"] is True
        assert plan["wanted"]["action"] == "_".join(name.split())
        assert plan["warnings"] == DRY_WARNINGS[name]
        assert plan["requests"] >= len(PARTS[name].sends)
    assert gateway.sim.actions == []
    assert (await gateway.get("/jobs")).body == []
