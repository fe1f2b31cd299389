"""A scripted VergeOS over real HTTP, a socket that breaks on demand, and clients for both."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fakeredis import FakeAsyncRedis, FakeServer

from gateway.settings import Settings
from gateway.store.credentials import SharedCredentials
from gateway.store.keys import Keys
from gateway.store.limits import RequestLimits
from gateway.vergeos.client import open_client


@dataclass
class Asked:
    """One request as the upstream saw it."""

    method: str
    path: str
    line: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Upstream:
    """Answers by `answer(asked)`, which returns (status, body) or a response; notes what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answer: Any = None

    def lines(self):
        return [f"{one.method} {one.path}" for one in self.asked]

    async def respond(self, request):
        body = await request.read()
        asked = Asked(
            request.method,
            request.path,
            request.raw_path,
            dict(request.query),
            dict(request.headers),
            json.loads(body) if body else None,
        )
        self.asked.append(asked)
        answered = self.answer(asked)
        if asyncio.iscoroutine(answered):
            answered = await answered
        if isinstance(answered, web.StreamResponse):
            return answered
        status, content = answered
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(status=status, text=text, content_type="application/json")


@pytest.fixture
async def upstream():
    told = Upstream(answer=lambda asked: (200, []))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", told.respond)
    async with TestServer(app) as server:
        told.url = str(server.make_url("/")).rstrip("/")
        yield told


@dataclass
class Socket:
    """Serves each connection by `serve(reader, writer)` and counts them."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    serve: Any = None

    async def take(self, reader):
        """Read one request, head and body; empty at the end of the connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request


@pytest.fixture
async def open_socket():
    """Open sockets that serve by a coroutine of one's own; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def opened(serve, tls=None):
            sock = Socket(serve=serve)
            connections = set()

            async def connected(reader, writer):
                sock.connections += 1
                connections.add(asyncio.current_task())
                try:
                    await sock.serve(sock, reader, writer)
                except (ConnectionError, asyncio.CancelledError):
                    pass
                finally:
                    connections.discard(asyncio.current_task())
                    writer.transport.abort()

            server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)

            async def closed():
                server.close()
                for task in connections:
                    task.cancel()
                await asyncio.gather(*connections, return_exceptions=True)

            stack.push_async_callback(closed)
            sock.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return sock

        yield opened


@pytest.fixture
def redis_server():
    return FakeServer()


@pytest.fixture
async def redis(redis_server):
    """A Redis in memory, quick to make and easy to take away; the shared store itself is tested on a real one."""
    redis = FakeAsyncRedis(server=redis_server)
    yield redis
    await redis.aclose()


@pytest.fixture
def keys():
    return Keys("test-site")


@pytest.fixture
def settings_for():
    """Make settings for an upstream: an API key and no limit a second, unless told otherwise."""

    def made(url, **changed):
        given = {"vergeos_api_key": "key-of-the-gateway", "vergeos_timeout": 2.0, "vergeos_requests_per_second": 0}
        return Settings(_env_file=None, vergeos_host=url, **(given | changed))

    return made


@pytest.fixture
def opened(keys, settings_for):
    """Open one client by `async with`, as one process does."""

    def made(url, redis, *, attempts=3, wait=True, timeout=None, observe=None, **settings):
        return open_client(
            settings_for(url, **settings),
            RequestLimits(redis, keys),
            SharedCredentials(redis, keys),
            attempts=attempts,
            wait=wait,
            timeout=timeout,
            observe=observe,
        )

    return made


@pytest.fixture
async def client_for(redis, opened):
    """Open clients that share one Redis, as the processes of a site do; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def made(url, **options):
            return await stack.enter_async_context(opened(url, redis, **options))

        yield made


@pytest.fixture
async def client(client_for, sim):
    """A client of the simulated VergeOS, of which nothing was asked yet."""
    client = await client_for(sim.url, vergeos_api_key="demo")
    sim.reset_counts()
    return client


@pytest.fixture
async def away():
    """A Redis that does not answer."""
    server = FakeServer()
    server.connected = False
    redis = FakeAsyncRedis(server=server)
    yield redis
    await redis.aclose()
