"""What one caller may ask: so many calls in a minute, so many waits at once, over two gateways and every face."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest
from inprocess import engine_settings, house
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gateway.core.access import CallerKind
from gateway.rights.issuing import issue
from gateway.store.api_keys import NewKey
from gateway.store.keys import Keys
from tests.conftest import eventually

CALLS, WAITS = 12, 3
NEXT = "Wait as long as Retry-After says"


@pytest.fixture
async def replicas(sim, redis_url):
    """Two gateways with one worker, where a caller may make so many calls and wait so many times."""
    few = {"calls_per_minute": CALLS, "waits_per_caller": WAITS}
    settings = engine_settings(sim, redis_url).model_copy(update=few)
    async with house(sim, settings) as first, house(sim, settings, workers=0) as second:
        yield first, second


@pytest.fixture
async def ann(replicas):
    return await key_of("ann", replicas)


@pytest.fixture
async def bob(replicas):
    return await key_of("bob", replicas)


async def key_of(owner, gateways):
    """Make an engineer's key, which every gateway knows at its next call; return the header that shows it."""
    _, token = await issue(gateways[0].services.directory, NewKey(owner, owner, CallerKind.PERSON, ("engineer",)))
    for gateway in gateways:
        gateway.services.directory.look_again()
    return {"Authorization": f"Bearer {token}"}


def read(gateway, headers):
    return gateway.call("GET", "/vms/web-1", headers=headers)


async def spend(redis, gateway, name, seconds=60.0):
    """Let a caller's minute be spent already, and end in so many seconds."""
    await redis.set(Keys(gateway.settings.site).calls_of(name), CALLS, px=int(seconds * 1000))


def refusals(gateway, limit):
    name = "vergeos_gateway_limit_refusals_total"
    return gateway.services.metrics.registry.get_sample_value(name, {"limit": limit})


