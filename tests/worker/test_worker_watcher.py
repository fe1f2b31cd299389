"""The watcher: how often it looks, how few requests that takes, whom it wakes."""

import pytest
from stepping import crew_on

from gateway.core.job import Phase
from gateway.core.times import EngineTimes
from gateway.core.wishes import PowerOff
from gateway.store.jobs import Watch
from gateway.store.watching import Observation
from tests.conftest import eventually
from worker.watcher import Watcher, concerns, interval, stretched

WAITS = PowerOff(wait_seconds=600)
TIMES = EngineTimes()
ON, OFF = Observation(100.0, True, "running", 50.0), Observation(100.0, False, "stopped", 50.0)


@pytest.mark.parametrize(
    ("ages", "seconds"),
    [
        ([0], 2),
        ([19.9], 2),
        ([20], 5),
        ([119.9], 5),
        ([120], 15),
        ([14_400], 15),
        ([14_400, 300, 1], 2),  # the youngest wait decides
        ([14_400, 60], 5),
    ],
)
def test_a_young_wait_is_looked_at_often_and_an_old_one_seldom(ages, seconds):
    now = 1_000_000.0
    waits = {str(age): Watch("machine:1", now - age, "off") for age in ages}
    assert interval(waits, now, TIMES) == seconds


@pytest.mark.parametrize(
    ("wake_when", "seen", "changed", "concerned"),
    [
        ("off", OFF, True, True),
        ("off", OFF, False, True),  # an earlier wake was lost
        ("off", ON, False, False),
        ("off", ON, True, True),  # `stopping`, or a new start: the job decides what it means
        ("on", ON, False, True),
        ("on", OFF, False, False),
        (None, ON, False, False),
        (None, OFF, True, True),
    ],
)
def test_a_job_is_woken_by_a_change_or_by_what_it_waits_for(wake_when, seen, changed, concerned):
    watch = Watch("machine:1", 0.0, wake_when)
    assert concerns(watch, {"machine:1": (seen, changed)}) is concerned
    assert concerns(watch, {"machine:2": (seen, changed)}) is False


async def due_at(crew, job_id):
    return await crew.jobs.redis.zscore(crew.first.keys.arq_queue, job_id) / 1000


async def wait_with_a_far_step(crew, vm):
    """Return a job that waits for a VM, its next step a while away as arq would have it."""
    job = await crew.submit(vm, WAITS)
    await crew.drive(job.id, until=lambda job: job.phase is Phase.WAITING)
    far = await crew.jobs.now() + 1000
    await crew.jobs.redis.zadd(crew.first.keys.arq_queue, {job.id: int(far * 1000)})
    return job, far


async def test_only_the_job_whose_vm_changed_is_woken(crew):
    changes, stays = crew.sim.vm("web-1").ignore_acpi(), crew.sim.vm("web-2").ignore_acpi()
    watcher = Watcher(crew.first)
    (first, far), (second, _) = [await wait_with_a_far_step(crew, vm) for vm in (changes, stays)]
    await watcher.tick()  # the first sight of a VM counts as a change
    for job in (first, second):
        await crew.jobs.redis.zadd(crew.first.keys.arq_queue, {job.id: int(far * 1000)})
    changes.stop()

    async def woken():
        await watcher.tick()
        return await due_at(crew, first.id) < far - 1

    await eventually(woken)
    assert await due_at(crew, second.id) == pytest.approx(far, abs=0.01)
    looks = crew.sim.requests["GET vms"]
    ended = await crew.drive(first.id)
    assert ended.result["running"] is False
    assert crew.sim.requests["GET vms"] == looks  # what the watcher saw is enough to end on


async def test_a_look_covers_all_waits_and_is_not_repeated_before_its_time(sim, redis_url):
    async with crew_on(sim, redis_url, watch_fast=600.0) as crew:
        for name in ("web-1", "web-2", "db-1"):
            await wait_with_a_far_step(crew, sim.vm(name).ignore_acpi())
        watcher = Watcher(crew.first)
        for _ in range(5):
            await watcher.tick()
        assert sim.requests["GET machine_status"] == 1


async def test_nobody_waits_so_nobody_looks(crew):
    await Watcher(crew.first).tick()
    assert crew.sim.requests.total() == 0


async def test_a_watcher_that_sees_nothing_stops_the_patient_clock_until_it_sees_again(sim, redis_url):
    async with crew_on(sim, redis_url, watch_fast=0.1) as crew:
        job, far = await wait_with_a_far_step(crew, sim.vm("web-1").ignore_acpi())
        watching, watcher = crew.first.watching, Watcher(crew.first)
        await watcher.tick()
        await crew.jobs.redis.zadd(crew.first.keys.arq_queue, {job.id: int(far * 1000)})
        sim.down = True

        async def blind():
            await watcher.tick()
            return await watching.blind_since()

        since = await eventually(blind)
        assert await watching.blind_seconds(since + 5.0) == pytest.approx(5.0)
        assert await due_at(crew, job.id) == pytest.approx(far, abs=0.01)
        sim.down = False

        async def sees():
            await watcher.tick()
            return await watching.blind_since() is None

        await eventually(sees)
        total = await watching.blind_seconds(since + 1000)
        assert 0 < total < 5
        assert await watching.blind_seconds(since + 2000) == total
        assert await due_at(crew, job.id) < far - 1  # whoever waited is told that there is sight again


async def test_a_spent_budget_is_no_blindness(crew, monkeypatch):
    await wait_with_a_far_step(crew, crew.sim.vm("web-1").ignore_acpi())
    monkeypatch.setattr(crew.first.vergeos.governor.slice, "per_second", 1)
    watcher = Watcher(crew.first)
    for _ in range(3):
        await watcher.tick()
        watcher._looked_at = 0.0
    assert await crew.first.watching.blind_since() is None


@pytest.mark.parametrize(
    ("seconds", "stretch", "looked_after"), [(2, 1, 2), (2, 5, 10), (5, 8, 18), (15, 8, 18), (20, 8, 20)]
)
def test_the_budget_stretches_the_interval_but_not_until_jobs_look_by_themselves(seconds, stretch, looked_after):
    assert stretched(seconds, stretch, EngineTimes()) == looked_after


async def test_machines_in_two_requests_and_tenants_are_looked_at_in_turns(crew):
    targets = {f"machine:{key}" for key in range(10_000, 10_250)} | {"tenant:1", "tenant:2"}
    watcher, costs = Watcher(crew.first), []
    for _ in range(4):
        before = crew.sim.requests.copy()
        await watcher._look(targets, 0.0)
        costs.append(dict(crew.sim.requests - before))
    assert costs == [{"GET tenant_status": 1}, {"GET machine_status": 2}] * 2
