"""What `?tools=` and the header X-Tools leave of the tools, over MCP in both eras, and the setting that bounds it."""

import aiohttp
import pytest
from mcp import Client, MCPError
from mcp_fixtures import CATALOG, HEADERS, BellServices, asked, begin, modern, serving

from gateway.app import CannotStart, create_app
from gateway.core.errors import InvalidArgument
from gateway.core.tool import Catalog, Effect
from gateway.telemetry.metrics import Metrics
from gateway.tools import CATALOG as ALL_TOOLS
from gateway.transports.context import CATALOG as CATALOG_KEY
from gateway.transports.mcp import build_server
from gateway.transports.selection import Selections, select

SMALL = Catalog(CATALOG, core=("list_things", "stop_thing", "not_here"))


def names(catalog):
    return [tool.name for tool in catalog]


@pytest.mark.parametrize("choice", ["", "all", " ", "read,all", ","])
def test_without_a_choice_there_are_all(choice):
    assert names(select(SMALL, choice)) == names(SMALL)


def test_read_leaves_what_changes_nothing():
    assert {tool.effect for tool in select(SMALL, "read")} == {Effect.READ}


def test_core_leaves_those_of_it_that_are_there():
    assert names(select(SMALL, "core")) == ["list_things", "stop_thing"]


def test_names_and_choices_add_up_in_the_catalog_s_order():
    assert names(select(SMALL, "break_thing, core")) == ["list_things", "stop_thing", "break_thing"]


def test_an_unknown_word_is_named():
    with pytest.raises(InvalidArgument, match="'no_such' is neither a tool here"):
        select(SMALL, "list_things,no_such")


def test_resources_and_prompts_go_with_their_tools():
    chosen = select(ALL_TOOLS, "list_vms")
    assert [resource.uri for resource in chosen.resources] == ["vergeos://vms/list"]
    assert chosen.prompts == ()


def test_what_many_connections_ask_for_does_not_pile_up():
    selections = Selections(SMALL)
    for spaces in range(500):
        selections("read," + " " * spaces + "core")
    assert len(selections._kept) <= Selections.KEPT


@pytest.fixture
async def served():
    async with serving(build_server(SMALL, BellServices)) as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_sees_what_its_url_asks_for(served, mode):
    async with Client(f"{served.mcp}?tools=core", mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["list_things", "stop_thing"]
        with pytest.raises(MCPError, match="Unknown tool: crash"):
            await client.call_tool("crash")


async def test_a_header_asks_as_well_and_the_url_goes_first(served, http):
    for url, expected in ((served.mcp, ["crash"]), (f"{served.mcp}?tools=get_thing", ["get_thing"])):
        request = modern("tools/list")
        request["headers"]["X-Tools"] = "crash"
        async with http.post(url, **request) as reply:
            assert [tool["name"] for tool in (await reply.json())["result"]["tools"]] == expected


async def test_a_choice_of_what_there_is_not_is_an_error_that_names_it(served, http):
    session = await begin(http, served)
    async with http.post(f"{served.mcp}?tools=no_such", json=asked("tools/list"), headers=session) as reply:
        error = (await reply.json())["error"]
    assert error["code"] == -32602
    assert "no_such" in error["message"]


class Bounded:
    """As much of the services as the application is built with."""

    def __init__(self, settings):
        self.settings, self.metrics, self.limits, self.noticing = settings, Metrics(), None, None


def test_the_setting_bounds_what_every_face_serves(settings):
    app = create_app(Bounded(settings.model_copy(update={"tools": "read"})))
    assert names(app[CATALOG_KEY]) == names(select(ALL_TOOLS, "read"))
    with pytest.raises(InvalidArgument):
        select(app[CATALOG_KEY], "power_off_vm")


def test_a_setting_that_names_what_there_is_not_stops_the_start(settings):
    with pytest.raises(CannotStart, match="no_such"):
        create_app(Bounded(settings.model_copy(update={"tools": "no_such"})))
