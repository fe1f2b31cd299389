"""The limits of callers by themselves: shares, minutes, waits of the dead, and a Redis that is away."""

import asyncio

import pytest

from gateway.core.access import Caller, Standing
from gateway.core.errors import TooManyCalls, TooManyWaits
from gateway.store.caller_limits import SHARES, CallerLimits
from gateway.store.connection import open_redis
from gateway.store.keys import MINUTE_SECONDS, Keys
from tests.conftest import PATIENT, eventually

ANN = Caller("ann", standing=Standing(person="ann"))
KEYS = Keys("t")


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


async def passes(limits, caller=ANN):
    try:
        await limits.count(caller)
    except TooManyCalls:
        return False
    return True


@pytest.mark.parametrize("most", [1, 2, 7, 60, 1_000])
async def test_never_more_than_the_limit_passes_and_nearly_all_of_it(redis, most):
    processes = [CallerLimits(redis, KEYS, calls_per_minute=most) for _ in range(3)]
    passed = sum([await passes(processes[number % 3]) for number in range(most + 60)])
    assert most - 3 * (most // SHARES + 1) <= passed <= most


async def test_calls_at_the_same_moment_are_counted_once_each(redis):
    limits = CallerLimits(redis, KEYS, calls_per_minute=20)
    assert sum(await asyncio.gather(*(passes(limits) for _ in range(50)))) == 20


async def test_most_calls_ask_redis_nothing(redis):
    limits = CallerLimits(redis, KEYS, calls_per_minute=6_000)
    before = (await redis.info("stats"))["total_commands_processed"]
    assert all([await passes(limits) for _ in range(1_000)])
    assert (await redis.info("stats"))["total_commands_processed"] - before < 100


async def test_the_next_minute_begins_when_the_refusal_said(redis):
    clock = Clock()
    limits = CallerLimits(redis, KEYS, calls_per_minute=1, clock=clock)
    assert await passes(limits)
    with pytest.raises(TooManyCalls) as refused:
        await limits.count(ANN)
    assert 0 < refused.value.retry_after <= MINUTE_SECONDS
    clock.now += refused.value.retry_after
    await redis.delete(KEYS.calls_of("ann"))  # as Redis does by then
    assert await passes(limits)


async def test_while_redis_is_away_calls_and_waits_go_on_uncounted(own_redis):
    async with open_redis(own_redis.url, PATIENT) as redis:
        limits = CallerLimits(redis, KEYS, calls_per_minute=100, waits=1)
        own_redis.stop()
        assert await passes(limits)
        async with limits.waiting(ANN), limits.waiting(ANN):
            pass
        own_redis.start()
        assert await passes(limits)
        await limits.close()


async def held(redis):
    return dict(await redis.zrange(KEYS.waiting("ann"), 0, -1, withscores=True))


async def room(limits):
    try:
        async with limits.waiting(ANN, 0.1):
            return True
    except TooManyWaits:
        return False


async def test_the_waits_of_a_process_that_was_killed_run_out(redis):
    dead, live = (CallerLimits(redis, KEYS, waits=1) for _ in range(2))
    killed = dead.waiting(ANN)
    await killed.__aenter__()
    (left,) = await held(redis)
    await dead.close()
    assert not await room(live)
    await redis.zadd(KEYS.waiting("ann"), {left: 1.0})  # its time is over
    assert await room(live)
    assert await held(redis) == {}


async def test_a_wait_is_renewed_while_it_lasts_and_given_back_when_its_client_hangs_up(redis):
    limits = CallerLimits(redis, KEYS, waits=1, held_seconds=0.3)
    inside = asyncio.Event()

    async def wait():
        async with limits.waiting(ANN):
            inside.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await inside.wait()
    begun = await held(redis)

    async def renewed():
        now = await held(redis)
        return list(now.values()) > list(begun.values())

    await eventually(renewed)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await held(redis) == {}
    await limits.close()


async def test_who_waits_too_often_hears_when_the_first_wait_is_surely_over(redis):
    limits = CallerLimits(redis, KEYS, waits=1)
    async with limits.waiting(ANN, 20):
        with pytest.raises(TooManyWaits) as refused:
            async with limits.waiting(ANN, 1):
                raise AssertionError("one more wait than the limit")
    assert 1 <= refused.value.retry_after <= 20
