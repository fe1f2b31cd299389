"""The predecessor's MCP endpoints and resources."""

import json

import pytest
import pytest_asyncio
from mcp import Client

from tests.compat.promises import RESOURCES
from tests.compat.standing import gateway_on

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(session_redis):
    async with gateway_on(session_redis.url) as served:
        yield served


@pytest.fixture
def message(gateway):
    """Post one JSON-RPC message to `/message`; return its answer."""

    async def post(method, **params):
        body = {"jsonrpc": "2.0", "id": 7, "method": method, **({"params": params} if params else {})}
        answered = await gateway.call("POST", "/message", body)
        assert (answered.status, answered.body["jsonrpc"], answered.body["id"]) == (200, "2.0", 7)
        return answered.body

    return post


async def test_message_answers_the_handshake_of_the_oldest_clients(message):
    about = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
    result = (await message("initialize", **about))["result"]
    assert "tools" in result["capabilities"]
    assert result["serverInfo"]["name"]


async def test_message_lists_the_tools_with_their_schemas(message):
    tools = (await message("tools/list"))["result"]["tools"]
    assert all(tool["inputSchema"]["type"] == "object" for tool in tools)


async def test_message_calls_a_tool_and_answers_its_text(message):
    result = (await message("tools/call", name="get_vm", arguments={"id": 34}))["result"]
    assert not result.get("isError")
    assert "web-1" in result["content"][0]["text"]
    assert result["structuredContent"]["name"] == "web-1"  # for programs: the text is for models now, and shorter


async def test_message_answers_what_a_tool_refuses_as_an_error_result(message):
    result = (await message("tools/call", name="get_vm", arguments={"id": 999_999}))["result"]
    assert result["isError"] is True
    assert result["content"][0]["type"] == "text"


async def test_message_knows_no_other_method(message):
    assert (await message("tools/format"))["error"]["code"] == -32601


async def test_message_lists_the_resources(message):
    listed = (await message("resources/list"))["result"]["resources"]
    assert set(RESOURCES) <= {resource["uri"] for resource in listed}


@pytest.mark.parametrize("uri", RESOURCES)
async def test_a_resource_is_read_as_json_and_says_what_its_tool_says(message, tool, uri):
    (content,) = (await message("resources/read", uri=uri))["result"]["contents"]
    assert (content["uri"], content["mimeType"]) == (uri, "application/json")
    told = json.loads(content["text"])
    wanted = (await tool(RESOURCES[uri]))["items"]
    assert (told["items"] if isinstance(told, dict) else told) == wanted


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_today_finds_tools_and_resources_at_mcp(gateway, mode):
    async with Client(f"{gateway.url}/mcp", mode=mode) as client:
        result = await client.call_tool("list_vms", {"name": "web-1"})
        assert [vm["id"] for vm in result.structured_content["items"]] == [34]
        assert set(RESOURCES) <= {str(resource.uri) for resource in (await client.list_resources()).resources}
