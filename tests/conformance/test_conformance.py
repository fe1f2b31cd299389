"""The official conformance suite over the gateway's endpoint: nothing may fail, and nothing is expected to."""

import pytest

from gateway.services import open_services
from gateway.store.backend import open_backend
from tests.conformance.judge import HERE, REVISIONS, fixtures, judged
from tests.journeys.inprocess import house
from tests.npm import available, install

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not available(HERE), reason="neither Node's npm nor the installed suite is there"),
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),  # fixtures of methods that are on their way out
]
ANY_SERVER = {
    "2025-11-25": [
        *("server-initialize", "ping", "tools-list", "resources-list", "prompts-list"),
        *("server-sse-multiple-streams", "server-session-lifecycle"),
        "logging-set-level",
        "dns-rebinding-protection",
    ],
    "2026-07-28": [
        *("tools-list", "resources-list", "prompts-list", "caching", "http-header-validation"),
        *("sep-2164-resource-not-found", "input-required-result-unsupported-methods", "server-sse-multiple-streams"),
        *("dns-rebinding-protection", "server-stateless"),
    ],
}
NEED_FIXTURES = {  # checks of `server-stateless` that call tools which only the fixture catalog has
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-server-no-log-without-loglevel",
    "sep-2575-http-server-no-independent-requests-on-stream",
}


@pytest.fixture
async def suite():
    await install(HERE)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_endpoint_over_the_fixture_catalog_passes_every_scenario(suite, settings, tmp_path, revision):
    async with (
        open_backend(settings) as backend,
        open_services(settings, backend) as services,
        fixtures(services) as url,
    ):
        found = await judged(url, "--requirements", revision, folder=tmp_path)
    assert [(scenario.name, scenario.failures) for scenario in found if scenario.failures] == []
    assert len(found) >= REVISIONS[revision]
    if revision == "2026-07-28":
        names = {scenario.name for scenario in found}
        assert len([name for name in names if name.startswith("tasks-")]) == 10
        assert {"http-header-validation", "http-custom-header-server-validation"} <= names


@pytest.mark.parametrize("revision", ANY_SERVER)
async def test_the_real_catalog_passes_what_any_server_can(suite, sim, settings, tmp_path, revision):
    async with house(sim, settings, workers=0) as gateway:
        for name in ANY_SERVER[revision]:
            options = ("--scenario", name, "--spec-version", revision)
            [scenario] = await judged(f"{gateway.url}/mcp", *options, folder=tmp_path / name)
            wrong = [words for words in scenario.failures if words.split(":")[0] not in NEED_FIXTURES]
            assert (name, wrong, scenario.checks > 0) == (name, [], True)
