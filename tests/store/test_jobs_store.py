"""Job records on a real Redis: fence, cancel, answer, order, wakes, sweeping, and how long each key lives."""

import asyncio

import pytest
from drafts import asking, end, jobs_on, submitted

from gateway.core.errors import Forbidden, InvalidArgument, JobEnded, UnknownJob
from gateway.core.job import JobState
from gateway.core.trail import UpstreamCall
from gateway.core.wishes import PowerOff, Reset
from gateway.store.connection import open_redis
from gateway.store.jobs import Fenced, Moved, Watch
from gateway.store.schedule import HEAD_START_SECONDS
from tests.conftest import PATIENT
from tests.leaks import kinds_without_expiry


@pytest.fixture
async def jobs(redis_url):
    async with open_redis(redis_url, PATIENT) as redis:
        yield jobs_on(redis)


# the fence


async def test_every_hold_takes_a_higher_fence_and_only_the_last_one_saves(jobs):
    job = (await submitted(jobs)).job
    held = [await jobs.hold(job.id) for _ in range(3)]
    assert [one.fence for one in held] == [1, 2, 3]
    for stale in held[:2]:
        with pytest.raises(Fenced):
            await jobs.save(stale, stale.job)
    saved = await jobs.save(held[2], held[2].job)
    assert saved.job.seq == job.seq + 1
    await jobs.save(saved, saved.job)  # and may go on saving


async def test_many_holds_at_once_all_get_their_own_fence(jobs):
    job = (await submitted(jobs)).job
    held = await asyncio.gather(*(jobs.hold(job.id) for _ in range(20)))
    assert sorted(one.fence for one in held) == list(range(1, 21))
    results = await asyncio.gather(*(jobs.save(one, one.job) for one in held), return_exceptions=True)
    assert sum(isinstance(result, Fenced) for result in results) == 19


async def test_an_ended_job_is_held_no_more(jobs):
    job = (await submitted(jobs)).job
    await end(jobs, job.id)
    assert await jobs.hold(job.id) is None
    assert await jobs.hold("no-such-job") is None


async def test_a_save_that_is_no_news_makes_no_event(jobs):
    job = (await submitted(jobs)).job
    held = await jobs.hold(job.id)
    quiet = await jobs.save(held, held.job, tell=False)
    assert [event.seq for event in await jobs.events(job.id)] == [1]
    await jobs.save(quiet, quiet.job)
    assert [event.seq for event in await jobs.events(job.id)] == [1, 2]
    assert [event.seq for event in await jobs.events(job.id, after_seq=1)] == [2]


async def test_what_callers_write_beside_the_record_survives_a_save_of_the_step(jobs):
    job = (await submitted(jobs, "ann")).job
    held = await jobs.hold(job.id)
    await submitted(jobs, "bob")
    await jobs.cancel(job.id, "ann", may_others=False)  # hands over to bob
    await jobs.save(held, held.job)
    stored = await jobs.get(job.id)
    assert (stored.owner, stored.joiners, stored.cancel) == ("bob", (), None)


async def test_an_intent_is_refused_once_something_was_asked_since_the_hold(jobs):
    job = (await submitted(jobs)).job
    held = await jobs.hold(job.id)
    await jobs.cancel(job.id, "ann", may_others=False)
    with pytest.raises(Moved):
        await jobs.save(held, held.job, acts=True)
    await jobs.save(held, held.job)  # what is no act may be saved
    heard = await jobs.hold(job.id)
    assert heard.job.cancel.by == "ann"


async def test_a_save_and_a_cancel_at_once_are_both_kept(jobs):
    for number in range(10):
        job = (await submitted(jobs, vm=number)).job
        held = await jobs.hold(job.id)
        change = held.job.model_copy(update={"detail": "changed"})
        await asyncio.gather(jobs.save(held, change), jobs.cancel(job.id, "ann", may_others=False))
        stored = await jobs.get(job.id)
        assert (stored.detail, stored.cancel.by) == ("changed", "ann")


# cancel and answer


async def test_a_joiner_leaves_an_owner_hands_over_and_the_last_one_cancels(jobs):
    job = (await submitted(jobs, "ann")).job
    for name in ("bob", "cid"):
        await submitted(jobs, name)
    left = await jobs.cancel(job.id, "bob", may_others=False)
    assert (left.owner, [joiner.name for joiner in left.joiners], left.cancel) == ("ann", ["cid"], None)
    handed = await jobs.cancel(job.id, "ann", may_others=False)
    assert (handed.owner, handed.joiners, handed.cancel) == ("cid", (), None)
    with pytest.raises(Forbidden, match="cid"):
        await jobs.cancel(job.id, "ann", may_others=False)
    assert (await jobs.cancel(job.id, "cid", may_others=False)).cancel.by == "cid"


