"""Whole workers: how they stop, what they take over, what they find again, what two of them do."""

import asyncio

import pytest
from stepping import crew_on

from gateway.core.job import Phase
from gateway.core.wishes import PowerOff
from gateway.services import open_services
from gateway.store.connection import WORKING
from tests.conftest import AT_ONCE_SECONDS, PATIENCE_SECONDS, eventually
from worker import acts
from worker.runner import run_worker

WAITS = PowerOff(wait_seconds=600)


class Worker:
    """One worker of a crew's site, as a task."""

    def __init__(self, crew) -> None:
        self.crew = crew
        self.stop = asyncio.Event()
        self.task = None

    async def __aenter__(self):
        opened = asyncio.Event()

        async def run():
            backend = self.crew.backend
            services = open_services(self.crew.settings, backend, worker=True)
            async with services as of_worker, backend.open(WORKING) as redis:
                opened.set()
                await run_worker(of_worker, redis, self.stop)

        self.task = asyncio.create_task(run())
        await opened.wait()
        return self

    async def end(self):
        """Stop as on SIGTERM."""
        self.stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task

    async def __aexit__(self, *_):
        if not self.task.done():
            await self.end()


async def ended(crew, job_id):
    async def final():
        job = await crew.jobs.get(job_id)
        return job if job.state.final else None

    return await eventually(final)


async def at(crew, job_id, phase):
    async def there():
        return (await crew.jobs.get(job_id)).phase is phase

    await eventually(there)


async def leases(crew):
    return await crew.jobs.redis.keys("arq:in-progress:*")


async def test_a_worker_that_stops_leaves_no_lease_and_no_lead_behind(crew):
    jobs = [await crew.submit(crew.sim.vm(name).ignore_acpi(), WAITS) for name in ("web-1", "web-2", "db-1")]
    async with Worker(crew) as worker:
        for job in jobs:
            await at(crew, job.id, Phase.WAITING)
        await eventually(lambda: crew.jobs.redis.exists(crew.first.keys.leader))
        assert await crew.first.watching.workers() == 1
        await worker.end()
    assert await leases(crew) == []
    assert not await crew.jobs.redis.exists(crew.first.keys.leader)
    assert await crew.first.watching.workers() == 0
    assert await crew.jobs.redis.zcard(crew.first.keys.arq_queue) == len(jobs)


async def test_a_worker_that_stops_lets_a_running_step_end(crew, monkeypatch):
    perform, sending, may_answer = acts.perform, asyncio.Event(), asyncio.Event()

    async def slowly(*call):
        made = await perform(*call)
        sending.set()
        await may_answer.wait()
        return made

    monkeypatch.setattr(acts, "perform", slowly)
    job = await crew.submit(crew.sim.vm("web-1").ignore_acpi(), WAITS)
    async with Worker(crew) as worker:
        await sending.wait()
        worker.stop.set()
        may_answer.set()
        await worker.end()
    assert (await crew.jobs.get(job.id)).act("poweroff").answered_at is not None
    assert await leases(crew) == []


@pytest.mark.slow
async def test_a_step_that_hangs_is_cut_off_and_does_not_keep_the_worker_from_stopping(sim, redis_url):
    async with crew_on(sim, redis_url, request=400.0, step=420.0, lease=450.0) as crew:
        sim.fault("hang", path="/api/v4/vms")
        job = await crew.submit(sim.vm("web-1"), WAITS)
        async with Worker(crew) as worker:
            await eventually(lambda: sim.requests["GET vms"])
            worker.stop.set()
            await asyncio.wait({worker.task}, timeout=AT_ONCE_SECONDS)
            assert worker.task.done()
        assert await leases(crew) == []
        async with Worker(crew):
            assert (await ended(crew, job.id)).state == "completed"
        assert crew.actions(sim.vm("web-1")) == ["poweroff"]


async def test_a_step_that_arq_cuts_off_is_due_again_at_once(sim, redis_url, monkeypatch):
    look, hung = acts.look, []

    async def hangs_once(*call):
        if not hung:
            hung.append(True)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # a cancel that is lost, as Python 3.11 may lose it
                await asyncio.Event().wait()
        return await look(*call)

    monkeypatch.setattr(acts, "look", hangs_once)
    async with crew_on(sim, redis_url, sweep=6_000.0) as crew, Worker(crew):  # the sweeper does not come to help
        await eventually(lambda: crew.jobs.redis.exists(crew.first.keys.leader))
        job = await crew.submit(sim.vm("web-1"), WAITS)
        assert (await ended(crew, job.id)).state == "completed"
        assert crew.actions(sim.vm("web-1")) == ["poweroff"]


async def test_a_lease_that_nobody_gave_back_is_taken_over_when_it_runs_out(crew):
    job = await crew.submit(crew.sim.vm("web-1"), WAITS)
    lease_ms = int(crew.settings.times.lease * 1000)
    await crew.jobs.redis.psetex(f"arq:in-progress:{job.id}", lease_ms, b"1")  # of a worker that was killed
    began = await crew.jobs.now()
    async with Worker(crew):
        stored = await ended(crew, job.id)
    assert stored.begun_at - began >= crew.settings.times.lease * 0.9
    assert stored.state == "completed"


@pytest.mark.parametrize("lost", ["place in the queue", "step", "both"])
async def test_a_job_whose_step_was_lost_is_found_by_the_sweeper(sim, redis_url, lost):
    async with crew_on(sim, redis_url, sweep=3.0) as crew:
        vm = sim.vm("web-1")
        job = await crew.submit(vm, WAITS)
        if lost != "step":
            await crew.jobs.redis.zrem(crew.first.keys.arq_queue, job.id)
        if lost != "place in the queue":
            await crew.jobs.redis.delete(f"arq:job:{job.id}")
        async with Worker(crew):
            assert (await ended(crew, job.id)).state == "completed"
        assert crew.actions(vm) == ["poweroff"]


async def test_what_is_asked_of_a_job_is_heard_though_its_wake_was_lost(crew):
    job = await crew.submit(crew.sim.vm("web-1").ignore_acpi(), WAITS)
    async with Worker(crew):
        await at(crew, job.id, Phase.WAITING)
        key = crew.first.keys.job(job.id)
        await crew.jobs.redis.hset(key, "cancel", '{"by":"tester","at":1.0}')
        await crew.jobs.redis.sadd(crew.first.keys.asked, job.id)
        assert (await ended(crew, job.id)).state == "cancelled"
        assert not await crew.jobs.redis.exists(crew.first.keys.asked)


async def test_of_two_workers_one_watches_and_the_other_takes_over_when_it_stops(crew):
    await crew.submit(crew.sim.vm("web-1").ignore_acpi(), WAITS)
    redis, leader = crew.jobs.redis, crew.first.keys.leader
    async with Worker(crew) as first:
        await eventually(lambda: redis.get(leader))
        before = await redis.get(leader)
        async with Worker(crew):
            await eventually(lambda: has_workers(crew, 2))
            assert await redis.get(leader) == before
            await first.end()

            async def another():
                return await redis.get(leader) not in {None, before}

            await eventually(another)


async def has_workers(crew, number):
    return await crew.first.watching.workers() == number


async def test_a_worker_goes_on_after_its_redis_was_away(sim, own_redis):
    async with crew_on(sim, own_redis.url) as crew, Worker(crew):
        job = await crew.submit(sim.vm("web-1").ignore_acpi(), WAITS)
        await at(crew, job.id, Phase.WAITING)
        own_redis.stop()
        own_redis.start()
        sim.vm("web-1").stop()
        assert (await ended(crew, job.id)).result["forced"] is False
