"""One step at a time: what it may do under its fence, what it hears before it acts, what it says when it cannot see."""

import asyncio

import pytest
from stepping import crew_on

from gateway.core.job import Phase, Wished
from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize
from gateway.store.jobs import Fenced, Jobs, Moved
from gateway.store.standing import places
from tests.conftest import PATIENCE_SECONDS, eventually
from worker import acts
from worker.advancing import advance
from worker.steps import AT_ONCE_SECONDS

WAITS = PowerOff(wait_seconds=600)


def waiting(job):
    return job.phase is Phase.WAITING


async def test_the_stale_one_of_two_runs_cannot_save_and_sends_nothing(crew, monkeypatch):
    vm = crew.sim.vm("web-1")
    job = await crew.submit(vm, WAITS)
    looked, taken_over = asyncio.Event(), asyncio.Event()
    look = acts.look

    async def slow_look(services, of, wanted):
        seen = await look(services, of, wanted)
        if services is crew.first and not looked.is_set():
            looked.set()
            await taken_over.wait()
        return seen

    monkeypatch.setattr(acts, "look", slow_look)
    stale = asyncio.create_task(advance(crew.first, job.id))
    await looked.wait()
    await advance(crew.second, job.id)
    taken_over.set()
    assert await stale == crew.settings.times.fallback
    assert crew.actions(vm) == ["poweroff"]
    assert (await crew.jobs.get(job.id)).act("poweroff").answered_at is not None


async def test_a_stale_save_is_refused_whatever_it_saves(crew):
    job = await crew.submit(crew.sim.vm("web-1"), WAITS)
    stale = await crew.jobs.hold(job.id)
    fresh = await crew.second.jobs.hold(job.id)
    for how in ({}, {"tell": False}, {"acts": True}):
        with pytest.raises(Fenced):
            await crew.jobs.save(stale, stale.job, **how)
    await crew.jobs.save(fresh, fresh.job)


@pytest.mark.parametrize("asked", ["cancel", "force off"])
async def test_what_is_asked_after_the_look_is_heard_before_the_act(crew, monkeypatch, asked):
    vm = crew.sim.vm("web-1")
    job = await crew.submit(vm, WAITS)
    look, done = acts.look, []

    async def look_then_asked(services, of, wanted):
        seen = await look(services, of, wanted)
        if not done:
            done.append(asked)
            if asked == "cancel":
                await crew.jobs.cancel(job.id, "tester", may_others=False)
            else:
                await crew.submit(vm, ForceOff(), "force_off_vm")
        return seen

    monkeypatch.setattr(acts, "look", look_then_asked)
    assert await advance(crew.first, job.id) is not None
    assert crew.actions(vm) == []
    if asked == "cancel":
        assert (await crew.drive(job.id)).state == "cancelled"
    else:
        assert (await places(crew.jobs, [await crew.jobs.get(job.id)]))[job.id].waits_for is not None
        assert (await crew.jobs.get(job.id)).begun_at is None


async def test_an_intent_is_refused_where_another_job_has_its_turn(crew):
    vm = crew.sim.vm("web-1")
    await crew.submit(vm, Reset(), "reset_vm")
    second = await crew.submit(vm, WAITS)
    held = await crew.jobs.hold(second.id)
    with pytest.raises(Moved):
        await crew.jobs.save(held, held.job, acts=True)


async def test_a_job_behind_another_waits_without_a_request(crew):
    vm = crew.sim.vm("web-1")
    first = await crew.submit(vm, Reset(), "reset_vm")
    second = await crew.submit(vm, WAITS)
    due = await advance(crew.first, second.id)
    assert due <= crew.settings.times.fallback * 1.2
    job = await crew.jobs.get(second.id)
    assert (job.phase, job.detail) == (Phase.QUEUED, f"waits for job {first.id}")
    assert crew.sim.requests.total() == 0


async def test_force_off_waits_until_the_overtaken_request_can_land_no_more(crew):
    vm = crew.sim.vm("web-1").ignore_acpi()
    crew.sim.fault("reset_before", method="POST", path="vm_actions")
    soft = await crew.submit(vm, WAITS)
    await advance(crew.first, soft.id)
    assert (await crew.jobs.get(soft.id)).open_act is not None
    hard = await crew.submit(vm, ForceOff(), "force_off_vm")
    await advance(crew.first, hard.id)
    assert crew.actions(vm) == []
    async with crew.watching():
        assert (await crew.drive(hard.id)).state == "completed"
        assert (await crew.drive(soft.id)).state == "completed"
    assert crew.actions(vm) == ["kill"]


async def test_a_vm_that_somebody_started_again_meanwhile_is_not_forced(crew):
    vm = crew.sim.vm("web-1").ignore_acpi()
    job = await crew.submit(vm, PowerOff(wait_seconds=1, force=True))
    await crew.drive(job.id, until=waiting)
    vm.stop()
    vm.start()
    ended = await crew.drive(job.id)
    assert (ended.trouble.code, crew.actions(vm), vm.running) == ("started_meanwhile", ["poweroff"], True)