async def test_a_stranger_cancels_only_with_the_right_to(jobs):
    job = (await submitted(jobs, "ann")).job
    with pytest.raises(Forbidden):
        await jobs.cancel(job.id, "eve", may_others=False)
    assert (await jobs.get(job.id)).cancel is None
    assert (await jobs.cancel(job.id, "eve", may_others=True)).cancel.by == "eve"


async def test_an_answer_belongs_to_the_question_it_was_given_to(jobs):
    job = (await submitted(jobs)).job
    with pytest.raises(InvalidArgument):
        await jobs.answer(job.id, "ann", yes=True)
    await asking(jobs, job.id)
    answered = await jobs.answer(job.id, "ann", yes=True)
    assert (answered.question.yes, answered.question.answered_at is not None) == (True, True)
    with pytest.raises(InvalidArgument):
        await jobs.answer(job.id, "bob", yes=False)
    await asking(jobs, job.id)  # another question
    assert (await jobs.get(job.id)).question.yes is None


async def test_nothing_can_be_asked_of_an_ended_or_unknown_job(jobs):
    job = (await submitted(jobs)).job
    await end(jobs, job.id)
    with pytest.raises(JobEnded):
        await jobs.cancel(job.id, "ann", may_others=True)
    with pytest.raises(JobEnded):
        await jobs.answer(job.id, "ann", yes=True)
    for call in (jobs.get("nope"), jobs.cancel("nope", "ann", may_others=True), jobs.answer("nope", "ann", yes=True)):
        with pytest.raises(UnknownJob):
            await call
    assert await jobs.redis.keys("*nope*") == []


async def test_what_is_asked_wakes_the_job_and_is_remembered_until_a_step_hears_it(jobs):
    job = (await submitted(jobs)).job
    far = int((await jobs.now() + 1000) * 1000)
    await jobs.redis.zadd(jobs.keys.arq_queue, {job.id: far})
    await jobs.cancel(job.id, "ann", may_others=False)
    assert await jobs.redis.zscore(jobs.keys.arq_queue, job.id) < far
    assert await jobs.redis.smembers(jobs.keys.asked) == {job.id.encode()}
    await jobs.hold(job.id)
    assert await jobs.redis.smembers(jobs.keys.asked) == set()


async def test_a_job_that_ends_before_it_heard_leaves_nothing_asked(jobs):
    job = (await submitted(jobs)).job
    held = await jobs.hold(job.id)
    await jobs.cancel(job.id, "ann", may_others=False)
    await jobs.save(held, held.job.model_copy(update={"state": JobState.COMPLETED, "ended_at": await jobs.now()}))
    assert not await jobs.redis.exists(jobs.keys.asked)


# order


async def test_the_end_of_a_job_wakes_the_next_one_on_its_object(jobs):
    first = (await submitted(jobs)).job
    second = (await submitted(jobs, wish=Reset())).job
    far = int((await jobs.now() + 1000) * 1000)
    await jobs.redis.zadd(jobs.keys.arq_queue, {second.id: far})
    assert await jobs.turn(second) == first.id
    await end(jobs, first.id)
    assert await jobs.turn(second) is None
    assert await jobs.redis.zscore(jobs.keys.arq_queue, second.id) < far


async def test_a_job_whose_record_is_gone_holds_nobody_up(jobs):
    first = (await submitted(jobs)).job
    second = (await submitted(jobs, wish=Reset())).job
    await jobs.redis.delete(jobs.keys.job(first.id))
    assert await jobs.turn(second) is None
    assert [job.id for job in await jobs.open_on("vm:34")] == [second.id]
    held = await jobs.hold(second.id)
    await jobs.save(held, held.job, acts=True)


# the sweeper's part


@pytest.mark.parametrize("lost", ["place", "step", "both", "nothing"])
async def test_only_open_jobs_that_lost_their_step_are_queued_again(jobs, lost):
    job = (await submitted(jobs)).job
    done = (await submitted(jobs, vm=35)).job
    await end(jobs, done.id)
    await jobs.redis.zrem(jobs.keys.arq_queue, done.id)
    if lost in {"place", "both"}:
        await jobs.redis.zrem(jobs.keys.arq_queue, job.id)
    if lost in {"step", "both"}:
        await jobs.redis.delete(f"arq:job:{job.id}")
    assert await jobs.rescue(60.0) == (lost != "nothing")
    assert await jobs.rescue(60.0) == 0
    assert await jobs.redis.zrange(jobs.keys.arq_queue, 0, -1) == [job.id.encode()]
    assert await jobs.redis.exists(f"arq:job:{job.id}")


