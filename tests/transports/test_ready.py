"""What is sent as bytes that are ready: whatever the client's HTTP, in the order asked, and no faster than it reads."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.transports.ready import REPEATED_BYTES, Ready
from tests.conftest import eventually

BODY, LARGE = b'{"rows":[]}', b"[" + b" " * (4 * REPEATED_BYTES) + b"]"
ASKED = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n"


class Served:
    """A server of two bodies; `waiting` are the bytes that its connection held back at each request."""

    def __init__(self):
        self.kept = {"small": Ready(BODY, {"X-One": "1"}, time.time()), "large": Ready(LARGE, {})}
        self.waiting = []
        self.transport = None
        self.port = 0

    async def answer(self, request):
        self.transport = request.transport
        self.waiting.append(request.transport.get_write_buffer_size())
        return self.kept[request.match_info["name"]].response(request)


@asynccontextmanager
async def connected(served, limit=1 << 26):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.fixture
async def served():
    built = Served()
    app = web.Application()
    app.router.add_get("/{name}", built.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    built.port = runner.addresses[0][1]
    yield built
    await runner.cleanup()


async def read(reader):
    """Return status line, headers and body of one answer."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip("\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines), "a header came twice"
    return status, headers, await reader.readexactly(int(headers.get("Content-Length", 0)))


@pytest.mark.parametrize("name", ["small", "large"])
async def test_many_requests_on_one_connection_are_answered_whole_and_in_order(served, name):
    body = served.kept[name].body
    async with connected(served) as (reader, writer):
        writer.write(ASKED % (name.encode(), b"") * 3)
        tag = served.kept[name].tag.encode()
        writer.write(ASKED % (name.encode(), b"If-None-Match: %b\r\n" % tag) + ASKED % (name.encode(), b""))
        told = [await read(reader) for _ in range(3)]
        assert [(status, sent) for status, _, sent in told] == [("HTTP/1.1 200 OK", body)] * 3
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 304 Not Modified\r\n")
        assert (await read(reader))[2] == body
        assert not told[0][1].keys() & {"Connection", "Transfer-Encoding"}


async def test_a_client_that_closes_or_speaks_old_http_is_answered_so(served):
    for asked, version in (
        (b"GET /small HTTP/1.0\r\nHost: localhost\r\n\r\n", "HTTP/1.0"),
        (ASKED % (b"small", b"Connection: close\r\n"), "HTTP/1.1"),
    ):
        async with connected(served) as (reader, writer):
            writer.write(asked)
            status, headers, body = await read(reader)
            assert (status, body) == (f"{version} 200 OK", BODY)
            assert headers.get("Connection", "close") == "close"
            assert await reader.read() == b""


async def test_date_and_age_go_on(served):
    served.kept["small"] = Ready(BODY, {}, time.time() - 7)
    async with connected(served) as (reader, writer):

        async def told():
            writer.write(ASKED % (b"small", b""))
            return (await read(reader))[1]

        first = await told()
        assert int(first["Age"]) >= 7
        await eventually(lambda: _differs(told, first, "Date"))
        await eventually(lambda: _differs(told, first, "Age"))


async def _differs(ask, first, name):
    return (await ask())[name] != first[name]


@pytest.mark.parametrize("name", ["small", "large"])
async def test_who_asks_faster_than_he_reads_is_waited_for(served, name):
    body, times = served.kept[name].body, 40 if name == "large" else 20_000
    async with connected(served, limit=1 << 14) as (reader, writer):
        asking = asyncio.create_task(_ask(writer, name.encode(), times))
        await eventually(lambda: served.transport is not None and served.transport.get_write_buffer_size())
        for _ in range(times):
            assert len((await read(reader))[2]) == len(body)
        await asking
    assert len(served.waiting) == times
    assert max(served.waiting) <= len(body) + (1 << 16)


async def _ask(writer, name, times):
    for _ in range(times):
        writer.write(ASKED % (name, b""))
        await writer.drain()


async def test_a_client_that_hangs_up_in_the_middle_harms_nobody(served):
    async with connected(served, limit=1 << 14) as (reader, writer):
        writer.write(ASKED % (b"large", b"") * 8)
        await reader.readexactly(100)
        writer.transport.abort()
    async with connected(served) as (reader, writer):
        writer.write(ASKED % (b"small", b""))
        assert (await read(reader))[2] == BODY
