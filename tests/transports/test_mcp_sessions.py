"""Sessions of the handshake revisions over HTTP, seen as bytes: begin, work, streams, disconnects, end."""

import asyncio

import aiohttp
import pytest
from mcp_fixtures import HEADERS, asked, begin, called, events, modern_call, open_stream, serving, soon

from gateway.core.access import Caller
from gateway.transports import mcp_session


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_session_begins_works_and_ends(served, http, version):
    session = await begin(http, served, version)
    async with http.post(served.mcp, json=asked("tools/list", id=2), headers=session) as reply:
        assert (reply.status, reply.content_type) == (200, "application/json")
        assert (await reply.json())["result"]["tools"]
    async with http.delete(served.mcp, headers=session) as reply:
        assert reply.status == 204
    for method in ("POST", "GET", "DELETE"):
        async with http.request(method, served.mcp, json=asked("ping"), headers=session) as reply:
            assert reply.status == 404


async def test_an_unknown_revision_is_offered_the_newest_with_a_handshake(served, http):
    params = {"protocolVersion": "1999-01-01", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    async with http.post(served.mcp, json=asked("initialize", params)) as reply:
        assert (await reply.json())["result"]["protocolVersion"] == "2025-11-25"


async def test_a_failed_handshake_opens_no_session(served, http):
    async with http.post(served.mcp, json=asked("initialize", {"protocolVersion": 5})) as reply:
        assert (await reply.json())["error"]["code"] == -32602
        assert "Mcp-Session-Id" not in reply.headers
    assert len(served.endpoint.sessions) == 0


async def test_requests_without_a_session_or_with_an_unknown_one_are_refused(served, http):
    for method in ("POST", "GET", "DELETE"):
        async with http.request(method, served.mcp, json=asked("tools/list")) as reply:
            assert reply.status == 400
        headers = {"Mcp-Session-Id": "unknown"}
        async with http.request(method, served.mcp, json=asked("tools/list"), headers=headers) as reply:
            assert reply.status == 404


async def test_a_session_of_another_caller_does_not_exist(http):
    def by_header(request):
        return Caller(request.headers.get("X-Who", "nobody"))

    async with serving(caller_of=by_header) as served:
        session = await begin(http, served)
        async with http.post(served.mcp, json=asked("ping"), headers=session) as reply:
            assert reply.status == 200
        async with http.post(served.mcp, json=asked("ping"), headers=session | {"X-Who": "eve"}) as reply:
            assert reply.status == 404


async def test_progress_of_a_session_s_request_is_streamed(served, http):
    session = await begin(http, served)
    async with http.post(served.mcp, json=called("stop_thing", progressToken=9), headers=session) as reply:
        assert reply.content_type == "text/event-stream"
        served.services.bell.set()
        told = [message async for message in events(reply)]
    assert [message["params"]["progressToken"] for message in told[:2]] == [9, 9]
    assert told[2]["result"]["structuredContent"]["state"] == "completed"


async def test_a_client_that_leaves_a_session_s_request_does_not_end_its_wait(served, http):
    session = await begin(http, served)
    async with http.post(served.mcp, json=called("stop_thing", progressToken=9), headers=session) as reply:
        await soon(served.services.waiting.wait())
        reply.close()
    async with http.post(served.mcp, json=asked("ping", id=2), headers=session) as reply:
        assert reply.status == 200
    assert not served.services.left.is_set()
    served.services.bell.set()
    await soon(served.services.left.wait())


async def test_a_cancelled_request_of_a_session_is_answered_as_cancelled(served, http):
    session = await begin(http, served)
    waiting = asyncio.create_task(http.post(served.mcp, json=called("stop_thing", id="a"), headers=session))
    await soon(served.services.waiting.wait())
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}}
    async with http.post(served.mcp, json=body, headers=session) as reply:
        assert reply.status == 202
    async with await soon(waiting) as reply:
        answer = await reply.json()
        assert (answer["id"], answer["error"]["code"]) == ("a", -32800)
    await soon(served.services.left.wait())