async def test_a_step_that_is_due_too_far_away_is_pulled_forward(jobs):
    """Two workers that ran the same step have both moved it, or the clock of one is ahead."""
    job = (await submitted(jobs)).job
    now = await jobs.now()
    await jobs.redis.zadd(jobs.keys.arq_queue, {job.id: int((now + 50) * 1000)})
    assert await jobs.rescue(60.0) == 0
    await jobs.redis.zadd(jobs.keys.arq_queue, {job.id: int((now + 3_600) * 1000)})
    assert await jobs.rescue(60.0) == 1
    assert await jobs.redis.zscore(jobs.keys.arq_queue, job.id) <= (await jobs.now()) * 1000


async def test_a_job_without_a_record_is_forgotten_everywhere(jobs):
    job = (await submitted(jobs)).job
    held = await jobs.hold(job.id)
    await jobs.save(held, held.job, watch=Watch("machine:41", 1.0, "off"))
    await jobs.cancel(job.id, "ann", may_others=False)
    await jobs.redis.delete(jobs.keys.job(job.id), f"arq:job:{job.id}")
    assert await jobs.rescue(60.0) == 0
    for key in (jobs.keys.active, jobs.keys.waits, jobs.keys.asked):
        assert not await jobs.redis.exists(key), key


async def test_the_list_forgets_jobs_whose_record_has_run_out(jobs):
    job = (await submitted(jobs)).job
    old = await jobs.now() - jobs.record_seconds - 1
    await jobs.redis.zadd(jobs.keys.jobs, {"an-old-one": old})
    await jobs.forget_old()
    assert await jobs.redis.zrange(jobs.keys.jobs, 0, -1) == [job.id.encode()]


async def test_the_queue_tells_how_many_steps_are_due_and_since_when(jobs):
    assert await jobs.due(await jobs.now()) == (0, 0.0)
    for vm in (34, 35):
        await submitted(jobs, vm=vm)
    now = await jobs.now()
    ready, lag = await jobs.due(now + 3)
    assert ready == 2
    assert 3 <= lag < 4
    assert (await jobs.due(now - 2 * HEAD_START_SECONDS))[0] == 0


async def test_the_lag_of_a_woken_job_counts_from_its_wake_and_the_head_start_of_new_ones_is_no_lag(jobs):
    job = (await submitted(jobs)).job
    held = await jobs.hold(job.id)
    now = await jobs.now()
    await jobs.save(held, held.job.model_copy(update={"begun_at": now}))
    await jobs.redis.zadd(jobs.keys.arq_queue, {job.id: int((now - 7) * 1000)})
    assert (await jobs.due(now))[1] == pytest.approx(7, abs=0.01)
    await submitted(jobs, vm=35)
    assert (await jobs.due(now))[1] == pytest.approx(7, abs=0.01)


async def test_a_new_job_whose_first_step_runs_is_no_lag_and_hides_none(jobs):
    first, second = [(await submitted(jobs, vm=vm)).job for vm in (1, 2)]
    held = await jobs.hold(first.id)
    await jobs.save(held, held.job.model_copy(update={"begun_at": first.created_at}))
    assert (await jobs.due(second.created_at + 5))[1] == pytest.approx(5, abs=0.01)
    await jobs.redis.zrem(jobs.keys.arq_queue, second.id)
    assert (await jobs.due(second.created_at + 5)) == (1, 0.0)


# how long keys live


async def test_every_key_expires_but_those_of_open_jobs_and_the_few_that_are_bounded(jobs):
    open_job = (await submitted(jobs, key="mine")).job
    await submitted(jobs, "bob")
    held = await jobs.hold(open_job.id)
    await jobs.save(held, held.job, watch=Watch("machine:41", 1.0, "off"))
    await jobs.cancel(open_job.id, "bob", may_others=False)
    await jobs.note_calls(open_job.id, [UpstreamCall(at=1.0, method="GET", endpoint="vms", outcome="ok", ms=1)])
    assert await kinds_without_expiry(jobs.redis) == {
        *("job", "job-events", "job-calls", "jobs", "active", "unbegun", "open-of", "open-as", "waits"),
        *("asked", "queue", "events"),
        "arq:queue",
    }
    await end(jobs, open_job.id)
    await jobs.redis.zrem(jobs.keys.arq_queue, open_job.id)  # as arq does
    assert await kinds_without_expiry(jobs.redis) == {"jobs", "events"}
    own = (jobs.keys.job(open_job.id), jobs.keys.job_events(open_job.id), jobs.keys.job_calls(open_job.id))
    for key in own:
        assert await jobs.redis.ttl(key) == jobs.record_seconds


async def test_a_jobs_own_events_and_the_stream_of_all_are_bounded(jobs, monkeypatch):
    monkeypatch.setattr("gateway.store.writes.JOB_EVENTS_KEPT", 5)
    job = (await submitted(jobs, wish=PowerOff())).job
    held = await jobs.hold(job.id)
    for _ in range(10):
        held = await jobs.save(held, held.job)
    assert [event.seq for event in await jobs.events(job.id)] == [7, 8, 9, 10, 11]