@asynccontextmanager
async def mcp(gateway, headers, **options):
    """Yield an MCP client of a gateway that sends these headers."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), **options) as client,
    ):
        yield client


async def test_calls_are_limited_over_both_gateways_and_no_other_caller_is_held_up(replicas, ann, bob):
    first, second = replicas
    passed = [(await read(replicas[number % 2], ann)).status for number in range(CALLS)]
    assert passed == [200] * CALLS
    for gateway in replicas:
        refused = await read(gateway, ann)
        problem = refused.problem(429, "too_many_calls")
        assert (problem["detail"], problem["next_step"][: len(NEXT)]) == ("ann may make 12 calls in a minute", NEXT)
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert refusals(gateway, "calls") == 1
        assert (await read(gateway, bob)).status == 200
    (await second.call("POST", "/vms/web-1/poweroff", {}, ann)).problem(429, "too_many_calls")
    assert first.sim.actions == [], "a call too many reaches nobody"


async def test_the_audit_tells_of_the_first_call_too_many_and_figures_of_each(replicas, ann, redis):
    first, _ = replicas
    await spend(redis, first, "ann")
    for _ in range(3):
        (await read(first, ann)).problem(429, "too_many_calls")
    entries = [entry for entry in await first.services.audit.newest(10) if entry.get("outcome") == "too_many_calls"]
    assert [(entry["by"], entry["tool"]) for entry in entries] == [("ann", "get_vm")]
    counted = first.services.metrics.registry.get_sample_value
    labels = {"tool": "get_vm", "face": "rest", "outcome": "too_many_calls"}
    assert (counted("vergeos_gateway_calls_total", labels), refusals(first, "calls")) == (3, 3)


@pytest.mark.slow
async def test_after_what_retry_after_says_a_call_passes_on_either_gateway(replicas, ann, redis):
    await spend(redis, replicas[0], "ann", 1.5)
    refused = [await read(gateway, ann) for gateway in replicas]
    waits = [int(answer.headers["Retry-After"]) for answer in refused]
    assert max(waits) <= 2
    await asyncio.sleep(max(waits))  # the promise itself
    assert [(await read(gateway, ann)).status for gateway in replicas] == [200, 200]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_over_mcp_too_the_refusal_says_what_and_when(replicas, ann, redis, mode):
    async with mcp(replicas[0], ann, mode=mode) as client:
        assert not (await client.call_tool("get_vm", {"id": "web-1"})).is_error
        await spend(redis, replicas[1], "ann")
        refused = await eventually(lambda: refused_by(client))
        problem = refused.meta["vergeos-gateway/problem"]
        assert (problem["code"], problem["retryable"]) == ("too_many_calls", True)
        assert 0 < problem["retry_after"] <= 60
        assert NEXT in refused.content[0].text


async def refused_by(client):
    """Return the refusal of a call, None while it passes: what a gateway has at hand it may still admit."""
    answered = await client.call_tool("get_vm", {"id": "web-1"})
    return answered if answered.is_error else None


async def test_as_plain_json_too_the_refusal_says_what(replicas, ann, redis):
    await spend(redis, replicas[0], "ann")
    params = {"name": "get_vm", "arguments": {"id": "web-1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answered = (await replicas[0].call("POST", "/message", message, ann)).body
    assert answered["result"]["_meta"]["vergeos-gateway/problem"]["code"] == "too_many_calls"


async def test_who_need_not_prove_who_he_is_is_not_limited(replicas):
    first, _ = replicas
    assert {(await first.get("/vms/web-1")).status for _ in range(CALLS + 3)} == {200}


@asynccontextmanager
async def streams(gateways, job, headers):
    """Follow a job on each of these gateways; yield the streams."""
    async with AsyncExitStack() as stack:
        path = f"/jobs/{job['id']}/events"
        asked = [gateway.http.get(gateway.url + path, headers=headers) for gateway in gateways]
        yield [await stack.enter_async_context(request) for request in asked]


async def waits(gateway, job, headers, seconds=0.1):
    return await gateway.call("GET", f"/jobs/{job['id']}", headers=headers, wait=seconds)


async def test_waits_and_streams_are_limited_over_both_gateways_and_given_back(replicas, ann, bob):
    first, second = replicas
    job = await first.power_off(first.sim.vm("web-1").ignore_acpi(), ann, wait_timeout=600)
    async with streams((first, first, second), job, ann) as (left, *_):
        for gateway in replicas:
            refused = await waits(gateway, job, ann)
            refused.problem(429, "too_many_waits")
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert refusals(gateway, "waits") == 1
        events = await second.call("GET", f"/jobs/{job['id']}/events", headers=ann)
        events.problem(429, "too_many_waits")
        assert (await first.call("GET", f"/jobs/{job['id']}", headers=ann)).status == 200, "a look is no wait"
        assert (await waits(second, job, bob)).status == 200
        left.close()

        async def passes():
            return (await waits(second, job, ann, 0.01)).status == 200

        await eventually(passes)


async def test_a_change_is_accepted_and_not_waited_for_where_its_caller_waits_too_often(replicas, ann):
    first, second = replicas
    job = await first.power_off(first.sim.vm("web-1").ignore_acpi(), ann, wait_timeout=600)
    async with streams((first, second, second), job, ann):
        answered = await first.call("POST", "/vms/web-2/poweroff?wait=45", {"wait_timeout": 600}, ann)
        assert (answered.status, answered.body["state"]) == (202, "working")


async def test_mcp_streams_count_as_waits(replicas, ann, redis):
    first, second = replicas
    key = Keys(first.settings.site).waiting("ann")

    async def held(count):
        return await redis.zcard(key) == count

    async with mcp(first, ann) as client, client.listen(resource_subscriptions=["vergeos://alarms/active"]):
        await eventually(lambda: held(1))
        async with mcp(second, ann, mode="legacy"):
            await eventually(lambda: held(2))  # a session has a stream of its own
            old = await first.http.get(f"{first.url}/sse", headers=ann)
            await eventually(lambda: held(3))
            refused = await second.call("GET", "/sse", headers=ann | {"Accept": "text/event-stream"})
            assert (refused.status, refused.body["error"]["data"]["code"]) == (429, "too_many_waits")
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            old.close()
    await eventually(lambda: held(0))
