"""What the processes share in Redis, on a real one: limits and health, the session, the claim, the refusal."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import orjson
import pytest
from redis.asyncio import Redis

from gateway.core.leases import Lease, Units
from gateway.core.spender import Kind, Spender
from gateway.store.credentials import SharedCredentials
from gateway.store.keys import LATCH_SECONDS, SESSION_SECONDS
from gateway.store.limits import Report, RequestLimits, Settlement
from tests.conftest import PATIENCE_SECONDS

NONE = Units(0, 0, (0,))


@pytest.fixture
async def processes(redis_url):
    """Three connections to the same Redis, as three processes have them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Redis.from_url(redis_url)) for _ in range(3)]


def holding(places):
    """A decision to hold as many places as the others leave, of five."""

    def decide(standing):
        others = sum(lease.places.held for name, lease in standing.leases.items())
        units = Units(min(places, 5 - others), 0, (places,))
        return Settlement(Lease(units, NONE, standing.now + 5), (), standing.health)

    return decide


async def settle(redis, keys, process, decide=None, mark="mark", report=None):
    limits = RequestLimits(redis, keys)
    return await limits.settle(mark, process, decide or holding(1), report or Report())


async def test_processes_that_settle_at_once_never_hold_more_than_there_is(processes, keys):
    held = {}

    def noting(name):
        def decide(standing):
            settled = holding(3)(standing)
            held[name] = settled.lease.places.held
            return settled

        return decide

    await asyncio.gather(
        *(settle(redis, keys, name, noting(name)) for name, redis in zip("abc", processes, strict=True))
    )
    assert sum(held.values()) == 5


async def test_what_was_spent_is_added_up_over_all_processes(processes, keys):
    alice = Spender(Kind.PERSON, "alice|b")
    for redis in processes:
        shared = await settle(redis, keys, "a", report=Report({alice: 2, Spender(Kind.ACT): 1}, {"vms#1": 4e9}))
    assert shared.spent == shared.lately == {alice: 6, Spender(Kind.ACT): 3}
    assert shared.hot == 1
    assert (await settle(processes[0], keys, "a", mark="other")).spent == {}


async def test_the_health_is_the_same_for_all(processes, keys):
    def failing(standing):
        return Settlement(holding(1)(standing).lease, (), replace(standing.health, failures=3, why="reset"))

    await settle(processes[0], keys, "a", failing)
    seen = []
    await settle(processes[1], keys, "b", lambda standing: seen.append(standing) or holding(1)(standing))
    assert (seen[0].health.failures, seen[0].health.why, list(seen[0].leases)) == (3, "reset", ["a"])


async def test_what_another_version_noted_is_understood_as_far_as_it_goes(processes, keys):
    await settle(processes[0], keys, "newer")
    lease = orjson.loads(await processes[0].hget(keys.governor("mark"), "newer"))
    await processes[0].hset(keys.governor("mark"), "newer", orjson.dumps({**lease, "colour": "red"}))
    await processes[0].hset(keys.governor("mark"), "health", b'{"failures": 2, "colour": "red"}')
    seen = []
    await settle(processes[1], keys, "b", lambda standing: seen.append(standing) or holding(1)(standing))
    assert (list(seen[0].leases), seen[0].health.failures) == (["newer"], 2)


async def test_a_kind_that_is_not_known_is_counted_all_the_same(processes, keys):
    await settle(processes[0], keys, "a", report=Report({Spender(Kind.ACT): 1}))
    (part,) = [name for name in await processes[0].keys() if b":spent:" in name]
    await processes[0].hset(part, "wish|", 4)
    assert (await settle(processes[1], keys, "b")).spent == {Spender(Kind.ACT): 1, Spender(Kind.GATEWAY): 4}


async def test_no_key_of_the_governor_stays(processes, keys):
    await settle(processes[0], keys, "a", report=Report({Spender(Kind.ACT): 1}, {"vms#1": 4e9}))
    limits = RequestLimits(processes[0], keys)
    assert [await limits.first_to_warn("mark") for _ in range(2)] == [True, False]
    names = await processes[0].keys()
    assert {name.split(b":")[2] for name in names} == {b"governor", b"spent", b"hot", b"warned"}
    for name in names:
        assert 0 < await processes[0].ttl(name) <= 7_200


async def test_a_refusal_is_seen_by_all_with_the_time_of_the_first(processes, keys):
    shared = [SharedCredentials(redis, keys) for redis in processes]
    first = await shared[0].refuse("mark")
    assert await shared[1].refuse("mark") == first
    assert (await settle(processes[2], keys, "c")).refused_at == first
    assert (await settle(processes[2], keys, "c", mark="other")).refused_at is None
    assert LATCH_SECONDS - 5 <= await processes[0].ttl(keys.latch("mark")) <= LATCH_SECONDS
    await shared[2].forget_refusal("mark")
    assert (await settle(processes[1], keys, "b")).refused_at is None
    assert LATCH_SECONDS - 5 <= await processes[0].ttl(keys.readmitted("mark")) <= LATCH_SECONDS


async def test_only_a_refusal_from_after_the_credentials_were_let_be_tried_again_counts(processes, keys):
    shared = [SharedCredentials(redis, keys) for redis in processes]
    await shared[0].forget_refusal("mark")
    assert await shared[1].refuse("mark", ago=60) is None
    assert (await settle(processes[2], keys, "c")).refused_at is None
    assert await shared[1].refuse("mark") is not None


async def test_one_process_at_a_time_may_log_in(processes, keys):
    shared = [SharedCredentials(redis, keys) for redis in processes]
    claimed = await asyncio.gather(*(one.claim_login("mark", 30) for one in shared))
    assert sorted(claimed) == [False, False, True]
    await shared[claimed.index(True)].end_login("mark")
    assert await shared[0].claim_login("mark", 0.05)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await shared[1].claim_login("mark", 30):  # the claim of a process that died ends by itself
            pass


async def test_a_session_is_shared_for_less_than_vergeos_keeps_it(processes, keys):
    one, other = (SharedCredentials(redis, keys) for redis in processes[:2])
    assert await other.session("mark") is None
    await one.share_session("mark", "3f0c")
    assert await other.session("mark") == "3f0c"
    assert await processes[0].ttl(keys.session("mark")) <= SESSION_SECONDS < 86_400
