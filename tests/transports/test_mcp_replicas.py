"""Sessions over several replicas: two endpoints that share a Redis and nothing else."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import mcp_types as t
import pytest
from fakeredis import FakeServer
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.server import Server
from mcp_fixtures import HEADERS, asked, begin, events, open_stream, serving, soon, sse_events

from gateway.core.access import Caller
from gateway.transports.mcp_sessions import MAX_FACTS_BYTES
from tests.conftest import eventually

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
UNKNOWN = "There is no such session; begin again with initialize"


class Tools:
    """An MCP server with tools that tell and ask, and what they saw."""

    def __init__(self):
        self.waiting, self.cancelled = asyncio.Event(), asyncio.Event()
        self.server = Server("replicated", on_call_tool=self.call, on_list_tools=self.list)

    async def list(self, ctx, params):
        return t.ListToolsResult(tools=[])

    async def call(self, ctx, params):
        said = await getattr(self, params.name)(ctx)
        return t.CallToolResult(content=[t.TextContent(text=str(said))])

    async def client(self, ctx):
        return f"{ctx.session.client_params.client_info.name} {ctx.session.protocol_version}"

    async def unasked(self, ctx):
        await ctx.session.send_resource_updated("test://told")

    async def ask(self, ctx):
        answer = await ctx.session.elicit_form("who?", NAME, related_request_id=ctx.request_id)
        return (answer.content or {}).get("name", answer.action)

    async def wait(self, ctx):
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@asynccontextmanager
async def replicas(count=2, **options):
    memory, tools = FakeServer(), Tools()
    async with AsyncExitStack() as stack:
        yield (
            tools,
            *[await stack.enter_async_context(serving(tools.server, memory, **options)) for _ in range(count)],
        )


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


def call(tool, id=2):
    return asked("tools/call", {"name": tool, "arguments": {}}, id)


async def text(http, replica, session, tool):
    async with http.post(replica.mcp, json=call(tool), headers=session) as reply:
        return (await reply.json())["result"]["content"][0]["text"]


async def status(http, replica, session):
    async with http.post(replica.mcp, json=asked("ping", id=9), headers=session) as reply:
        return reply.status


async def test_a_session_is_carried_on_by_another_replica(http):
    async with replicas() as (_, first, second):
        session = await begin(http, first, "2025-03-26")
        for replica in (second, first, second):
            assert await text(http, replica, session, "client") == "t 2025-03-26"


async def test_a_session_survives_the_end_of_its_replica(http):
    memory, tools = FakeServer(), Tools()
    async with serving(tools.server, memory) as first:
        session = await begin(http, first)
    async with serving(tools.server, memory) as second:
        assert await text(http, second, session, "client") == "t 2025-06-18"


async def test_a_session_belongs_to_its_caller_at_every_replica(http):
    def by_header(request):
        return Caller(request.headers.get("X-Who", "nobody"))

    async with replicas(caller_of=by_header) as (_, first, second):
        session = await begin(http, first)
        assert await status(http, second, session | {"X-Who": "eve"}) == 404
        assert await status(http, second, session) == 200


async def test_an_id_that_we_did_not_seal_is_unknown(http):
    async with replicas() as (_, first, second):
        token = (await begin(http, first))["Mcp-Session-Id"]
        for forged in (token[:-4] + "AAAA", "x" * 300, "gAAAAA", "ü"):
            assert await status(http, second, {"Mcp-Session-Id": forged}) == 404
    async with (
        replicas() as (_, stranger, _),
        http.post(stranger.mcp, json=asked("ping"), headers={"Mcp-Session-Id": token}) as reply,
    ):
        assert (reply.status, (await reply.json())["error"]["message"]) == (404, UNKNOWN)


async def test_a_session_that_was_closed_at_one_replica_is_closed_at_all(http):
    async with replicas(3) as (_, first, second, third):
        session = await begin(http, first)
        async with open_stream(http, first, session) as stream:
            async with http.delete(second.mcp, headers=session) as reply:
                assert reply.status == 204
            await soon(stream.content.read())
        for replica in (first, second, third):
            assert await status(http, replica, session) == 404


async def test_what_is_said_unasked_reaches_the_stream_at_another_replica(http):
    async with replicas() as (_, first, second):
        session = await begin(http, first)
        await text(http, second, session, "unasked")  # before any stream is open
        async with open_stream(http, first, session) as stream:
            assert (await soon(anext(events(stream))))["params"] == {"uri": "test://told"}
            await text(http, second, session, "unasked")
            assert (await soon(anext(events(stream))))["params"] == {"uri": "test://told"}


async def test_a_stream_that_is_opened_elsewhere_takes_the_place_of_the_first(http):
    async with replicas() as (_, first, second):
        session = await begin(http, first)
        async with open_stream(http, first, session) as old, open_stream(http, second, session) as new:
            await soon(old.content.read())
            await text(http, first, session, "unasked")
            assert (await soon(anext(events(new))))["params"] == {"uri": "test://told"}


async def test_a_request_is_cancelled_through_another_replica(http):
    async with replicas() as (tools, first, second):
        session = await begin(http, first)
        waiting = asyncio.create_task(http.post(first.mcp, json=call("wait", "w"), headers=session))
        await soon(tools.waiting.wait())
        body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}}
        async with http.post(second.mcp, json=body, headers=session) as reply:
            assert reply.status == 202
        await soon(tools.cancelled.wait())
        async with await soon(waiting) as reply:
            assert (await reply.json())["error"]["code"] == -32800


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        ({"result": {"action": "accept", "content": {"name": "ann"}}}, "ann"),
        ({"result": {"action": "decline"}}, "decline"),
    ],
)
@pytest.mark.parametrize("answered_at", [0, 1])
async def test_a_question_is_answered_through_any_replica(http, answered_at, answer, heard):
    async with replicas() as (_, *served):
        session = await begin(http, served[0])
        async with http.post(served[0].mcp, json=call("ask"), headers=session) as reply:
            told = events(reply)
            question = await soon(anext(told))
            assert (question["method"], question["params"]["message"]) == ("elicitation/create", "who?")
            body = {"jsonrpc": "2.0", "id": question["id"]} | answer
            async with http.post(served[answered_at].mcp, json=body, headers=session) as taken:
                assert taken.status == 202
            assert (await soon(anext(told)))["result"]["content"][0]["text"] == heard


async def test_a_question_that_the_client_refuses_fails_with_its_words(http):
    async with replicas() as (_, first, _):
        session = await begin(http, first)
        async with http.post(first.mcp, json=call("ask"), headers=session) as reply:
            told = events(reply)
            question = await soon(anext(told))
            body = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "not today"}}
            async with http.post(first.mcp, json=body, headers=session):
                pass
            assert (await soon(anext(told)))["error"]["message"] == "not today"


async def test_a_client_that_tells_too_much_of_itself_is_refused(http):
    async with replicas() as (_, first, _):
        info = {"name": "x" * MAX_FACTS_BYTES, "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        async with http.post(first.mcp, json=asked("initialize", params)) as reply:
            assert reply.status == 400
            assert "clientInfo" in (await reply.json())["error"]["message"]


async def test_while_redis_is_out_known_sessions_go_on_and_others_are_told_when_to_come_back(http):
    memory, tools = FakeServer(), Tools()
    async with serving(tools.server, memory) as first, serving(tools.server, memory) as second:
        session = await begin(http, first)
        memory.connected = False
        assert await text(http, first, session, "client") == "t 2025-06-18"
        async with http.post(second.mcp, json=asked("ping"), headers=session) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            assert (await reply.json())["error"]["data"]["code"] == "store_unavailable"
        memory.connected = True
        assert await text(http, second, session, "client") == "t 2025-06-18"


@pytest.mark.parametrize("other", [0, 1])
async def test_messages_of_the_old_transport_reach_their_stream_through_any_replica(http, other):
    async with replicas() as (_, *served), http.get(f"{served[0].url}/sse") as stream:
        told = sse_events(stream)
        name, path = await soon(anext(told))
        assert name == "endpoint"

        async def send(body):
            async with http.post(served[other].url + path, json=body) as reply:
                assert (reply.status, await reply.read()) == (202, b"")

        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
        await send(asked("initialize", params))
        assert '"protocolVersion":"2024-11-05"' in (await soon(anext(told)))[1]
        await send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await send(call("client"))
        assert "old 2024-11-05" in (await soon(anext(told)))[1]


async def test_the_sdk_s_old_client_calls_asks_and_is_told(http):
    async def name(ctx, params):
        return t.ElicitResult(action="accept", content={"name": "bob"})

    async with replicas() as (_, first, _):
        async with (
            sse_client(f"{first.url}/sse") as (read, write),
            ClientSession(read, write, elicitation_callback=name) as client,
        ):
            await client.initialize()
            assert (await client.call_tool("ask", {})).content[0].text == "bob"
        await eventually(lambda: len(first.endpoint.sessions) == 0)


async def test_each_call_over_the_old_transport_is_made_and_gets_its_own_answer():
    async with serving() as served, sse_client(f"{served.url}/sse") as streams, ClientSession(*streams) as client:
        await client.initialize()
        served.services.bell.set()
        assert (await client.call_tool("list_things", {"limit": 1})).structured_content["items"]
        assert len((await client.call_tool("list_things", {"limit": 2})).structured_content["items"]) == 2
        assert (await client.call_tool("stop_thing", {})).structured_content["state"] == "completed"
        assert served.services.submitted == 1


async def test_messages_for_a_stream_that_is_not_there_are_refused(http):
    async with replicas() as (_, first, second):
        async with http.get(f"{first.url}/sse") as stream:
            _, path = await soon(anext(sse_events(stream)))
        await eventually(lambda: len(first.endpoint.sessions) == 0)
        for replica in (first, second):
            for where in (path, "/messages?session_id=made-up"):
                async with http.post(replica.url + where, json=asked("ping")) as reply:
                    assert reply.status == 404
            async with http.post(f"{replica.url}/messages", json=asked("ping")) as reply:
                assert reply.status == 400
