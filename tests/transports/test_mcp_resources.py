"""MCP resources read through their tools: the same permission, errors and freshness; their arguments complete."""

import json

import mcp_types as t
import pytest
from mcp import Client, MCPError
from mcp_fixtures import CATALOG as THINGS
from mcp_fixtures import serving

from gateway.core.access import Caller, Permission
from gateway.core.answer import Source
from gateway.core.offer import Names, Resource
from gateway.core.tool import Catalog
from gateway.tools import CATALOG
from gateway.tools.resources import RESOURCES
from gateway.transports import mcp_door
from gateway.transports.mcp import build_server
from gateway.views.declared import VMS, vm_view
from gateway.views.reads import CallReads
from gateway.views.rows import Rows
from tests.compat.promises import RESOURCES as PROMISED
from tests.journeys.inprocess import house

MODES = {"auto": -32602, "legacy": -32002}
"""The code of a resource that there is not, by the client's mode."""

SMALL = (
    Resource("things://list", "things", "All of them.", "list_things", {"limit": 1}),
    Resource("things://{id}", "thing", "One.", "get_thing", completes={"id": Names("list_things")}),
    Resource("things://fail/{code}", "failure", "One that fails.", "fail"),
    Resource("things://gone", "gone", "Its tool is not there.", "no_such_tool"),
)


@pytest.fixture
async def small():
    catalog = Catalog(THINGS, resources=SMALL)
    async with serving() as plain, serving(build_server(catalog, lambda: plain.services)) as served:
        yield served


@pytest.mark.parametrize("mode", MODES)
async def test_what_has_its_tool_is_listed_fixed_ones_apart_from_templates(small, mode):
    async with Client(small.mcp, mode=mode) as client:
        assert [listed.uri for listed in (await client.list_resources()).resources] == ["things://list"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [listed.uri_template for listed in templates] == ["things://{id}", "things://fail/{code}"]


async def test_a_resource_is_the_json_of_its_tool_with_its_freshness_beside(small):
    async with Client(small.mcp) as client:
        result = await client.read_resource("things://list")
        (content,) = result.contents
        assert (content.uri, content.mime_type) == ("things://list", "application/json")
        assert json.loads(content.text)["items"] == [{"id": 1, "name": "one"}]
        assert result.meta["vergeos-gateway/source"] == "cache"
        assert (result.ttl_ms, result.cache_scope) == (0, "private")


async def test_a_template_s_values_are_decoded_and_validated_by_the_tool(small):
    async with Client(small.mcp) as client:
        assert json.loads((await client.read_resource("things://%31")).contents[0].text)["id"] == 1
        with pytest.raises(MCPError, match="invalid_argument: get_thing: id") as caught:
            await client.read_resource("things://x")
        assert caught.value.error.code == -32602


@pytest.mark.parametrize(("mode", "code"), MODES.items())
@pytest.mark.parametrize("uri", ["things://7", "things://gone/x/y", "other://list", "things://fail/job_not_found"])
async def test_what_is_not_there_is_told_as_each_revision_wants_it(small, mode, code, uri):
    async with Client(small.mcp, mode=mode) as client:
        with pytest.raises(MCPError, match="Resource not found") as caught:
            await client.read_resource(uri)
        assert (caught.value.error.code, caught.value.error.data) == (code, {"uri": uri})


async def test_a_failure_of_ours_is_told_as_one_with_its_problem(small):
    async with Client(small.mcp) as client:
        with pytest.raises(MCPError, match="store_unavailable") as caught:
            await client.read_resource("things://fail/store_unavailable")
        assert caught.value.error.code == -32603
        assert caught.value.error.data["next_step"]


async def test_a_caller_is_offered_nothing_that_he_may_not_read(small, monkeypatch):
    monkeypatch.setattr(mcp_door, "caller_of", lambda _: Caller("guest", frozenset({Permission.OPERATE})))
    async with Client(small.mcp) as client:
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError, match="Resource not found"):
            await client.read_resource("things://list")


