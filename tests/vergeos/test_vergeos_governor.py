"""The governor on a real Redis: many processes, one upstream that counts; priorities; pauses and the breaker of all."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from redis.asyncio import Redis
from structlog.testing import capture_logs

from gateway.core.errors import BudgetSpent, CircuitOpen, VergeOSBusy
from gateway.core.spender import Kind, Spender
from gateway.telemetry.metrics import Metrics
from gateway.vergeos import spending
from tests.conftest import AT_ONCE_SECONDS, eventually

ALICE, BOB = Spender(Kind.PERSON, "alice"), Spender(Kind.PERSON, "bob")
BOT, BOARD = Spender(Kind.AGENT, "bot"), Spender(Kind.MACHINE, "board")
ACT = Spender(Kind.ACT)
LIMITS = ("hour", "second", "concurrent")


@pytest.fixture
async def processes(redis_url, opened, upstream):
    """Open clients of one upstream, each with a Redis connection of its own, as processes have."""
    async with AsyncExitStack() as stack:

        async def made(count, url=upstream.url, **options):
            clients = []
            for _ in range(count):
                redis = await stack.enter_async_context(Redis.from_url(redis_url))
                clients.append(await stack.enter_async_context(opened(url, redis, **options)))
            return clients

        yield made


async def read(client, spender=ALICE):
    with spending.bound(spender):
        return await client.rows("vms", fields="$key")


class Counting:
    """An upstream that takes a while, and notes how many requests are open and when each came."""

    def __init__(self, upstream, seconds=0.05):
        self.open = self.most = 0
        self.came, self.seconds = [], seconds
        upstream.answer = self.answer

    async def answer(self, asked):
        self.came.append(time.monotonic())
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(self.seconds)
        self.open -= 1
        return 200, []


async def test_all_processes_together_keep_the_limits(processes, upstream):
    counting, began = Counting(upstream), time.monotonic()
    clients = await processes(3, timeout=20, vergeos_requests_per_second=8, vergeos_max_concurrent=4)
    await asyncio.gather(*(read(client) for client in clients for _ in range(7)))
    assert len(counting.came) == 21
    assert counting.most <= 4
    assert counting.came[8] - began > 0.9  # it may come late, never early
    assert counting.came[16] - began > 1.9


async def test_who_holds_a_slice_asks_redis_nothing_before_a_request(processes, upstream, monkeypatch):
    (client,) = await processes(1, vergeos_requests_per_second=100)
    await read(client)
    with monkeypatch.context() as patch:
        patch.setattr(client.governor, "_store", None)  # a settlement would fail
        assert await read(client) == []


async def test_persons_go_before_agents_and_acts_before_all(processes, upstream):
    order = []
    gate = asyncio.Event()

    async def answer(asked):
        await gate.wait()
        return 200, []

    upstream.answer = answer
    (client,) = await processes(1, timeout=20, vergeos_max_concurrent=1)

    async def noting(spender):
        await read(client, spender)
        order.append(spender)

    reads = [asyncio.create_task(noting(BOB))]
    await eventually(lambda: upstream.asked)
    waiting = (BOARD, BOT, ALICE, ALICE, ALICE, BOB, ACT)
    reads += [asyncio.create_task(noting(spender)) for spender in waiting]
    await eventually(lambda: sum(client.governor.waiting()) == len(waiting))
    gate.set()
    await asyncio.gather(*reads)
    assert order == [BOB, ACT, ALICE, BOB, ALICE, ALICE, BOT, BOARD]


async def test_who_goes_away_while_he_waits_leaves_his_place_to_others(processes, upstream):
    Counting(upstream)
    (client,) = await processes(1, timeout=20, vergeos_max_concurrent=1)
    reads = [asyncio.create_task(read(client)) for _ in range(6)]
    await eventually(lambda: sum(client.governor.waiting()) == 5)
    for task in reads[:4]:
        task.cancel()
    done = await asyncio.gather(*reads, return_exceptions=True)
    assert done[4:] == [[], []]
    assert client.governor.slice.open == []


async def test_a_process_that_ends_leaves_its_part_at_once(processes, redis_url, opened, upstream):
    async with Redis.from_url(redis_url) as redis, opened(upstream.url, redis, vergeos_max_concurrent=2) as ended:
        await read(ended)
    (client,) = await processes(1, vergeos_max_concurrent=2)
    Counting(upstream)
    assert await asyncio.gather(read(client), read(client)) == [[], []]


async def test_a_retry_after_is_honoured_by_every_process(processes, upstream):
    first, second = await processes(2, attempts=1, timeout=0.5)
    upstream.answer = lambda asked: busy(30)
    with pytest.raises(VergeOSBusy, match="GET vms"):
        await read(first)
    await eventually(lambda: second.governor.health.pause_until > second.governor.now + 20)
    asked = len(upstream.asked)
    for client in (first, second):
        with pytest.raises(BudgetSpent, match="pressed") as paused:
            await read(client)
        assert 20 < paused.value.retry_after <= 30
    assert len(upstream.asked) == asked


def busy(seconds):
    return web.Response(status=503, headers={"Retry-After": str(seconds)})


async def test_the_breaker_opens_for_all_and_one_request_closes_it_for_all(processes, upstream, unused_tcp_port):
    state = {"down": True}

    def answer(asked):
        return (504, "") if state["down"] else (200, [])

    upstream.answer = answer
    first, second = await processes(2, attempts=1, timeout=2 * AT_ONCE_SECONDS, engine_speed=1.0)
    for _ in range(5):
        with pytest.raises(VergeOSBusy, match="GET vms"):
            await read(first)
    await eventually(lambda: second.governor.health.open_since is not None)
    asked = len(upstream.asked)
    began = time.monotonic()
    with pytest.raises(CircuitOpen, match="5 times in a row") as broken:
        await read(second)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    assert (broken.value.retryable, broken.value.maybe_done, len(upstream.asked)) == (True, False, asked)
    state["down"] = False
    await eventually(lambda: first.governor.now >= first.governor.health.try_at + 0.1)
    done = await asyncio.gather(*(read(client) for client in (first, second) for _ in range(5)), return_exceptions=True)
    tried = len(upstream.asked) - asked
    assert tried >= 1
    assert all(one == [] or isinstance(one, CircuitOpen) for one in done)
    for client in (first, second):
        await eventually(lambda client=client: client.governor.health.open_since is None)
    assert await read(second) == await read(first) == []


async def test_where_who_tries_dies_another_tries_as_soon_as_that_request_would_be_over(processes, upstream):
    upstream.answer = lambda asked: (504, "")
    first, second = await processes(2, attempts=1, timeout=5)
    for _ in range(5):
        with pytest.raises(VergeOSBusy, match="GET vms"):
            await read(first)
    await eventually(lambda: first.governor.now >= first.governor.health.try_at + 0.1)
    assert await first.governor.may_try(0.5)  # and is heard of no more
    tries_at = first.governor.health.try_at
    assert tries_at - first.governor.now <= 0.5
    await eventually(lambda: second.governor.may_try(0.5))
    assert second.governor.now >= tries_at - 0.1


async def test_a_failed_try_keeps_it_open(processes, upstream):
    upstream.answer = lambda asked: (504, "")
    (client,) = await processes(1, attempts=1, timeout=5, engine_speed=1.0)
    for _ in range(5):
        with pytest.raises(VergeOSBusy, match="GET vms"):
            await read(client)
    await eventually(lambda: client.governor.now >= client.governor.health.try_at + 0.1)
    asked = len(upstream.asked)
    done = await asyncio.gather(*(read(client) for _ in range(8)), return_exceptions=True)
    assert len(upstream.asked) == asked + 1
    assert sum(isinstance(one, CircuitOpen) for one in done) == 7


async def test_redis_away_a_process_goes_on_with_what_it_holds(own_redis, opened, upstream):
    counting = Counting(upstream)
    async with (
        Redis.from_url(own_redis.url, socket_connect_timeout=5) as redis,
        opened(upstream.url, redis, timeout=0.4, vergeos_max_concurrent=4) as client,
    ):
        await read(client)
        own_redis.stop()
        done = await asyncio.gather(*(read(client) for _ in range(30)), return_exceptions=True)
        assert done.count([]) >= 4
        assert all(one == [] or isinstance(one, BudgetSpent) for one in done)
        assert counting.most <= 4
        await eventually(lambda: client.governor.hour.total > done.count([]))  # and counts what it spends


async def test_that_the_hour_is_nearly_spent_is_logged_once_and_delays_no_act(processes, upstream):
    clients = await processes(2, vergeos_requests_per_hour=10, vergeos_requests_per_second=0)
    with capture_logs() as logged:
        for client in clients * 8:
            with spending.bound(ACT):
                await client.action("vm_actions", {"vm": 1, "action": "poweroff", "params": {}})
        for client in clients * 2:
            await client.governor.settle()
    assert len(upstream.asked) == 16
    assert [one["left"] for one in logged if "nearly spent" in one["event"]] == [0]
    assert clients[0].governor.hour.spent == {ACT: 16}
    assert clients[0].governor.requests_left == 0


async def test_a_fault_is_named_though_the_pause_after_it_ends_the_trying(processes, upstream):
    (client,) = await processes(1, timeout=0.5)
    upstream.answer = lambda asked: busy(30)
    with pytest.raises(VergeOSBusy, match=r"GET vms: .*503"):
        await read(client)
    assert len(upstream.asked) == 1


async def test_the_metrics_tell_what_is_left_of_each_limit(processes, upstream):
    first, second = await processes(2, vergeos_requests_per_second=10, vergeos_requests_per_hour=100)
    metrics = Metrics()
    for _ in range(3):
        await read(first)
    await first.governor.settle()
    await second.governor.settle()
    second.governor.measure(metrics)
    told = {
        limit: metrics.registry.get_sample_value("vergeos_gateway_budget_left", {"limit": limit}) for limit in LIMITS
    }
    assert (told["hour"], told["concurrent"]) == (97, 5)
    assert metrics.registry.get_sample_value("vergeos_gateway_budget_limit", {"limit": "second"}) == 10
    assert metrics.registry.get_sample_value("vergeos_gateway_circuit_open") == 0
