"""Events told to many: whole and in order, through a restart of Redis, a newer writer and a slow reader."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from drafts import end, jobs_on, submitted

from gateway.store.connection import FOLLOWING, open_redis
from gateway.store.events import QUEUE_LENGTH, Feed
from tests.conftest import AT_ONCE_SECONDS, PATIENT, eventually


@pytest.fixture
async def jobs(redis_url):
    async with open_redis(redis_url, PATIENT) as redis:
        yield jobs_on(redis)


@pytest.fixture
async def feed(jobs, redis_url):
    async with open_redis(redis_url, FOLLOWING) as redis, reading(redis, jobs) as feed:
        yield feed


@asynccontextmanager
async def reading(redis, jobs):
    """Yield a feed that has begun to read; `changed` are the views of which it heard."""
    feed = Feed(redis, jobs, lambda name, generation: feed.changed.append((name, generation)))
    feed.changed = []

    async def heard():
        await jobs.redis.xadd(jobs.keys.events, {"view": b'{"view":"probe","generation":1}'})
        return feed.changed

    async with feed.running():
        await eventually(heard)
        yield feed


async def save(jobs, job_id, times=1, **changes):
    held = await jobs.hold(job_id)
    for _ in range(times):
        held = await jobs.save(held, held.job.model_copy(update=changes))


async def followed(feed, job_id, after=0, heard=None):
    """Return the numbers of a job's events up to its last; `heard` has them as they come."""
    heard = [] if heard is None else heard
    async with feed.follow(job_id, after) as events:
        async for event in events:
            heard.append(event.seq)
    return heard


async def test_followers_get_stored_and_live_events_once_each_up_to_the_last(jobs, feed):
    job = (await submitted(jobs)).job
    await save(jobs, job.id, 3)
    following = [asyncio.create_task(followed(feed, job.id, after)) for after in (0, 2)]
    await eventually(lambda: feed.followers == 2)
    await save(jobs, job.id, 3)
    await end(jobs, job.id)
    async with asyncio.timeout(AT_ONCE_SECONDS):
        assert await asyncio.gather(*following) == [list(range(1, 9)), list(range(3, 9))]
    assert feed.followers == 0


async def test_events_of_other_jobs_are_not_told(jobs, feed):
    mine, other = (await submitted(jobs)).job, (await submitted(jobs, vm=35)).job
    following = asyncio.create_task(followed(feed, mine.id))
    await eventually(lambda: feed.followers)
    await save(jobs, other.id, 5)
    await end(jobs, mine.id)
    async with asyncio.timeout(AT_ONCE_SECONDS):
        assert await following == [1, 2]


async def test_what_a_newer_version_writes_is_passed_over(jobs, feed):
    job = (await submitted(jobs)).job
    following = asyncio.create_task(followed(feed, job.id))
    await eventually(lambda: feed.followers)
    for fields in ({"job": b'{"job_id":"x","state":"dreaming"}'}, {"view": b"[]"}, {"view": b"{}"}, {"moon": b"full"}):
        await jobs.redis.xadd(jobs.keys.events, fields)
    await jobs.redis.xadd(jobs.keys.events, {"view": b'{"view":"vms","generation":7}'})
    await end(jobs, job.id)
    async with asyncio.timeout(AT_ONCE_SECONDS):
        assert await following == [1, 2]
    assert feed.changed[-1] == ("vms", 7)


async def test_rows_that_a_refill_found_the_same_are_no_news(jobs, feed):
    for event in (b'{"view":"vms","generation":8,"same":true}', b'{"view":"networks","generation":9}'):
        await jobs.redis.xadd(jobs.keys.events, {"view": event})
    await eventually(lambda: ("networks", 9) in feed.changed)
    assert ("vms", 8) not in feed.changed


async def test_a_slow_follower_is_cut_off_and_resumes_where_it_was(jobs, feed):
    job = (await submitted(jobs)).job
    async with feed.follow(job.id, 0) as events:
        seen = [(await anext(events)).seq]
        await save(jobs, job.id, QUEUE_LENGTH + 10, detail="much news")
        await end(jobs, job.id)
        await eventually(lambda: feed._followers[job.id].copy().pop().queue.qsize() <= 20)
        seen += [event.seq async for event in events]
        assert events.too_slow
    assert len(seen) < QUEUE_LENGTH
    assert seen + await followed(feed, job.id, seen[-1]) == list(range(1, QUEUE_LENGTH + 13))


async def test_nothing_is_missed_when_redis_was_away(own_redis):
    async with open_redis(own_redis.url, PATIENT) as redis, open_redis(own_redis.url, FOLLOWING) as other:
        jobs = jobs_on(redis)
        async with reading(other, jobs) as feed:
            job = (await submitted(jobs)).job
            first = asyncio.create_task(followed(feed, job.id, heard=(heard := [])))
            await eventually(lambda: heard)
            own_redis.stop()
            async with asyncio.timeout(AT_ONCE_SECONDS):
                assert await first == [1]  # let go, to resume from what is stored
            own_redis.start()
            second = asyncio.create_task(followed(feed, job.id, 1))  # before the feed reads again
            await eventually(lambda: feed.followers)
            await save(jobs, job.id, 3)
            await end(jobs, job.id)
            async with asyncio.timeout(AT_ONCE_SECONDS):
                assert await second == [2, 3, 4, 5]


async def test_everybody_is_let_go_when_the_process_stops(jobs, redis_url):
    job = (await submitted(jobs)).job
    async with open_redis(redis_url, FOLLOWING) as redis:
        async with reading(redis, jobs) as feed:
            following = asyncio.create_task(followed(feed, job.id))
            await eventually(lambda: feed.followers)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await following == [1]
