"""The endpoint over a server that is not our catalog: what it offers beyond what our tools use today."""

import asyncio
import itertools
import json

import aiohttp
import mcp_types as t
import pytest
from mcp.server import Server
from mcp_fixtures import HEADERS, asked, begin, called, events, modern, open_stream, serving, soon

from gateway.store.mailboxes import MOST_POSTS
from gateway.transports import mcp_exchange
from gateway.transports.mcp_outbox import MAX_UNREAD

SCHEMA = {
    "type": "object",
    "properties": {"site": {"type": "string", "x-mcp-header": "Site"}, "count": {"type": "integer"}},
}


async def call_tool(ctx, params):
    """Say something on the session's own stream as often as told, then on the call's."""
    for number in range((params.arguments or {}).get("count", 0)):
        await ctx.session.send_resource_updated(f"test://{number}")
    await ctx.session.report_progress(1)
    return t.CallToolResult(content=[t.TextContent(text="done")])


@pytest.fixture
async def served():
    server = Server("other", on_call_tool=call_tool, get_tool_input_schema={"told": SCHEMA}.get)
    async with serving(server) as running:
        yield running


async def test_a_client_that_reads_nothing_is_cut_off(http, monkeypatch):
    monkeypatch.setattr(mcp_exchange, "WRITE_SECONDS", 0.1)
    cancelled = asyncio.Event()

    async def flood(ctx, params):
        try:
            for number in itertools.count():
                await ctx.session.report_progress(number, message="x" * 100_000)
                await asyncio.sleep(0)  # once nobody reads, a report returns at once
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(Server("flood", on_call_tool=flood)) as served:
        request = modern("tools/call", {"name": "told", "_meta": {"progressToken": 1}}, name="told")
        async with http.post(served.mcp, **request):
            await soon(cancelled.wait())


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


@pytest.mark.parametrize(
    ("arguments", "header", "status"),
    [
        ({"site": "lab"}, "lab", 200),
        ({"site": "läb"}, "=?base64?bMOkYg==?=", 200),
        ({}, None, 200),
        ({"site": "lab"}, None, 400),
        ({"site": "lab"}, "prod", 400),
        ({}, "lab", 400),
    ],
)
async def test_an_argument_that_a_schema_mirrors_must_stand_in_its_header(served, http, arguments, header, status):
    request = modern("tools/call", {"name": "told", "arguments": arguments}, name="told")
    if header is not None:
        request["headers"]["Mcp-Param-Site"] = header
    async with http.post(served.mcp, **request) as reply:
        assert reply.status == status
        if status == 400:
            assert (await reply.json())["error"]["code"] == -32020


async def test_what_the_server_says_unasked_goes_to_the_session_s_own_stream(served, http):
    session = await begin(http, served)
    call = called("told") | {"params": {"name": "told", "arguments": {"count": 2}}}
    async with open_stream(http, served, session) as stream:
        async with http.post(served.mcp, json=call, headers=session) as reply:
            assert (await reply.json())["result"]["content"][0]["text"] == "done"
        told = [message async for message in limited(events(stream), 2)]
    assert [message["params"]["uri"] for message in told] == ["test://0", "test://1"]


async def test_what_nobody_reads_is_kept_up_to_a_bound_the_newest(served, http):
    session = await begin(http, served)
    call = called("told") | {"params": {"name": "told", "arguments": {"count": MOST_POSTS + 3}}}
    async with http.post(served.mcp, json=call, headers=session):
        pass
    async with open_stream(http, served, session) as stream:
        told = [message async for message in limited(events(stream), 1)]
    assert told[0]["params"]["uri"] == "test://4"  # the mark that the stream is open took the place of one more


async def test_a_stream_that_falls_too_far_behind_ends_and_may_be_opened_again(served, http):
    session = await begin(http, served)
    async with open_stream(http, served, session) as stream:
        call = called("told") | {"params": {"name": "told", "arguments": {"count": MAX_UNREAD + 1}}}
        async with http.post(served.mcp, json=call, headers=session) as reply:
            assert (await reply.json())["result"]["content"][0]["text"] == "done"
        await soon(stream.content.read())
    async with open_stream(http, served, session) as stream:
        call = called("told", id=2) | {"params": {"name": "told", "arguments": {"count": 1}}}
        async with http.post(served.mcp, json=call, headers=session):
            pass
        assert (await soon(anext(events(stream))))["params"]["uri"].startswith("test://")


async def test_a_stateless_call_has_no_stream_for_what_is_said_unasked(served, http):
    request = modern("tools/call", {"name": "told", "arguments": {"count": 3}}, name="told")
    async with http.post(served.mcp, **request) as reply:
        assert reply.content_type == "application/json"
        assert "test://" not in json.dumps(await reply.json())


async def test_methods_without_a_handler_are_unknown(served, http):
    session = await begin(http, served)
    async with http.post(served.mcp, json=asked("prompts/list"), headers=session) as reply:
        assert (await reply.json())["error"]["code"] == -32601


async def limited(messages, count):
    """Yield the first `count` messages."""
    for _ in range(count):
        yield await soon(anext(messages))
