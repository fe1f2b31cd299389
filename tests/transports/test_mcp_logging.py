"""A job told as log messages: to clients that asked for them, from the level they named, in both eras."""

import asyncio

import aiohttp
import pytest
from fakeredis import FakeServer
from mcp_fixtures import HEADERS, asked, begin, called, events, modern_call, serving, soon
from test_mcp_stdio import INITIALIZE, INITIALIZED, talking

from tests.conftest import eventually

TOLD = {"job": "j1", "tool": "stop_thing", "target": "web-1", "state": "working", "phase": "waiting"}
LEVEL = "io.modelcontextprotocol/logLevel"


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


async def logged(http, served, request):
    """Return the log messages of a call, which is answered after them."""
    served.services.waiting.clear()
    calling = asyncio.create_task(http.post(served.mcp, **request))
    await soon(served.services.waiting.wait())
    served.services.bell.set()
    async with await soon(calling) as reply:
        if reply.content_type == "application/json":
            return []
        told = [message async for message in events(reply)]
    served.services.bell.clear()
    assert told[-1]["result"]["structuredContent"]["state"] == "completed"
    return [message["params"] for message in told[:-1] if message["method"] == "notifications/message"]


@pytest.mark.parametrize(("level", "count"), [("debug", 2), ("info", 2), ("notice", 0), ("error", 0)])
async def test_a_stateless_request_says_itself_from_which_level_on(http, level, count):
    async with serving() as served:
        told = await logged(http, served, modern_call("stop_thing", **{LEVEL: level}))
    assert len(told) == count
    for message, detail in zip(told, ("asked to power off", "grace runs"), strict=False):
        assert (message["level"], message["logger"]) == ("info", "vergeos-gateway.jobs")
        assert message["data"] == TOLD | {"detail": detail}


async def test_a_session_says_it_once_for_every_replica(http):
    memory = FakeServer()
    async with serving(None, memory) as first, serving(None, memory) as second:
        session = await begin(http, first)
        assert await logged(http, first, {"json": called("stop_thing"), "headers": session}) == []
        async with http.post(second.mcp, json=asked("logging/setLevel", {"level": "info"}), headers=session) as reply:
            assert (await reply.json())["result"] == {}
        for served in (second, first):
            await soon(heard(served, session, "info"))
            assert len(await logged(http, served, {"json": called("stop_thing"), "headers": session})) == 2


async def heard(served, session, level):
    """Wait until a replica knows the level."""

    async def known():
        return (await served.endpoint.sessions.get(session["Mcp-Session-Id"], "local")).log_level == level

    await eventually(known)


async def test_a_level_that_there_is_not_and_one_without_a_session_are_refused(http):
    async with serving() as served:
        session = await begin(http, served)
        for where, headers, level in ((served.mcp, session, "loud"), (f"{served.url}/message", {}, "info")):
            async with http.post(where, json=asked("logging/setLevel", {"level": level}), headers=headers) as reply:
                assert (await reply.json())["error"]["code"] in {-32602, -32600}


async def test_a_client_over_stdio_is_told_as_well():
    async with talking() as talk:
        talk.say(INITIALIZE, INITIALIZED, asked("logging/setLevel", {"level": "info"}, 1))
        assert "logging" in (await talk.hear())["result"]["capabilities"]
        assert (await talk.hear())["result"] == {}
        talk.say(asked("tools/call", {"name": "stop_thing"}, 2))
        told = [await talk.hear(), await talk.hear()]
        assert [message["params"]["data"]["detail"] for message in told] == ["asked to power off", "grace runs"]
        talk.services.bell.set()
        assert (await talk.hear())["id"] == 2
