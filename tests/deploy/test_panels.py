"""Every panel and every rule, asked of a real Prometheus that scraped a gateway and a worker under load."""

import re

import aiohttp
import pytest

from tests.conftest import eventually
from tests.deploy.loaded import boards, filled_in, loaded
from tests.deploy.programs import program, run
from tests.journeys.conftest import *  # noqa: F403  its fixtures: processes on a simulated VergeOS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def test_every_panel_and_every_rule_answers_with_data(system, tmp_path):
    async with loaded(system, tmp_path) as seen:
        silent = [query async for query in _silent(seen.known)]
        assert not silent, "\n".join(map(str, silent))
        groups = (await seen.known.api("rules"))["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule["name"]
            for name in set(re.findall(r"\bvergeos_[\w:]+", rule["query"])):
                assert await seen.known.value(f"count({name})"), f"{rule['name']} asks for {name}, which nobody tells"
        (workers,) = await seen.known.value("max(vergeos_gateway_workers_alive)")
        assert workers["value"][1] == "1"
        firing = {alert["labels"]["alertname"] for alert in (await seen.known.api("alerts"))["alerts"]}
        assert "VergeosGatewayVmLeftOff" in firing


async def _silent(known):
    """Yield the panels and queries that answer nothing, each with some time to do so."""
    for board, panels in boards():
        for panel in panels:
            for target in panel["targets"]:
                query = filled_in(target["expr"])
                try:
                    await eventually(lambda query=query: known.value(query), 3)
                except AssertionError:
                    yield board, panel["title"], query


async def test_promtool_has_nothing_to_say_about_the_metrics(system):
    await system.gateway()
    await system.call("GET", "/vms")
    async with aiohttp.ClientSession() as http, http.get(f"{system.url}/metrics") as reply:
        text = await reply.text()
    run(program("promtool", "apt install prometheus"), "check", "metrics", stdin=text)