async def test_a_vm_that_is_gone_ends_a_waiting_job_and_is_no_blindness(sim, redis_url):
    async with crew_on(sim, redis_url, fallback=2.0) as crew:
        vm = sim.vm("web-1").ignore_acpi()
        job = await crew.submit(vm, WAITS)
        await crew.drive(job.id, until=waiting)
        vm.delete()
        ended = await crew.drive(job.id)
        assert (ended.state, ended.trouble.code) == ("failed", "target_gone")
        assert await crew.first.watching.blind_since() is None


async def test_a_job_that_sees_nothing_for_a_while_says_why_and_does_not_count_it_as_progress(sim, redis_url):
    async with crew_on(sim, redis_url, fallback=2.0) as crew:
        job = await crew.submit(sim.vm("web-1").ignore_acpi(), WAITS)
        begun = await crew.drive(job.id, until=waiting)
        sim.down = True
        held = await crew.drive(job.id, until=lambda job: job.phase is Phase.HELD)
        assert held.trouble.code == "vergeos_dropped"
        assert held.progress_at == begun.progress_at
        spent = sim.requests.total()
        still = await crew.drive(job.id, until=lambda job: job.failures > held.failures + 2)
        assert still.trouble == held.trouble  # as it was told, not as it is now
        assert sim.requests.total() == spent
        assert [event.phase for event in await crew.jobs.events(job.id)][-1] is Phase.HELD


async def test_a_held_job_is_seen_again_as_soon_as_the_watcher_sees(sim, redis_url):
    async with crew_on(sim, redis_url, fallback=2.0) as crew:
        vm = sim.vm("web-1").ignore_acpi()
        job = await crew.submit(vm, WAITS)
        await crew.drive(job.id, until=waiting)
        sim.down = True
        await crew.drive(job.id, until=lambda job: job.phase is Phase.HELD)
        assert job.id in await crew.first.watching.waits()
        sim.down = False
        async with crew.watching():
            seen = await crew.drive(job.id, until=waiting)
            await eventually(lambda: sees(crew))
        assert seen.trouble is None


async def test_grace_stands_still_while_vergeos_cannot_be_seen(sim, redis_url):
    async with crew_on(sim, redis_url, fallback=2.0) as crew:
        vm = sim.vm("web-1").ignore_acpi()
        job = await crew.submit(vm, PowerOff(wait_seconds=1, force=True))
        await crew.drive(job.id, until=waiting)
        sim.down = True
        async with crew.watching():
            await eventually(crew.first.watching.blind_since)
            blind_until = await crew.jobs.now() + 1.2  # longer than the grace
            await crew.drive(job.id, until=lambda job: job.updated_at > blind_until)
            sim.down = False
            await eventually(lambda: sees(crew))
            seen_at = await crew.jobs.now()
            ended = await crew.drive(job.id)
        assert ended.state == "completed"
        asked, kill = ended.act("poweroff"), ended.act("kill")
        assert kill.intended_at > seen_at
        assert kill.intended_at - asked.answered_at > 1.2
        assert crew.actions(vm) == ["poweroff", "kill"]


async def sees(crew):
    return await crew.first.watching.blind_since() is None


@pytest.mark.slow
async def test_a_slow_vergeos_slows_jobs_down_and_stops_none(sim, redis_url):
    """A request may take most of a request's time: what one step does not manage, the next ones do."""
    async with crew_on(sim, redis_url, request=9.0, step=12.0, lease=24.0, settle=15.0) as crew, crew.watching():
        vm = sim.vm("web-1").ignore_acpi()
        sim.fault("reset_before", method="POST", path="vm_actions")
        sim.fault("latency", seconds=0.6, count=None)
        job = await crew.submit(vm, PowerOff(wait_seconds=1, force=True))
        assert (await crew.drive(job.id)).state == "completed"
        assert crew.actions(vm) == ["poweroff", "kill"]


async def test_a_vergeos_too_slow_for_a_look_holds_the_job_with_the_reason(sim, redis_url):
    async with crew_on(sim, redis_url, request=3.0, step=3.2) as crew:
        sim.fault("latency", seconds=0.295, count=None)
        job = await crew.submit(sim.vm("web-1"), WAITS)
        held = await crew.drive(job.id, until=lambda job: job.phase is Phase.HELD)
        assert held.trouble.code == "vergeos_timeout"


async def test_a_job_alone_finds_vergeos_back_while_the_breaker_lets_one_request_try(crew):
    """A look asks two things side by side: the one that may not try must not cut off the one that does."""
    crew.sim.fault("reset_before", count=None)
    job = await crew.submit(crew.sim.vm("web-1"), WAITS)
    governor = crew.first.vergeos.governor
    await crew.drive(job.id, until=lambda _: governor.health.open_since is not None)
    crew.sim.clear_faults()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await crew.drive(job.id, until=waiting)
    assert governor.health.open_since is None


