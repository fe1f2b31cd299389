"""Who opens a connection and asks nothing is not waited for for ever."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.transports.unasked import closed_unasked
from tests.conftest import AT_ONCE_SECONDS

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def served(handler):
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with closed_unasked(runner, seconds=0.1):
            yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def closed(reader):
    async with asyncio.timeout(AT_ONCE_SECONDS):
        return await reader.read() == b""


@pytest.mark.parametrize("said", [b"", b"G", HEAD, HEAD + b"X-A: b"])
async def test_a_connection_on_which_no_whole_request_comes_is_closed(said):
    async def answer(_request):
        return web.Response()

    async with served(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        assert await closed(reader)
        writer.close()


async def test_who_has_asked_is_waited_for_and_so_is_his_answer():
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_request):
        asked.set()
        await go_on.wait()
        return web.Response(text="well")

    async with served(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await asked.wait()
        silent, other = await asyncio.open_connection("127.0.0.1", port)
        assert await closed(silent)  # so that much time has passed
        go_on.set()
        assert b"200 OK" in await reader.readuntil(b"well")
        late, another = await asyncio.open_connection("127.0.0.1", port)
        assert await closed(late)
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"well")
        for link in (writer, other, another):
            link.close()
