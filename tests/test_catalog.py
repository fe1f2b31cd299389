"""Every tool of the catalog keeps the contract, whatever it does: declared once, the same over every face."""

import re
from contextlib import asynccontextmanager

import jsonschema
import pytest
from mcp import Client

from gateway.core.access import LOCAL, Caller, Permission
from gateway.core.errors import Forbidden, InvalidArgument
from gateway.core.tool import Effect
from gateway.tools import CATALOG
from tests.journeys.inprocess import house
from tests.readme import README

TOOLS = list(CATALOG)
READS = {
    "list_vms": {"limit": 3},
    "get_vm": {"id": "web-1"},
    "get_vm_status": {"id": 34},
    "get_vm_drives": {"id": 34},
    "get_vm_nics": {"id": 34},
    "list_vm_snapshots": {},
    "list_networks": {"type": "internal"},
    "get_network": {"id": 4},
    "list_tenants": {},
    "get_tenant": {"id": 1},
    "list_nodes": {},
    "get_node_stats": {"id": 1},
    "get_cluster_status": {},
    "get_cluster_stats": {},
    "list_volumes": {},
    "get_logs": {"limit": 5},
    "get_alarms": {},
    "find": {"name": "web"},
    "get_overview": {},
    "diagnose_vm": {"id": "web-1"},
    "diagnose_tenant": {"id": 1},
    "history": {"vm": "web-1"},
    "list_jobs": {},
    "list_keys": {},
    "get_audit": {},
}
MOVING = {"as_of", "source", "oldest_seconds", "requests_left"}
"""Members that tell the time of the call: the only ones that may differ between two faces."""


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_is_declared_in_full(tool):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", tool.name)
    first = tool.description.split("\n")[0]
    assert 20 <= len(first) <= 160, len(first)
    assert first.endswith(".")
    assert isinstance(tool.permission, Permission)
    assert tool.effect is not Effect.READ or tool.permission in {Permission.READ, Permission.ADMIN}
    assert tool.effect is Effect.READ or tool.permission is not Permission.READ
    assert tool.routes, "reachable over REST"
    for route in tool.routes:
        assert route.path_parameters <= set(tool.arguments.model_fields)
    assert set(tool.escalates) <= set(tool.arguments.model_fields)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_s_schemas_are_valid_and_say_no_more_than_they_must(tool):
    for schema in (tool.input_schema, tool.output_schema):
        jsonschema.Draft202012Validator.check_schema(schema)
    assert tool.input_schema["additionalProperties"] is False


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_caller_without_the_permission_is_refused_and_an_unknown_argument_named(tool):
    with pytest.raises(Forbidden):
        tool.require(Caller("nobody"))
    with pytest.raises(InvalidArgument, match="surprise"):
        tool.parse({"surprise": 1})


def test_names_and_routes_are_unique_and_every_read_is_tried_below():
    routes = [(route.method, re.sub(r"{\w+}", "{}", route.path)) for tool in TOOLS for route in tool.routes]
    assert len(routes) == len(set(routes))
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    assert {tool.name for tool in TOOLS if tool.effect is Effect.READ} == {*READS, "get_job"}


def test_the_readme_names_every_tool():
    text = README.read_text()
    assert not [tool.name for tool in TOOLS if f"`{tool.name}`" not in text]


@asynccontextmanager
async def served(sim, settings):
    async with house(sim, settings, workers=0) as built:
        yield built


async def test_each_read_answers_the_same_over_rest_and_mcp_and_fits_its_schema(sim, settings):
    async with served(sim, settings) as built, Client(f"{built.url}/mcp") as client:
        for name, arguments in READS.items():
            over_rest = await built.call("POST", f"/tools/{name}", arguments)
            assert over_rest.status == 200, (name, over_rest.text)
            value = over_rest.body["result"]
            jsonschema.validate(value, CATALOG[name].output_schema)
            over_mcp = await client.call_tool(name, arguments)
            assert not over_mcp.is_error, (name, over_mcp.content)
            assert still(over_mcp.structured_content) == still(value), name


def still(value):
    """Return an answer without the members that tell the time of the call."""
    return {name: member for name, member in value.items() if name not in MOVING}


async def test_each_resource_route_answers_what_the_tool_answers(sim, settings):
    async with served(sim, settings) as built:
        for name, arguments in READS.items():
            route = CATALOG[name].routes[0]
            path = route.path.format(**{key: arguments[key] for key in route.path_parameters})
            query = {key: value for key, value in arguments.items() if key not in route.path_parameters}
            answered = await built.get(path, **query)
            assert answered.status == 200, (name, answered.text)
            whole = (await built.call("POST", f"/tools/{name}", arguments)).body["result"]
            bare = whole["items"] if "items" in whole else still(whole)
            assert (answered.body if isinstance(answered.body, list) else still(answered.body)) == bare, name
            assert answered.headers["X-Source"] in {"live", "cache"}


def test_everybody_on_loopback_may_use_every_tool():
    assert CATALOG.usable_by(LOCAL) == tuple(TOOLS)
