"""Behind the real Traefik with the shipped settings: both eras of MCP, long streams, the limit, a rolling restart."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter

import aiohttp
import pytest
from mcp_types.version import LATEST_MODERN_VERSION

from tests.conftest import eventually
from tests.deploy.ingress import ingress
from tests.journeys.conftest import *  # noqa: F403  its fixtures: processes on a simulated VergeOS
from tests.journeys.conftest import START_SECONDS, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STREAM_SECONDS = float(os.environ.get("STREAM_SECONDS", "4"))  # 600 by hand: what the ingress must stand
CALLS_PER_SECOND = 30  # below the limit
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


@pytest.fixture
async def team(system, tmp_path):
    """Two gateways and a worker behind Traefik; `ports` of the gateways, `processes` by port."""
    system.environment.update(ALLOWED_HOSTS="vergeos-mcp.example.com")
    ports = [free_port(), free_port()]
    system.gateways = {port: await start(system, port) for port in ports}
    await system.worker()
    async with ingress(tmp_path, *ports) as before:
        yield before


async def start(system, port):
    process = system.start("serve", PORT=str(port))

    async def ready():
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as reply:
                return reply.status == 200
        except aiohttp.ClientError:
            return False

    await eventually(ready, START_SECONDS)
    return process


def asked(method, params, id=1):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


async def test_both_eras_of_mcp_go_through(team):
    async with team.http.post(f"{team.url}/mcp", json=asked("initialize", HELLO)) as reply:
        session = {"Mcp-Session-Id": reply.headers["Mcp-Session-Id"]}
    for number in range(4):  # every other one at the gateway that does not know the session
        call = asked("tools/call", {"name": "get_vm", "arguments": {"id": "web-1"}}, number)
        async with team.http.post(f"{team.url}/mcp", json=call, headers=session) as reply:
            assert (await reply.json())["result"]["structuredContent"]["name"] == "web-1"
    envelope = {
        "io.modelcontextprotocol/protocolVersion": LATEST_MODERN_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": HELLO["clientInfo"],
    }
    modern = {"MCP-Protocol-Version": LATEST_MODERN_VERSION, "Mcp-Method": "tools/list"}
    async with team.http.post(
        f"{team.url}/mcp", json=asked("tools/list", {"_meta": envelope}), headers=modern
    ) as reply:
        assert reply.status == 200
        assert len((await reply.json())["result"]["tools"]) > 30


async def test_a_stream_comes_through_at_once_and_is_not_cut(team, system):
    vm = system.sim.vm("web-1").ignore_acpi()
    body = {"wait_timeout": 14_400, "force_after_timeout": False}
    async with team.http.post(f"{team.url}/vms/{vm.key}/poweroff", json=body) as reply:
        job = await reply.json()
    lines = []
    unlimited = aiohttp.ClientTimeout(total=None)
    async with team.http.get(f"{team.url}/jobs/{job['id']}/events", timeout=unlimited) as stream:

        async def read():
            async for line in stream.content:
                lines.append((time.monotonic(), line))  # noqa: PERF401  each as it comes

        reading = asyncio.create_task(read())
        await eventually(lambda: any(line.startswith(b"data:") for _, line in lines), 5)
        until = time.monotonic() + STREAM_SECONDS
        await eventually(lambda: reading.done() or time.monotonic() > until, STREAM_SECONDS + 5)
        assert not reading.done(), "the stream was cut"
        cancelled = time.monotonic()
        async with team.http.post(f"{team.url}/jobs/{job['id']}/cancel", json={}) as reply:
            assert reply.status == 200
        await asyncio.wait_for(reading, 10)
    assert lines[-1][0] - cancelled < 5
    assert b'"state":"cancelled"' in b"".join(line for _, line in lines)


async def test_more_than_the_limit_is_told_to_wait(team):
    async def status():
        async with team.http.get(f"{team.url}/livez") as reply:
            return reply.status

    told = await asyncio.gather(*(status() for _ in range(500)))
    assert set(told) == {200, 429}
    assert told.count(200) >= 200


async def test_gateways_are_replaced_one_by_one_and_no_request_fails(team, system):
    """Reads, calls over REST and MCP, and one that waits for its job all the while."""
    answered, over = Counter(), asyncio.Event()
    in_mcp = asked("tools/call", {"name": "get_vm", "arguments": {"id": "web-1"}})
    calls = (
        ("GET", "/vms", None),
        ("POST", "/tools/get_vm", {"id": "web-1"}),
        ("GET", "/overview", None),
        ("POST", "/message", in_mcp),
    )

    async def one(method, path, body):
        async with team.http.request(method, team.url + path, json=body) as reply:
            await reply.read()
        answered[method, path, reply.status] += 1

    async def load():
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if over.is_set():
                    break
                group.create_task(one(*calls[number % len(calls)]))
                await asyncio.sleep(1 / CALLS_PER_SECOND)

    async def wait():
        while not over.is_set():
            async with team.http.get(f"{team.url}/jobs/{job['id']}?wait=45") as reply:
                answered["wait", (await reply.json())["state"], reply.status] += 1

    body = {"wait_timeout": 14_400, "force_after_timeout": False}
    vm = system.sim.vm("web-2").ignore_acpi()
    async with team.http.post(f"{team.url}/vms/{vm.key}/poweroff", json=body) as reply:
        job = await reply.json()
    async with asyncio.TaskGroup() as group:
        group.create_task(load())
        waiting = group.create_task(wait())
        for old in tuple(system.gateways):
            new = free_port()
            system.gateways[new] = await start(system, new)
            await team.serve(*[port for port in system.gateways if port != old])  # what preStop waits for
            process = system.gateways.pop(old)
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
        over.set()
        waiting.cancel()
    assert {status for *_, status in answered} == {200}
    assert answered["wait", "working", 200] >= 1
    assert answered.total() > 3 * CALLS_PER_SECOND
