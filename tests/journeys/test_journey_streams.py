"""Streams and waiting calls of MCP: they hold up no stop, who leaves ends a wait alone."""

import signal
import time

import aiohttp
from inprocess import engine_settings, house
from test_journey_questions import Address

from tests.conftest import AT_ONCE_SECONDS, eventually
from tests.transports.mcp_fixtures import HEADERS, asked, begin, events, modern, soon

PATIENT = {"id": "web-1", "wait_timeout": 600, "force_after_timeout": False}
PROGRESS = {"_meta": {"progressToken": "p"}}


async def test_open_streams_and_waiting_calls_hold_up_no_stop_and_each_is_ended_or_answered(system):
    vm = system.sim.vm("web-1").ignore_acpi()
    gateway = await system.gateway()
    await system.worker()
    called = {"name": "power_off_vm", "arguments": PATIENT}
    listen = {"notifications": {"resourceSubscriptions": ["vergeos://vms/list"]}}
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        mcp = f"{system.url}/mcp"
        session = await begin(http, Address(system))
        streams = [
            await http.get(mcp, headers=session),
            await http.get(f"{system.url}/sse"),
            await http.post(mcp, **modern("subscriptions/listen", listen)),
        ]
        calls = [
            await http.post(mcp, **modern("tools/call", called | PROGRESS, name="power_off_vm")),
            await http.post(mcp, json=asked("tools/call", called | PROGRESS, 2), headers=session),
        ]
        await eventually(vm.power_actions)
        gateway.signal(signal.SIGTERM)
        began = time.monotonic()
        answers = [[message async for message in events(call)][-1] for call in calls]
        for stream in streams:
            await soon(stream.content.read())
        assert await gateway.ended() == 0
        assert time.monotonic() - began < AT_ONCE_SECONDS
    assert [answer["result"]["structuredContent"]["state"] for answer in answers] == ["working", "working"]
    assert vm.power_actions() == ["poweroff"]


async def test_who_leaves_a_stateless_call_ends_its_wait_and_not_the_job(sim, redis_url):
    vm = sim.vm("web-1").ignore_acpi()
    call = {"name": "power_off_vm", "arguments": PATIENT}
    async with house(sim, engine_settings(sim, redis_url)) as gateway:
        async with aiohttp.ClientSession(headers=HEADERS) as http:
            reply = await http.post(f"{gateway.url}/mcp", **modern("tools/call", call | PROGRESS, name="power_off_vm"))
            await eventually(vm.power_actions)
            reply.close()
            await eventually(lambda: not gateway.services.feed.followers)
        [job] = (await gateway.get("/jobs")).body
        assert job["state"] == "working"
        vm.stop()
        assert (await gateway.ended(job["id"]))["state"] == "completed"
