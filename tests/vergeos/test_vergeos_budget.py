"""The hard limits of requests: who waits, who is told at once, and what holds while Redis is away."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from gateway.core.breaker import Rests
from gateway.core.errors import BudgetSpent, VergeOSBusy
from gateway.store.credentials import SharedCredentials
from gateway.store.limits import RequestLimits
from gateway.vergeos.budget import Budget
from gateway.vergeos.governor import Governor, Limits
from gateway.vergeos.latch import Latch
from tests.conftest import AT_ONCE_SECONDS, PATIENCE_SECONDS


def read(client):
    return client.rows("vms", fields="$key")


async def outcomes(calls):
    """How many of the calls went through, and the errors of the others."""
    done = await asyncio.gather(*calls, return_exceptions=True)
    return done.count([]), [error for error in done if error != []]


class Gate:
    """An upstream that holds every answer until it is opened, and knows how many wait at once."""

    def __init__(self, upstream):
        self.inside = self.most = 0
        self.arrived = asyncio.Condition()
        self.opened = asyncio.Event()
        upstream.answer = self.answer

    async def answer(self, asked):
        async with self.arrived:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.arrived.notify_all()
        await self.opened.wait()
        self.inside -= 1
        return 200, []

    async def holds(self, count):
        async with asyncio.timeout(PATIENCE_SECONDS), self.arrived:
            await self.arrived.wait_for(lambda: self.inside == count)


async def test_no_more_requests_are_open_at_once_than_allowed(client_for, upstream):
    gate = Gate(upstream)
    client = await client_for(upstream.url, vergeos_max_concurrent=3)
    reads = asyncio.gather(*(read(client) for _ in range(10)))
    await gate.holds(3)
    gate.opened.set()
    await reads
    assert (gate.most, len(upstream.asked)) == (3, 10)


async def test_a_step_does_not_wait_for_a_place(client_for, upstream):
    gate = Gate(upstream)
    client = await client_for(upstream.url, vergeos_max_concurrent=1)
    waiting = asyncio.ensure_future(read(client))
    await gate.holds(1)
    with pytest.raises(BudgetSpent) as spent:
        await read(client.patient(wait=False))
    assert spent.value.retry_after > 0
    assert (spent.value.maybe_done, spent.value.retryable) == (False, True)
    gate.opened.set()
    await waiting
    assert len(upstream.asked) == 1


async def test_a_reader_waits_for_a_place_only_so_long(client_for, upstream):
    gate = Gate(upstream)
    client = await client_for(upstream.url, vergeos_max_concurrent=1)
    waiting = asyncio.ensure_future(read(client))
    await gate.holds(1)
    with pytest.raises(VergeOSBusy, match=r"no place .* within 0\.1 s"):
        await read(client.patient(seconds=0.1))
    gate.opened.set()
    await waiting


async def test_a_failed_request_gives_its_place_back(client_for, upstream, unused_tcp_port):
    client = await client_for(f"http://127.0.0.1:{unused_tcp_port}", vergeos_max_concurrent=1)
    passed, errors = await outcomes(read(client) for _ in range(5))
    assert (passed, {error.code for error in errors}) == (0, {"vergeos_unreachable"})


async def test_the_requests_of_a_second_are_counted_over_all_processes(client_for, upstream):
    clients = [await client_for(upstream.url, wait=False, vergeos_requests_per_second=3) for _ in range(2)]
    passed, errors = await outcomes([read(client) for client in clients for _ in range(5)])
    assert passed == len(upstream.asked) == 3
    assert {type(error) for error in errors} == {BudgetSpent}
    assert all(0 < error.retry_after <= 1.1 for error in errors)


async def test_readers_wait_for_the_next_second(client_for, upstream):
    client = await client_for(upstream.url, timeout=PATIENCE_SECONDS, vergeos_requests_per_second=2)
    began = time.monotonic()
    await asyncio.gather(*(read(client) for _ in range(5)))
    assert time.monotonic() - began > 1.9


async def test_a_reader_waits_for_a_second_only_so_long(client_for, upstream):
    client = await client_for(upstream.url, timeout=0.05, vergeos_requests_per_second=1)
    passed, errors = await outcomes(read(client) for _ in range(4))
    assert passed == 1
    assert {error.code for error in errors} == {"vergeos_budget_spent"}


async def test_zero_is_no_limit(client_for, upstream):
    client = await client_for(upstream.url, wait=False, vergeos_requests_per_second=0, vergeos_max_concurrent=0)
    passed, _ = await outcomes(read(client) for _ in range(40))
    assert passed == 40


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


async def turn(budget):
    async with budget.turn(wait_seconds=0, seconds=5):
        pass


async def test_a_process_that_never_reached_redis_keeps_a_part_of_the_limit(away, keys):
    clock = Clock()
    latch = Latch(SharedCredentials(away, keys), "mark")
    limits = Limits(per_second=8, concurrent=1, per_hour=0, rests=Rests(1, 10))
    budget = Budget(Governor(RequestLimits(away, keys), latch, "mark", limits, clock=clock), latch)
    for _ in range(3):
        await turn(budget)
        await turn(budget)
        with pytest.raises(BudgetSpent) as spent:
            await turn(budget)
        assert spent.value.retry_after == pytest.approx(1.0)
        clock.now += 1


async def test_a_read_does_not_fail_because_redis_hangs(opened, open_socket, upstream):
    async def mute(sock, reader, writer):
        await asyncio.Event().wait()

    port = (await open_socket(mute)).url.rsplit(":", 1)[1]
    redis = Redis(host="127.0.0.1", port=int(port))
    async with opened(upstream.url, redis) as client:
        began = time.monotonic()
        for _ in range(100):  # each with a wait of its own would take a minute
            assert await read(client) == []
        assert time.monotonic() - began < AT_ONCE_SECONDS
    await redis.aclose()