async def test_a_second_request_of_the_same_id_is_refused_while_the_first_waits(served, http):
    session = await begin(http, served)
    waiting = asyncio.create_task(http.post(served.mcp, json=called("stop_thing", id=5), headers=session))
    await soon(served.services.waiting.wait())
    async with http.post(served.mcp, json=asked("ping", id=5), headers=session) as reply:
        assert reply.status == 400
    served.services.bell.set()
    async with await soon(waiting) as reply:
        assert (await reply.json())["id"] == 5


async def test_odd_notifications_and_unasked_responses_are_taken_and_dropped(served, http):
    session = await begin(http, served)
    for body in (
        {"jsonrpc": "2.0", "method": "notifications/cancelled"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}},
        {"jsonrpc": "2.0", "method": "notifications/nonsense", "params": {"a": 1}},
        {"jsonrpc": "2.0", "id": 3, "result": {}},
        {"jsonrpc": "2.0", "id": 3, "error": {"code": 1, "message": "no"}},
    ):
        async with http.post(served.mcp, json=body, headers=session) as reply:
            assert (reply.status, await reply.read()) == (202, b"")


async def test_a_session_has_one_stream_of_its_own(served, http):
    session = await begin(http, served)
    async with http.get(served.mcp, headers=session | {"Accept": "application/json"}) as reply:
        assert reply.status == 406
    async with open_stream(http, served, session) as first, open_stream(http, served, session):
        await soon(first.content.read())  # the newer one has taken its place: a broken connection holds up nobody
        assert first.content.at_eof()


async def test_the_stream_of_a_session_is_pinged_and_ends_with_the_session(http):
    async with serving(ping_seconds=0.05) as served:
        session = await begin(http, served)
        async with open_stream(http, served, session) as stream:
            assert (await soon(stream.content.readline())).startswith(b": ping")
            async with http.delete(served.mcp, headers=session):
                pass
            await soon(stream.content.read())
            assert stream.content.at_eof()


async def test_idle_sessions_are_forgotten_and_taken_up_again_when_they_come_back(http):
    async with serving(idle_seconds=0) as served:
        idle = await begin(http, served)
        async with open_stream(http, served, idle):
            busy, idle = idle, await begin(http, served)
            await begin(http, served)
            assert len(served.endpoint.sessions) == 2  # the busy one and the newest
            for session in (busy, idle):
                async with http.post(served.mcp, json=asked("ping"), headers=session) as reply:
                    assert reply.status == 200


async def test_the_number_of_sessions_at_work_is_bounded(http):
    async with serving(max_sessions=2) as served:
        first, second = await begin(http, served), await begin(http, served)
        await begin(http, served)  # the longest unused one made room
        async with open_stream(http, served, first), open_stream(http, served, second):
            async with http.post(served.mcp, json=asked("initialize")) as reply:
                assert reply.status == 503
            assert len(served.endpoint.sessions) == 2


async def test_an_open_stream_does_not_hold_up_a_shutdown(http):
    async with serving() as served:
        session = await begin(http, served)
        async with open_stream(http, served, session) as stream:
            await soon(served.runner.cleanup())
            await soon(stream.content.read())


async def test_a_session_may_not_have_too_many_requests_in_flight(served, http, monkeypatch):
    monkeypatch.setattr(mcp_session, "MAX_IN_FLIGHT", 1)
    session = await begin(http, served)
    waiting = asyncio.create_task(http.post(served.mcp, json=called("stop_thing"), headers=session))
    await soon(served.services.waiting.wait())
    async with http.post(served.mcp, json=asked("ping", id=2), headers=session) as reply:
        assert reply.status == 429
    served.services.bell.set()
    async with await soon(waiting) as reply:
        assert reply.status == 200


async def test_calls_that_wait_at_shutdown_are_answered_before_the_end(http):
    async with serving() as served:
        session = await begin(http, served)
        waiting = []
        for request in (modern_call("stop_thing"), {"json": called("stop_thing"), "headers": session}):
            served.services.waiting.clear()
            waiting.append(asyncio.create_task(http.post(served.mcp, **request)))
            await soon(served.services.waiting.wait())
        served.services.closing.set()
        await served.runner.cleanup()
        for call in waiting:
            async with await soon(call) as reply:
                assert (await reply.json())["result"]["structuredContent"]["state"] == "working"
