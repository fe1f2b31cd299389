"""The stateless revision over HTTP, seen as bytes."""

import aiohttp
import pytest
from mcp_fixtures import HEADERS, MODERN, events, modern, modern_call, serving, soon


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


async def test_a_stateless_request_is_answered_as_plain_json(served, http):
    async with http.post(served.mcp, **modern("tools/list")) as reply:
        assert (reply.status, reply.content_type) == (200, "application/json")
        result = (await reply.json())["result"]
        assert result["resultType"] == "complete"
        assert (result["ttlMs"], result["cacheScope"]) == (60_000, "private")
        assert "Mcp-Session-Id" not in reply.headers


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Mcp-Method": "tools/call"}, -32020),
        ({"Mcp-Method": ""}, -32020),
        ({"MCP-Protocol-Version": "2099-01-01"}, -32020),
        ({"MCP-Protocol-Version": f" {MODERN} "}, None),
    ],
)
async def test_headers_must_say_what_the_body_says(served, http, headers, code):
    request = modern("tools/list")
    request["headers"] |= headers
    async with http.post(served.mcp, **request) as reply:
        answer = await reply.json()
        assert reply.status == (200 if code is None else 400)
        assert answer["id"] == 1
        assert answer.get("error", {}).get("code") == code


async def test_the_name_of_the_tool_must_stand_in_its_header(served, http):
    for name in (None, "get_thing"):
        request = modern("tools/call", {"name": "list_things"}, name=name)
        async with http.post(served.mcp, **request) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (400, -32020)


async def test_a_routing_header_sent_twice_is_refused(served, http):
    request = modern("tools/list")
    headers = [*request["headers"].items(), ("Mcp-Method", "tools/list")]
    async with http.post(served.mcp, json=request["json"], headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (400, -32020)


async def test_an_unknown_revision_is_told_those_that_are_served(served, http):
    request = modern("tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}})
    request["headers"]["MCP-Protocol-Version"] = "2099-01-01"
    async with http.post(served.mcp, **request) as reply:
        error = (await reply.json())["error"]
        assert (reply.status, error["code"], error["data"]["supported"]) == (400, -32022, [MODERN])


@pytest.mark.parametrize("meta", [None, {}, {"io.modelcontextprotocol/protocolVersion": MODERN}])
async def test_an_incomplete_envelope_is_invalid(served, http, meta):
    request = modern("tools/list")
    request["json"]["params"] = {} if meta is None else {"_meta": meta}
    async with http.post(served.mcp, **request) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (400, -32602)


async def test_methods_of_the_handshake_revisions_are_gone_in_the_stateless_one(served, http):
    for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "nonsense"):
        async with http.post(served.mcp, **modern(method)) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (404, -32601)
    for method in ("GET", "DELETE"):
        async with http.request(method, served.mcp, headers={"MCP-Protocol-Version": MODERN}) as reply:
            assert (reply.status, reply.headers["Allow"]) == (405, "POST")


async def test_a_stateless_notification_is_acknowledged_and_a_posted_response_refused(served, http):
    headers = {"MCP-Protocol-Version": MODERN}
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    async with http.post(served.mcp, json=body, headers=headers) as reply:
        assert (reply.status, await reply.read()) == (202, b"")
    async with http.post(served.mcp, json=body, headers={"MCP-Protocol-Version": "2099-01-01"}) as reply:
        assert reply.status == 400
    async with http.post(served.mcp, json={"jsonrpc": "2.0", "id": 1, "result": {}}, headers=headers) as reply:
        assert reply.status == 400


async def test_the_first_progress_turns_the_reply_into_a_stream(served, http):
    async with http.post(served.mcp, **modern_call("stop_thing", progressToken="p")) as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert reply.headers["X-Accel-Buffering"] == "no"
        served.services.bell.set()
        told = [message async for message in events(reply)]
    assert [message.get("method") for message in told] == ["notifications/progress"] * 2 + [None]
    assert [message["params"]["progress"] for message in told[:2]] == [1, 2]
    assert told[2]["result"]["structuredContent"]["state"] == "completed"


async def test_without_a_progress_token_the_reply_stays_json(served, http):
    served.services.bell.set()
    async with http.post(served.mcp, **modern_call("stop_thing")) as reply:
        assert reply.content_type == "application/json"


async def test_a_long_silence_is_filled_with_pings(http):
    async with serving(ping_seconds=0.05) as served, http.post(served.mcp, **modern_call("stop_thing")) as reply:
        assert reply.content_type == "text/event-stream"
        for _ in range(3):
            assert (await soon(reply.content.readline())).startswith(b": ping")
            await soon(reply.content.readline())
        served.services.bell.set()
        assert [message["id"] async for message in events(reply)] == [1]


async def test_a_client_that_leaves_a_stateless_request_ends_its_wait(served, http):
    async with http.post(served.mcp, **modern_call("stop_thing", progressToken="p")) as reply:
        await soon(served.services.waiting.wait())
        reply.close()
    await soon(served.services.left.wait())
    assert served.services.submitted == 1
