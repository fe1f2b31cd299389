"""What the gauges of open jobs say is what the records say, whatever befell a job, and costs the same for many."""

import random
from collections import Counter

import pytest
from drafts import asking, end, jobs_on, submitted

from gateway.core.job import JobState
from gateway.core.wishes import PowerOff, Reset, Resize
from gateway.services import open_services
from gateway.store import schedule
from gateway.store.backend import open_backend
from gateway.store.census import census, recount
from gateway.store.connection import open_redis
from gateway.store.jobs import Jobs
from gateway.store.writes import write_job
from tests.conftest import PATIENT

MANY = 10_000
WISHES = (PowerOff(wait_seconds=30), Reset(), Resize(cpu_cores=2))
QUEUED_WITHIN = 60.0


@pytest.fixture
async def jobs(redis_url):
    async with open_redis(redis_url, PATIENT) as redis:
        yield jobs_on(redis)


async def counted(jobs: Jobs):
    """Return what is counted without the zeros."""
    return {of: count for of, count in (await census(jobs)).open.items() if count}


async def as_records_say(jobs: Jobs):
    return Counter((job.wish.kind, job.state) for job in await jobs.open())


async def test_a_job_counts_from_its_acceptance_through_its_question_to_its_end(jobs):
    job = (await submitted(jobs)).job
    assert await counted(jobs) == {("power_off", JobState.WORKING): 1}
    assert (await census(jobs)).since[JobState.WORKING] == job.created_at
    asked = (await asking(jobs, job.id)).job
    assert await counted(jobs) == {("power_off", JobState.INPUT_REQUIRED): 1}
    assert (await census(jobs)).since[JobState.INPUT_REQUIRED] == asked.question.asked_at
    await jobs.answer(job.id, "ann", yes=True)
    assert await counted(jobs) == {("power_off", JobState.WORKING): 1}
    await end(jobs, job.id)
    assert await counted(jobs) == {}
    assert set((await census(jobs)).since.values()) == {None}


async def test_after_many_changes_the_counts_are_those_of_the_records(jobs):
    rng = random.Random(8)
    for number in range(120):
        open_jobs = await jobs.open()
        if len(open_jobs) < 8 or rng.random() < 0.4:
            await submitted(jobs, f"caller-{number % 3}", rng.choice(WISHES), vm=number)
            continue
        job = rng.choice(open_jobs)
        if job.asks is not None:
            await jobs.answer(job.id, job.owner, yes=True)
        elif rng.random() < 0.5:
            await asking(jobs, job.id)
        else:
            await end(jobs, job.id, rng.choice(("completed", "failed", "cancelled")))
        assert await counted(jobs) == await as_records_say(jobs)


async def test_records_that_redis_lost_are_counted_no_more(jobs):
    kept, lost = [(await submitted(jobs, vm=vm)).job for vm in (1, 2)]
    await jobs.redis.delete(jobs.keys.job(lost.id))
    await jobs.redis.zrem(jobs.keys.arq_queue, lost.id)
    await jobs.rescue(QUEUED_WITHIN)
    await recount(jobs)
    assert await counted(jobs) == {("power_off", JobState.WORKING): 1}
    assert (await census(jobs)).since[JobState.WORKING] == kept.created_at


async def test_what_a_worker_of_the_version_before_did_is_counted_by_the_next_sweep(jobs):
    ended, made = [(await submitted(jobs, vm=vm)).job for vm in (1, 2)]
    await jobs.redis.zrem(jobs.keys.active, ended.id)  # it ended a job, and left the sets as they were
    await jobs.redis.zrem(jobs.keys.open_as("power_off", "working"), made.id)  # it accepted one, and added nothing
    await recount(jobs)
    assert await counted(jobs) == {("power_off", JobState.WORKING): 1}
    assert (await census(jobs)).since[JobState.WORKING] == made.created_at


async def traffic(redis) -> tuple[int, int]:
    """Return how many commands Redis has carried out, and how many bytes went to and fro."""
    told = await redis.info("stats")
    return told["total_commands_processed"], told["total_net_input_bytes"] + told["total_net_output_bytes"]


async def cost_of_a_scrape(services, redis) -> tuple[int, int]:
    await services.measure()  # whatever is opened for the first
    commands, size = await traffic(redis)
    await services.measure()
    after, more = await traffic(redis)
    return after - commands, more - size


@pytest.mark.slow
async def test_a_scrape_costs_the_same_with_ten_thousand_open_jobs_as_with_one(settings, redis):
    async with open_backend(settings) as backend, open_services(settings, backend, worker=True) as services:
        jobs = services.jobs
        job = (await submitted(jobs)).job
        commands, size = await cost_of_a_scrape(services, redis)
        assert commands < 100
        pipe = redis.pipeline(transaction=False)
        for number in range(1, MANY):
            other = job.model_copy(update={"id": f"{number:016x}", "created_at": job.created_at + 1})
            write_job(pipe, jobs.keys, other, None, tell=False)
            schedule.arm(pipe, jobs.keys.arq_queue, other.id, job.created_at + number)
        await pipe.execute()
        many, larger = await cost_of_a_scrape(services, redis)
        shown = services.metrics.registry.get_sample_value(
            "vergeos_gateway_jobs_open", {"kind": "power_off", "state": "working"}
        )
        assert shown == MANY
        assert many <= commands
        assert larger < size + 500
        await redis.flushall()
