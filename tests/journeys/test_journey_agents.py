"""Agents say why, and stop only so much without a person."""

import asyncio

import httpx2
import pytest
from inprocess import engine_settings, house
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from test_journey_questions import Person

from gateway.calls import Call, Face, run
from gateway.core.access import Caller, CallerKind, Permission
from gateway.core.errors import AgentLimit, InvalidArgument
from gateway.tools import CATALOG
from tests.conftest import eventually

AGENT = Caller("claude", frozenset(Permission), CallerKind.AGENT, "ann")
OFF = CATALOG["power_off_vm"]


@pytest.fixture
async def gateway(sim, redis_url):
    settings = engine_settings(sim, redis_url).model_copy(update={"agent_stops_per_10_minutes": 1})
    async with house(sim, settings, workers=0) as served:
        yield served


async def call(gateway, tool=OFF, **arguments):
    return (await run(tool, arguments, Call(gateway.services, AGENT, Face.MCP))).value


async def test_an_agent_must_say_why_and_what_it_says_stands_in_the_job(gateway):
    for silent in ({}, {"reason": "  "}):
        with pytest.raises(InvalidArgument, match="an agent must say why"):
            await call(gateway, id="web-1", **silent)
    job = await call(gateway, id="web-1", reason="disk\x1b full\nagain")
    assert job.reason == "disk full again"
    assert (await gateway.job(job.id))["reason"] == "disk full again"
    assert (await call(gateway, id="web-1", dry_run=True)).state == "planned"


async def test_a_person_may_say_why_and_need_not(gateway):
    vm = gateway.sim.vm("web-1")
    assert "reason" not in await gateway.power_off(vm)
    said = await gateway.power_off(gateway.sim.vm("web-2"), reason="upgrade")
    assert said["reason"] == "upgrade"


async def test_many_calls_at_once_and_in_one_batch_pass_no_limit(sim, redis_url):
    few = {"agent_stops_per_10_minutes": 2, "mcp_wait_seconds": 0}
    settings = engine_settings(sim, redis_url).model_copy(update=few)
    async with house(sim, settings, workers=0) as gateway:
        await gateway.key("ann", "ann")
        agent = await gateway.key("claude", "ann", kind=CallerKind.AGENT)
        running = [sim.vm(name) for name in ("web-1", "web-2", "db-1", "app-1")]
        batch = [
            {
                "jsonrpc": "2.0",
                "id": vm.key,
                "method": "tools/call",
                "params": {"name": "force_off_vm", "arguments": {"id": vm.key, "reason": "x"}},
            }
            for vm in running
        ]
        answers = await asyncio.gather(*(gateway.call("POST", "/message", batch, agent) for _ in range(2)))
        results = [reply["result"] for answered in answers for reply in answered.body]
        accepted = {result["structuredContent"]["id"] for result in results if not result.get("isError")}
        refused = [result["content"][0]["text"] for result in results if result.get("isError")]
        assert accepted == {job.id for job in await gateway.services.jobs.open()}
        assert (len(accepted), len(refused)) == (2, 4)
        assert all("agent_limit" in told for told in refused)


@pytest.mark.parametrize(
    ("kind", "mode"), [(CallerKind.AGENT, "auto"), (CallerKind.AGENT, "legacy"), (CallerKind.MACHINE, "auto")]
)
async def test_only_a_person_answers_what_a_job_asks(sim, redis_url, kind, mode):
    vm, asked = sim.vm("web-1").ignore_acpi(), Person()
    async with house(sim, engine_settings(sim, redis_url)) as gateway:
        ann = await gateway.key("ann", "ann")
        bot = await gateway.key("bot", "ann", kind=kind)
        async with (
            httpx2.AsyncClient(headers=bot, timeout=30) as http,
            Client(
                streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode, elicitation_callback=asked
            ) as client,
        ):
            called = await client.call_tool("power_off_vm", {"id": "web-1", "wait_timeout": 1, "reason": "x"})
        job = called.structured_content
        assert (job["state"], asked.asked) == ("input_required", [])
        answered = await gateway.call("POST", f"/jobs/{job['id']}/input", {"answer": True}, bot)
        answered.problem(403, "needs_person")
        assert vm.power_actions() == ["poweroff"]
        assert (await gateway.call("POST", f"/jobs/{job['id']}/input", {"answer": True}, ann)).status == 200
        await eventually(lambda: vm.power_actions() == ["poweroff", "kill"])


async def test_past_its_limit_an_agent_is_told_to_ask_a_person_who_then_may(gateway):
    await call(gateway, id="web-1", reason="x")
    with pytest.raises(AgentLimit) as refused:
        await call(gateway, id="web-2", reason="x")
    assert refused.value.status == 429
    await call(gateway, CATALOG["power_on_vm"], id="test-vm", reason="x")
    assert await gateway.power_off(gateway.sim.vm("web-2"))
