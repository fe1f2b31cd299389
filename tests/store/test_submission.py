"""Accepting a wish on a real Redis: atomic against everybody else, and the same call twice is one job."""

import asyncio
from collections import Counter

import pytest
from drafts import SITE, draft, end, jobs_on, submitted

from gateway.core.errors import KeyReused, StoreError, TargetBusy, UnknownJob
from gateway.core.job import JobState
from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize
from gateway.store import submission
from gateway.store.connection import open_redis
from gateway.store.standing import places
from tests.conftest import PATIENT

AT_ONCE = 20


@pytest.fixture
async def jobs(redis_url):
    async with open_redis(redis_url, PATIENT) as redis:
        yield jobs_on(redis)


async def queue(jobs, vm=34):
    return [raw.decode() for raw in await jobs.redis.lrange(jobs.keys.target_queue(f"vm:{vm}"), 0, -1)]


async def test_the_same_call_many_times_at_once_makes_one_job(jobs):
    answers = await asyncio.gather(*(submitted(jobs) for _ in range(AT_ONCE)))
    assert len({answer.job.id for answer in answers}) == 1
    assert Counter(answer.note is None for answer in answers) == {True: 1, False: AT_ONCE - 1}
    assert await queue(jobs) == [answers[0].job.id]
    assert len(await jobs.open()) == 1
    assert len(await jobs.events(answers[0].job.id)) == 1


async def test_the_same_wish_of_many_callers_at_once_is_one_job_that_all_share(jobs):
    owners = [f"caller-{number}" for number in range(AT_ONCE)]
    answers = await asyncio.gather(*(submitted(jobs, owner) for owner in owners))
    assert len({answer.job.id for answer in answers}) == 1
    job = await jobs.get(answers[0].job.id)
    assert sorted([job.owner, *(joiner.name for joiner in job.joiners)]) == sorted(owners)
    assert all("joined" in answer.note for answer in answers if answer.note is not None)


async def test_of_opposite_wishes_at_once_one_side_is_accepted(jobs):
    calls = [submitted(jobs, f"caller-{n}", PowerOn() if n % 2 else None) for n in range(AT_ONCE)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, TargetBusy)]
    assert len(refused) == AT_ONCE / 2
    (job,) = await jobs.open()
    assert {(busy.extra["job"], busy.extra["owner"]) for busy in refused} == {(job.id, job.owner)}


async def test_more_submits_at_once_than_there_are_connections_all_get_through(redis_url):
    async with open_redis(redis_url, PATIENT, connections=AT_ONCE + 4) as redis:
        jobs = jobs_on(redis)
        answers = await asyncio.gather(*(submitted(jobs, vm=number) for number in range(1, 5 * AT_ONCE)))
        assert len({answer.job.id for answer in answers}) == 5 * AT_ONCE - 1


async def test_different_wishes_at_once_all_stand_in_one_queue(jobs):
    answers = await asyncio.gather(*(submitted(jobs, wish=Resize(cpu_cores=n)) for n in range(1, AT_ONCE)))
    assert sorted(await queue(jobs)) == sorted(answer.job.id for answer in answers)
    assert await jobs.redis.zcard(jobs.keys.arq_queue) == AT_ONCE - 1


async def test_a_wish_stands_in_the_record_the_queue_and_arq_together(jobs):
    job = (await submitted(jobs)).job
    assert job.site == SITE
    assert await jobs.get(job.id) == job
    assert await jobs.redis.zscore(jobs.keys.arq_queue, job.id) < job.created_at * 1000
    assert await jobs.redis.exists(f"arq:job:{job.id}")
    assert [event.seq for event in await jobs.events(job.id)] == [1]
    assert await jobs.turn(job) is None


async def test_a_refused_wish_leaves_nothing_behind(jobs):
    await submitted(jobs, key="mine")
    before = await dump(jobs)
    for refused, error in [
        ({"wish": PowerOn()}, TargetBusy),
        ({"wish": Reset(), "key": "mine"}, KeyReused),
        ({"vm": 35, "key": "mine"}, KeyReused),
        ({"wish": Reset(), "after": "no-such-job"}, UnknownJob),
    ]:
        with pytest.raises(error):
            await submitted(jobs, **refused)
        assert await dump(jobs) == before


async def dump(jobs):
    return {key: await jobs.redis.dump(key) for key in sorted(await jobs.redis.keys("*"))}


async def test_a_wish_that_a_full_redis_refuses_leaves_nothing_behind(own_redis):
    async with open_redis(own_redis.url, PATIENT) as redis:
        jobs = jobs_on(redis)
        await redis.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="full") as refused:
            await submitted(jobs)
        assert refused.value.retry_after == 60
        assert await redis.keys("*") == []
        await redis.config_set("maxmemory", 0)
        assert (await submitted(jobs)).job.state is JobState.WORKING


# the same call


@pytest.mark.parametrize(
    ("state", "same"), [("completed", True), ("failed", False), ("cancelled", False), ("input_required", True)]
)
async def test_a_call_stands_for_its_open_or_just_completed_job_never_for_a_failed_one(jobs, state, same):
    first = (await submitted(jobs)).job
    held = await jobs.hold(first.id)
    over = state not in {"working", "input_required"}
    ended_at = await jobs.now() if over else None
    await jobs.save(held, held.job.model_copy(update={"state": JobState(state), "ended_at": ended_at}))
    second = await submitted(jobs)
    assert (second.job.id == first.id) is same
    assert (second.note is not None) is same


