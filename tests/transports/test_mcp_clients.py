"""The MCP faces as the SDK's own client meets them, in the stateless revision and in the handshake ones."""

from contextlib import asynccontextmanager

import pytest
from mcp import Client, MCPError
from mcp_fixtures import CATALOG, FAILURES, serving, soon
from structlog.testing import capture_logs

from gateway.core.errors import GatewayError
from gateway.transports.mcp import INSTRUCTIONS


@pytest.fixture(params=["auto", "legacy"])
def connect(request):
    """Open a gateway and a client of it, in each mode; in a test's own task, as the SDK's client wants it."""

    @asynccontextmanager
    async def connected():
        async with serving() as served, Client(served.mcp, mode=request.param) as client:
            yield served, client

    return connected


async def test_each_mode_speaks_its_own_revision():
    async with serving() as served:
        async with Client(served.mcp) as client:
            assert client.protocol_version == "2026-07-28"
        async with Client(served.mcp, mode="legacy") as client:
            assert client.protocol_version == "2025-11-25"
            assert len(served.endpoint.sessions) == 1
        assert len(served.endpoint.sessions) == 0


async def test_a_client_is_told_what_this_is(connect):
    async with connect() as (_, client):
        assert client.server_info.name == "vergeos-gateway"
        assert client.instructions == INSTRUCTIONS
        assert len(INSTRUCTIONS) / 4 <= 150  # tokens, roughly


async def test_tools_are_listed_in_the_catalog_s_order(connect):
    async with connect() as (_, client):
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == [tool.name for tool in CATALOG]


async def test_a_tool_is_listed_with_its_schemas_and_hints(connect):
    async with connect() as (_, client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        listed = tools["list_things"]
        assert listed.description == "List the things."
        assert listed.input_schema["properties"]["limit"]["default"] == 50
        assert listed.output_schema["type"] == "object"
        assert (listed.annotations.read_only_hint, listed.annotations.destructive_hint) == (True, False)
        assert (tools["break_thing"].annotations.read_only_hint, tools["break_thing"].annotations.destructive_hint) == (
            False,
            True,
        )
        assert not any(tool.annotations.open_world_hint for tool in tools.values())


async def test_a_list_is_answered_as_a_table_and_structured_with_its_freshness_beside(connect):
    async with connect() as (_, client):
        result = await client.call_tool("list_things", {"limit": 1})
        assert result.structured_content["total"] == 2
        assert result.structured_content["items"] == [{"id": 1, "name": "one"}]
        assert result.content[0].text == "id\tname\tnode\n1\tone\t-\ntotal 2, as_of 1700000000"
        assert result.meta["vergeos-gateway/source"] == "cache"
        assert result.meta["vergeos-gateway/as_of"] == 1_700_000_000.0
        assert result.meta["vergeos-gateway/age_ms"] > 0


async def test_an_answer_without_its_nulls_still_fits_the_schema_that_the_client_holds_it_to(connect):
    async with connect() as (_, client):
        await client.list_tools()
        result = await client.call_tool("get_thing", {"id": 1})
        assert result.structured_content == {"id": 1, "name": "one"}


async def test_an_answer_that_is_no_object_is_wrapped_in_one(connect):
    async with connect() as (_, client):
        await client.list_tools()
        result = await client.call_tool("count_things")
        assert result.structured_content == {"result": [1, 2]}
        assert result.content[0].text == "[1,2]"


async def test_a_call_knows_its_caller_its_door_and_its_client(connect):
    async with connect() as (_, client):
        result = await client.call_tool("who_calls")
        assert result.structured_content["caller"] == "local"
        assert result.structured_content["face"] == "mcp"
        assert result.structured_content["client"].startswith("mcp/")


async def test_a_job_s_progress_is_told_while_it_is_waited_for(connect):
    async with connect() as (served, client):
        told = []

        async def hear(progress, total, message):
            told.append((progress, message))
            if len(told) == 2:
                served.services.bell.set()

        result = await soon(client.call_tool("stop_thing", progress_callback=hear))
        assert told == [(1, "waiting: asked to power off"), (2, "waiting: grace runs")]
        assert result.structured_content["state"] == "completed"
        assert not result.is_error


async def test_a_call_whose_wait_is_over_answers_with_the_job_as_it_stands(connect):
    async with connect() as (served, client):
        served.services.settings = served.services.settings.model_copy(update={"mcp_wait_seconds": 0.01})
        result = await soon(client.call_tool("stop_thing"))
        assert (result.structured_content["id"], result.structured_content["state"]) == ("j1", "working")


async def test_a_job_that_failed_is_an_error_result(connect):
    async with connect() as (_, client):
        result = await soon(client.call_tool("break_thing"))
        assert result.is_error
        assert result.structured_content["state"] == "failed"


async def test_closing_answers_every_waiting_call_at_once(connect):
    async with connect() as (served, client):

        async def close(*_):
            served.services.closing.set()

        result = await soon(client.call_tool("stop_thing", progress_callback=close))
        assert result.structured_content["state"] == "working"


async def test_an_unknown_tool_is_a_protocol_error(connect):
    async with connect() as (_, client):
        with pytest.raises(MCPError) as caught:
            await client.call_tool("no_such_tool")
        assert caught.value.code == -32602
        assert "no_such_tool" in caught.value.message


@pytest.mark.parametrize("arguments", [{}, {"id": "x"}, {"id": 1, "other": 2}, {"id": None}])
async def test_a_wrong_argument_is_a_result_that_names_it(connect, arguments):
    async with connect() as (_, client):
        result = await client.call_tool("get_thing", arguments)
        assert result.is_error
        assert result.content[0].text.startswith("invalid_argument: get_thing: ")
        assert "Traceback" not in result.content[0].text


async def test_every_failure_is_told_with_its_code_and_the_next_step(connect):
    async with connect() as (_, client):
        for code, kind in FAILURES.items():
            result = await client.call_tool("fail", {"code": code})
            assert result.is_error
            assert result.content[0].text == f"{code}: what went wrong. Next: {kind.next_step}"
            problem = result.meta["vergeos-gateway/problem"]
            assert (problem["code"], problem["retryable"]) == (code, kind.retryable)


async def test_what_a_failure_knows_beyond_its_text_stands_in_the_problem(connect):
    async with connect() as (_, client):
        result = await client.call_tool("get_thing", {"id": 3})
        assert result.meta["vergeos-gateway/problem"]["nearest"] == ["one"]


async def test_a_bug_is_told_as_an_internal_error_and_nothing_more(connect):
    with capture_logs() as logs:
        async with connect() as (_, client):
            result = await client.call_tool("crash")
    assert result.is_error
    assert result.content[0].text == f"internal: internal error. Next: {GatewayError.next_step}"
    assert "hunter2" not in result.model_dump_json()
    assert [(line["tool"], line["exc_info"]) for line in logs if line["event"] == "a tool failed"] == [("crash", True)]


async def test_lists_that_are_empty_are_served_empty(connect):
    async with connect() as (_, client):
        assert (await client.list_prompts()).prompts == []
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        with pytest.raises(MCPError):
            await client.read_resource("test://nothing")