async def test_a_spent_budget_is_waited_for_and_counts_as_no_failure(crew, monkeypatch):
    vm = crew.sim.vm("web-1")
    monkeypatch.setattr(crew.first.vergeos.governor.slice, "per_second", 1)
    first = await crew.submit(vm, WAITS)
    second = await crew.submit(crew.sim.vm("test-vm"), PowerOn(), "power_on_vm")
    dues = [await advance(crew.first, job.id) for job in (first, second, first, second)]
    assert all(due is not None and due <= 1.1 for due in dues)
    for job in (first, second):
        stored = await crew.jobs.get(job.id)
        assert (stored.failures, stored.trouble) == (0, None)
    assert await crew.first.watching.blind_since() is None


async def test_an_act_that_surely_did_not_reach_vergeos_was_never_intended(crew, monkeypatch):
    vm = crew.sim.vm("web-1")
    job = await crew.submit(vm, WAITS)
    perform = acts.perform

    async def refused(services, of, act):
        crew.sim.revoke_credentials()
        return await perform(services, of, act)

    monkeypatch.setattr(acts, "perform", refused)
    await advance(crew.first, job.id)
    stored = await crew.jobs.get(job.id)
    assert (stored.phase, stored.acts, stored.begun_at) == (Phase.HELD, (), None)
    assert stored.trouble.code == "vergeos_unauthorized"
    await crew.jobs.cancel(job.id, "tester", may_others=False)
    assert (await crew.drive(job.id)).state == "cancelled"
    assert crew.actions(vm) == []


async def test_a_bug_in_a_step_ends_no_job_and_no_worker(crew, monkeypatch):
    job = await crew.submit(crew.sim.vm("web-1"), WAITS)

    async def broken(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(acts, "look", broken)
        assert await advance(crew.first, job.id) == crew.settings.times.backoff_last
    assert (await crew.jobs.get(job.id)).state == "working"
    assert (await crew.drive(job.id, until=waiting)).phase is Phase.WAITING


async def test_a_step_of_a_job_that_ended_or_never_was_asks_for_no_other(crew):
    job = await crew.submit(crew.sim.vm("test-vm"), WAITS)
    assert (await crew.drive(job.id)).state == "completed"
    assert await advance(crew.first, job.id) is None
    assert await advance(crew.first, "no-such-job") is None
    assert not await crew.jobs.redis.exists(crew.first.keys.job("no-such-job"))


async def test_a_step_that_met_another_caller_is_tried_again_at_once(crew, monkeypatch):
    job = await crew.submit(crew.sim.vm("web-1"), WAITS)

    async def moved(*_args, **_options):
        raise Moved(job.id)

    with monkeypatch.context() as patched:
        patched.setattr(Jobs, "save", moved)
        assert await advance(crew.first, job.id) == AT_ONCE_SECONDS


async def test_a_cancel_is_heard_in_the_words_of_who_asked(crew):
    job = await crew.submit(crew.sim.vm("web-1").ignore_acpi(), WAITS)
    await crew.jobs.cancel(job.id, "tester", may_others=False)
    stored = await crew.jobs.get(job.id)
    assert stored.cancel == Wished(by="tester", at=stored.cancel.at)
    ended = await crew.drive(job.id)
    assert "cancelled by tester before anything was done" in ended.detail


async def test_a_job_held_for_days_ends_and_says_what_nobody_knows_and_never_goes_on(sim, redis_url):
    async with crew_on(sim, redis_url, held_at_most=4.0, backoff_last=1.0, fallback=1.0) as crew:
        vm = sim.vm("web-1").ignore_acpi()
        job = await crew.submit(vm, PowerOff(wait_seconds=1, force=True))
        await crew.drive(job.id, until=waiting)
        sim.down = True
        ended = await crew.drive(job.id)
        assert (ended.state, ended.trouble.code) == ("failed", "outcome_unknown")
        for part in ("sent before: poweroff", "nothing more will be done"):
            assert part in ended.trouble.detail
        sim.down = False
        assert await advance(crew.first, job.id) is None
        assert crew.actions(vm) == ["poweroff"]


@pytest.mark.parametrize("obeys", [True, False])
async def test_a_vm_that_is_renamed_in_the_middle_of_its_resize_is_not_left_off(sim, redis_url, obeys):
    """Its guest went off: it is started. It did not: its power is not cut under another name, the old size is back."""
    vm = sim.vm("web-1").start().ignore_acpi(not obeys)
    vm.guest_seconds, cores = 2, vm.cpu_cores
    wish = Resize(cpu_cores=cores + 1, may_stop=True, wait_seconds=1, force=True)
    async with crew_on(sim, redis_url, watch_unforced=20.0) as crew, crew.watching():
        job = await crew.submit(vm, wish, "modify_vm")
        await crew.drive(job.id, until=lambda job: bool(job.act("stop")))
        vm.rename("web-1-old")
        job = await crew.drive(job.id)
    code = None if job.trouble is None else job.trouble.code
    assert (code, vm.running, vm.cpu_cores) == ((None, True, cores + 1) if obeys else ("target_changed", True, cores))
    assert "kill" not in crew.actions(vm)
