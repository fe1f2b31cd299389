"""Agents say why, and stop only so much without a person."""

import pytest
from inprocess import engine_settings, house

from gateway.calls import Call, Face, run
from gateway.core.access import Caller, CallerKind, Permission
from gateway.core.errors import AgentLimit, InvalidArgument
from gateway.tools import CATALOG

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


async def test_past_its_limit_an_agent_is_told_to_ask_a_person_who_then_may(gateway):
    await call(gateway, id="web-1", reason="x")
    with pytest.raises(AgentLimit) as refused:
        await call(gateway, id="web-2", reason="x")
    assert refused.value.status == 429
    await call(gateway, CATALOG["power_on_vm"], id="test-vm", reason="x")
    assert await gateway.power_off(gateway.sim.vm("web-2"))
