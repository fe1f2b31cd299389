"""What the processes share in Redis, on a real one: the count of a second, the session, the claim, the refusal."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from gateway.store.credentials import SharedCredentials
from gateway.store.keys import LATCH_SECONDS, SESSION_SECONDS
from gateway.store.limits import RequestLimits


@pytest.fixture
async def processes(redis_url):
    """Three connections to the same Redis, as three processes have them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Redis.from_url(redis_url)) for _ in range(3)]


async def test_each_request_of_a_second_has_its_own_number(processes, keys):
    limits = [RequestLimits(redis, keys) for redis in processes]
    taken = await asyncio.gather(*(limit.take("mark") for limit in limits for _ in range(10)))
    counts = sorted(one.count for one in taken)
    turned = counts.count(1) - 1  # the second may turn in the middle of the test
    assert turned in (0, 1)
    if not turned:
        assert counts == list(range(1, 31))
    assert all(0 < one.seconds_left <= 1 for one in taken)


async def test_clocks_that_differ_count_the_same_second(processes, keys):
    limits = [RequestLimits(redis, keys, clock=lambda ahead=ahead: ahead) for ahead, redis in enumerate(processes)]
    for limit in limits:
        await limit.take("mark")
    assert len(await processes[0].keys(keys.window(0).rsplit(":", 1)[0] + ":*")) <= 2


async def test_a_count_does_not_stay(processes, keys):
    await RequestLimits(processes[0], keys).take("mark")
    for key in await processes[0].keys():
        assert 0 < await processes[0].ttl(key) <= 5


async def test_a_refusal_is_seen_by_all_with_the_time_of_the_first(processes, keys):
    shared = [SharedCredentials(redis, keys) for redis in processes]
    first = await shared[0].refuse("mark")
    assert await shared[1].refuse("mark") == first
    assert (await RequestLimits(processes[2], keys).take("mark")).refused_at == first
    assert (await RequestLimits(processes[2], keys).take("other")).refused_at is None
    assert LATCH_SECONDS - 5 <= await processes[0].ttl(keys.latch("mark")) <= LATCH_SECONDS
    await shared[2].forget_refusal("mark")
    assert (await RequestLimits(processes[1], keys).take("mark")).refused_at is None


async def test_one_process_at_a_time_may_log_in(processes, keys):
    shared = [SharedCredentials(redis, keys) for redis in processes]
    claimed = await asyncio.gather(*(one.claim_login("mark", 30) for one in shared))
    assert sorted(claimed) == [False, False, True]
    await shared[claimed.index(True)].end_login("mark")
    assert await shared[0].claim_login("mark", 0.05)
    async with asyncio.timeout(5):
        while not await shared[1].claim_login("mark", 30):  # the claim of a process that died ends by itself
            pass


async def test_a_session_is_shared_for_less_than_vergeos_keeps_it(processes, keys):
    one, other = (SharedCredentials(redis, keys) for redis in processes[:2])
    assert await other.session("mark") is None
    await one.share_session("mark", "3f0c")
    assert await other.session("mark") == "3f0c"
    assert await processes[0].ttl(keys.session("mark")) <= SESSION_SECONDS < 86_400
