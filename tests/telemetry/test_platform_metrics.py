"""The platform's own gauges: what reads found out anyway, at no cost to VergeOS, where they are asked for."""

import pytest

from tests.journeys.inprocess import house

SCRAPES = 5
READS = ("/vms", "/nodes", "/cluster/stats", "/alarms")


@pytest.fixture
async def gateway(sim, settings):
    async with house(sim, settings.model_copy(update={"platform_metrics": True}), workers=0) as served:
        yield served


async def shown(gateway):
    """Return what a scrape tells of the platform, by metric with its labels."""
    async with gateway.http.get(f"{gateway.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    told = (line.rpartition(" ") for line in lines if line.startswith("vergeos_") and "vergeos_gateway_" not in line)
    return {name: float(value) for name, _, value in told}


async def test_what_nobody_has_read_is_not_told_and_not_asked_for(gateway, sim):
    sim.requests.clear()
    for _ in range(SCRAPES):
        assert await shown(gateway) == {}
    assert sim.requests.total() == 0


async def test_scrapes_tell_what_reads_found_and_cost_no_request(gateway, sim):
    answers = {path: (await gateway.get(path)).body for path in READS}
    sim.requests.clear()
    for _ in range(SCRAPES):
        told = await shown(gateway)
    assert sim.requests.total() == 0
    running = sum(vm["running"] for vm in answers["/vms"])
    assert told['vergeos_vms{state="running"}'] == running
    assert told['vergeos_vms{state="off"}'] == len(answers["/vms"]) - running
    assert sum(value for name, value in told.items() if name.startswith("vergeos_nodes")) == len(answers["/nodes"])
    assert sum(value for name, value in told.items() if name.startswith("vergeos_alarms")) == len(answers["/alarms"])
    used = {name: value for name, value in told.items() if name.startswith("vergeos_tier_used_bytes")}
    assert used
    assert all(0 < value <= told[name.replace("used", "capacity")] for name, value in used.items())


async def test_what_is_held_no_more_is_told_no_more(gateway, redis, monkeypatch):
    await gateway.get("/vms")
    assert await shown(gateway)
    monkeypatch.setattr("gateway.views.platform.HELD_SECONDS", -1.0)
    assert await shown(gateway) == {}


async def test_without_the_setting_there_are_none(sim, settings):
    async with house(sim, settings, workers=0) as served:
        await served.get("/vms")
        assert await shown(served) == {}