async def test_a_connection_s_choice_of_tools_is_one_of_resources_too(small):
    async with Client(f"{small.mcp}?tools=get_thing") as client:
        assert (await client.list_resources()).resources == []
        assert len((await client.list_resource_templates()).resource_templates) == 1


async def completed(client, uri, value, name="id"):
    result = await client.complete(t.ResourceTemplateReference(uri=uri), {"name": name, "value": value})
    return result.completion


@pytest.mark.parametrize("mode", MODES)
async def test_a_template_s_argument_completes_with_what_begins_so_before_what_holds_it(small, mode):
    async with Client(small.mcp, mode=mode) as client:
        assert (await completed(client, "things://{id}", "O")).values == ["one", "two"]
        assert (await completed(client, "things://{id}", "w")).values == ["two"]
        assert (await completed(client, "things://{id}", "", name="other")).values == []
        assert (await completed(client, "things://fail/{code}", "", name="code")).values == []
        with pytest.raises(MCPError):
            await completed(client, "things://nothing", "")


def test_the_resources_that_were_promised_are_declared_over_the_promised_tools():
    declared = {resource.uri: resource.tool for resource in CATALOG.resources}
    assert PROMISED.items() <= declared.items()
    for kind in ("vms", "jobs", "nodes", "tenants"):
        assert f"vergeos://{kind}/{{id}}" in declared


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.uri)
def test_a_declared_resource_fits_its_tool(resource):
    declared = CATALOG[resource.tool]
    filled = dict.fromkeys(resource.completes, "1")
    assert declared.parse({**resource.arguments, **filled})
    for names in resource.completes.values():
        listing = CATALOG[names.tool]
        assert names.member in listing.row.model_fields
        assert names.part is None or names.part in listing.arguments.model_fields
        assert "limit" in listing.arguments.model_fields


async def test_every_resource_is_read_from_the_platform(sim, settings):
    async with house(sim, settings, workers=0) as built, Client(f"{built.url}/mcp") as client:
        job = (await built.call("POST", "/vms/web-1/poweroff", {})).body["id"]
        ids = {"vms": "web-1", "jobs": job, "nodes": "node1", "tenants": "acme"}
        for resource in RESOURCES:
            kind = resource.uri.removeprefix("vergeos://").split("/")[0]
            uri = resource.uri.replace("{id}", ids.get(kind, ""))
            read = json.loads((await client.read_resource(uri)).contents[0].text)
            assert read.get("items") or read["id"], uri
        assert "acme" in (await completed(client, "vergeos://tenants/{id}", "")).values
        assert (await completed(client, "vergeos://vms/{id}", "web")).values == ["web-1", "web-2"]
        assert (await completed(client, "vergeos://nodes/{id}", "de3")).values == ["node3"]
        assert (await completed(client, "vergeos://jobs/{id}", job[:4])).values == [job]


async def test_a_client_is_told_for_how_long_what_it_read_holds(sim, settings):
    async with house(sim, settings, workers=0) as built, Client(f"{built.url}/mcp") as client:
        job = (await built.call("POST", "/vms/web-1/poweroff", {})).body["id"]
        first, second = [await client.read_resource("vergeos://vms/list") for _ in range(2)]
        assert 0 < second.ttl_ms <= first.ttl_ms <= VMS.lifetime_seconds * 1000
        assert first.cache_scope == "private"
        one = await client.read_resource("vergeos://vms/db-1")
        assert 0 < one.ttl_ms <= vm_view(1).lifetime_seconds * 1000
        assert (await client.read_resource(f"vergeos://jobs/{job}")).ttl_ms == 0


def test_rows_that_vergeos_could_not_confirm_hold_for_no_time():
    reads, rows = CallReads(None), Rows((), 1, 100.0, Source.CACHE, {}, {})
    reads.noted.append((VMS, rows, True))
    assert reads.fresh_until == 100.0 + VMS.lifetime_seconds
    reads.noted.append((VMS, rows.told_as(Source.STALE), True))
    assert reads.fresh_until is None