async def test_a_completed_call_is_the_same_call_only_for_a_while_and_only_while_nothing_followed(jobs):
    first = (await submitted(jobs)).job
    await end(jobs, first.id)
    assert (await submitted(jobs)).job.id == first.id
    assert (await submitted(jobs, same_call_seconds=0.0)).job.id != first.id

    await submitted(jobs, vm=35, wish=PowerOff(wait_seconds=1))
    other = (await submitted(jobs, vm=35, wish=PowerOff(wait_seconds=1))).job
    await end(jobs, other.id)
    followed = (await submitted(jobs, vm=35, wish=Reset())).job
    await end(jobs, followed.id)
    assert (await submitted(jobs, vm=35, wish=PowerOff(wait_seconds=1))).job.id != other.id


async def test_again_repeats_on_purpose_and_waits_behind_the_first(jobs):
    first = (await submitted(jobs)).job
    second = await submitted(jobs, again=True)
    assert second.note is None
    assert await queue(jobs) == [first.id, second.job.id]
    place = (await places(jobs, [second.job]))[second.job.id]
    assert (place.waits_for, place.position) == (first.id, 2)


async def test_calls_differ_by_tool_wish_object_caller_and_what_they_follow(jobs):
    drafts = [draft(), draft(wish=PowerOff(wait_seconds=31)), draft(vm=35), draft(tool="other"), draft(after="x")]
    assert len({one.digest for one in drafts}) == len(drafts)
    assert draft("bob").digest == draft("ann").digest  # the caller is part of the key, not of what is asked
    ann = (await submitted(jobs, "ann")).job
    await end(jobs, ann.id)
    assert (await submitted(jobs, "bob")).job.id != ann.id


# keys


async def test_a_key_stands_for_its_call_whatever_became_of_the_job_and_refuses_any_other(jobs):
    first = (await submitted(jobs, key="mine")).job
    await end(jobs, first.id, "failed")
    repeated = await submitted(jobs, key="mine")
    assert (repeated.job.id, repeated.job.state) == (first.id, JobState.FAILED)
    with pytest.raises(KeyReused) as refused:
        await submitted(jobs, wish=PowerOff(wait_seconds=31), key="mine")
    assert refused.value.extra["job"] == first.id
    assert (await submitted(jobs, "bob", key="mine")).job.id != first.id  # a key is its caller's own


async def test_a_call_with_a_key_may_join_and_then_stands_for_what_it_joined(jobs):
    first = (await submitted(jobs, "ann")).job
    assert (await submitted(jobs, "bob", key="bobs")).job.id == first.id
    await end(jobs, first.id)
    assert (await submitted(jobs, "bob", key="bobs", same_call_seconds=0.0)).job.id == first.id


async def test_the_keys_of_a_call_live_a_day_past_its_end(jobs):
    first = (await submitted(jobs, "ann", key="anns")).job
    await submitted(jobs, "bob", key="bobs")
    await submitted(jobs, "cid")
    keys = await jobs.redis.keys(f"vg:{SITE}:idem:*")
    assert len(keys) == 3
    await end(jobs, first.id)
    assert {await jobs.redis.ttl(key) for key in keys} <= {86_399, 86_400}


# joining


async def test_a_job_that_is_being_cancelled_is_not_joined_even_if_that_came_just_now(jobs, monkeypatch):
    first = (await submitted(jobs, "ann")).job
    read_open, cancelled = submission.read_open, []

    async def read_then_cancel(*args):
        found = await read_open(*args)
        if not cancelled:
            cancelled.append(await jobs.cancel(first.id, "ann", may_others=False))
        return found

    monkeypatch.setattr(submission, "read_open", read_then_cancel)
    second = await submitted(jobs, "bob")
    assert cancelled
    assert second.job.id != first.id
    assert await queue(jobs) == [first.id, second.job.id]
    assert (await jobs.get(first.id)).joiners == ()


async def test_a_job_that_ends_while_it_is_joined_is_not_joined(jobs, monkeypatch):
    first = (await submitted(jobs, "ann")).job
    read_open, ended = submission.read_open, []

    async def read_then_end(*args):
        found = await read_open(*args)
        if not ended:
            ended.append(await end(jobs, first.id))
        return found

    monkeypatch.setattr(submission, "read_open", read_then_end)
    assert (await submitted(jobs, "bob")).job.id != first.id


# order


async def test_force_off_goes_before_the_power_off_it_overtakes_and_behind_nothing_else(jobs):
    soft = (await submitted(jobs)).job
    reset = (await submitted(jobs, wish=Reset())).job
    hard = (await submitted(jobs, wish=ForceOff())).job
    assert await queue(jobs) == [hard.id, soft.id, reset.id]
    assert hard.overtakes == soft.id


async def test_after_queues_behind_the_named_job_and_only_if_it_is_about_the_same_object(jobs):
    off = (await submitted(jobs)).job
    on = (await submitted(jobs, wish=PowerOn(), after=off.id)).job
    assert await queue(jobs) == [off.id, on.id]
    other = (await submitted(jobs, vm=35)).job
    with pytest.raises(UnknownJob):
        await submitted(jobs, wish=PowerOn(), after=other.id)
