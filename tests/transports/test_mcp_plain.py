"""Plain JSON-RPC at `POST /message`."""

import aiohttp
import pytest
from mcp_fixtures import CATALOG, serving

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


@pytest.fixture
async def post(served):
    async with aiohttp.ClientSession() as http:

        async def answer(body, **headers):
            async with http.post(f"{served.url}/message", json=body, headers=headers) as reply:
                text = await reply.text()
                return reply.status, (await reply.json() if text else None)

        yield answer


async def test_the_line_of_the_predecessor_s_readme_lists_the_tools(post):
    status, answer = await post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (status, answer["id"]) == (200, 1)
    assert len(answer["result"]["tools"]) == len(CATALOG)


async def test_a_tool_is_called_without_a_handshake(post):
    params = {"name": "who_calls", "arguments": {}}
    call = {"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": params}
    _, answer = await post(call, **{"User-Agent": "curl/8"})
    assert answer["result"]["structuredContent"] == {"caller": "local", "face": "plain", "client": "curl/8"}


async def test_progress_is_left_out_since_there_is_no_stream(post, served):
    served.services.bell.set()
    params = {"name": "stop_thing", "_meta": {"progressToken": 1}}
    _, answer = await post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    assert answer["result"]["structuredContent"]["state"] == "completed"


async def test_the_members_of_a_batch_are_answered_in_their_order(post):
    status, answers = await post([PING, {"jsonrpc": "2.0", "method": "notifications/initialized"}, PING | {"id": 2}])
    assert status == 200
    assert [answer["id"] for answer in answers] == [1, 2]


async def test_a_member_that_is_no_message_gets_its_own_error(post):
    status, answers = await post([PING, 5, PING | {"method": "nonsense"}])
    assert status == 200
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, -32601]


@pytest.mark.parametrize("body", [[], [PING] * 51, 5, "ping", {"id": 1}])
async def test_what_is_neither_a_message_nor_a_batch_is_refused(post, body):
    status, answer = await post(body)
    assert (status, answer["error"]["code"]) == (400, -32600)


async def test_notifications_are_taken_without_an_answer(post):
    notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert await post(notification) == (202, None)
    assert await post([notification, notification]) == (202, None)


async def test_an_unknown_tool_and_method_are_protocol_errors(post):
    _, answer = await post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "nope"}})
    assert answer["error"]["code"] == -32602
    _, answer = await post({"jsonrpc": "2.0", "id": 1, "method": "nope"})
    assert answer["error"]["code"] == -32601


async def test_a_client_may_shake_hands_all_the_same(post):
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    _, answer = await post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    assert answer["result"]["serverInfo"]["name"] == "vergeos-gateway"
