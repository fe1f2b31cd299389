"""Alive, ready, healthy; the figures; the front page."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from rest_fixtures import house, told

from gateway import __version__


@pytest.fixture
async def lamps():
    async with house(vergeos_site="lab") as served:
        yield served


async def test_all_is_well(lamps):
    well = {"redis": "ok", "vergeos": "no trouble known"}
    assert await told(await lamps.get("/livez")) == {"status": "alive"}
    assert await told(await lamps.get("/readyz")) == {"status": "ready", **well}
    about = {"server": "vergeos-gateway", "version": __version__, "site": "lab"}
    assert await told(await lamps.get("/health")) == {"status": "ok", **about, **well}


async def test_without_redis_it_is_alive_and_serves_but_is_not_ready(lamps):
    lamps.redis.connected = False
    assert (await lamps.get("/livez")).status == 200
    assert (await told(await lamps.get("/health")))["redis"] == "does not answer"
    answer = await lamps.get("/readyz")
    assert (await told(answer, 503))["status"] == "not ready"
    assert answer.headers["Retry-After"] == "5"


async def test_without_vergeos_it_is_ready_and_says_since_when(lamps):
    await lamps.services.watching.lost_sight(1_700_000_000.0)
    ready = await told(await lamps.get("/readyz"))
    assert ready == {
        "status": "ready",
        "redis": "ok",
        "vergeos": "has not answered since 2023-11-14T22:13:20+00:00",
        "outage": "site unreachable since 2023-11-14 22:13:20 UTC",
    }
    assert (await told(await lamps.get("/health")))["vergeos"] == ready["vergeos"]


async def test_while_it_stops_it_is_alive_but_not_ready(lamps):
    lamps.services.closing.set()
    answer = await lamps.get("/readyz")
    assert (await told(answer, 503))["status"] == "stopping"
    assert "Retry-After" in answer.headers
    assert (await lamps.get("/livez")).status == 200
    assert (await lamps.get("/health")).status == 200


async def test_figures_come_in_the_format_that_is_asked_for(lamps):
    await lamps.get("/lamps")
    plain = await lamps.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "vergeos_gateway_calls" in {family.name for family in text_string_to_metric_families(await plain.text())}
    asked = {"Accept": "application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=0.5"}
    modern = await lamps.get("/metrics", headers=asked)
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "vergeos_gateway_calls" in {family.name for family in parse_openmetrics(await modern.text())}


async def test_the_front_page_shows_the_entrances_that_there_are(lamps):
    page = await told(await lamps.get("/"))
    assert (page["name"], page["version"]) == ("vergeos-gateway", __version__)
    assert set(page["entrances"]) == {"/tools", "/health", "/metrics", "/openapi.json", "/docs"}
    for entrance in page["entrances"]:
        assert (await lamps.get(entrance)).status == 200


async def test_probes_answer_head_and_are_not_kept_by_caches(lamps):
    for path in ("/livez", "/readyz", "/health", "/"):
        assert (await lamps.head(path)).status == 200
        assert (await lamps.get(path)).headers["Cache-Control"] == "no-store"
