"""A small catalog with one tool for each way a call can go, and a server around it on a free port."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from fakeredis import FakeServer
from pydantic import BaseModel

from gateway.calls import Call
from gateway.core import errors
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading, Source
from gateway.core.job import Job, JobState, JobView, Ordered, Phase, Target
from gateway.core.tool import Catalog, Effect, tool
from gateway.core.wishes import PowerOff
from gateway.settings import Settings
from gateway.store.backend import Backend
from gateway.store.caller_limits import CallerLimits
from gateway.store.connection import FOLLOWING
from gateway.store.events import Feed
from gateway.store.jobs import Jobs
from gateway.store.keys import Keys
from gateway.store.mailboxes import Mailboxes
from gateway.store.sealing import Sealing
from gateway.telemetry.metrics import Metrics
from gateway.transports.context import SERVICES
from gateway.transports.expect import new_app
from gateway.transports.mcp import build_server
from gateway.transports.mcp_http import McpEndpoint
from tests.conftest import PATIENT

MODERN = "2026-07-28"
SOON_SECONDS = 20
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}

FAILURES = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.GatewayError)
}
JOB = Job(
    id="j1",
    site="simulated",
    tool="stop_thing",
    arguments={},
    wish=PowerOff(wait_seconds=30),
    target=Target(key=7, machine_key=8, name="web-1", uuid="u"),
    owner="local",
    face="mcp",
    phase=Phase.WAITING,
    detail="asked to power off",
    created_at=1.0,
    progress_at=1.0,
    updated_at=1.0,
)


class Thing(BaseModel):
    """A thing."""

    id: int
    name: str
    node: str | None


@tool(permission=Permission.READ, effect=Effect.READ)
async def list_things(call: Call, *, limit: int = 50) -> Page[Thing]:
    """List the things."""
    things = (Thing(id=1, name="one", node=None), Thing(id=2, name="two", node="node1"))
    return Page[Thing](items=things[:limit], total=2, as_of=1_700_000_000.0, source=Source.CACHE)


@tool(permission=Permission.READ, effect=Effect.READ)
async def get_thing(call: Call, *, id: int) -> Reading[Thing]:
    """Get one thing."""
    if id != 1:
        raise errors.UnknownObject(f"there is no thing {id}", nearest=["one"])
    return Reading[Thing](value=Thing(id=1, name="one", node=None), as_of=1_700_000_000.0, source=Source.LIVE)


@tool(permission=Permission.READ, effect=Effect.READ)
async def count_things(call: Call) -> list[int]:
    """Count the things, an answer that is no object."""
    return [1, 2]


@tool(permission=Permission.READ, effect=Effect.READ)
async def who_calls(call: Call) -> dict[str, str]:
    """Tell how the call came in."""
    return {"caller": call.caller.name, "face": call.face.value, "client": call.client}


@tool(permission=Permission.READ, effect=Effect.READ)
async def fail(call: Call, *, code: str) -> Thing:
    """Fail with this code."""
    raise FAILURES[code]("what went wrong")


@tool(permission=Permission.READ, effect=Effect.READ)
async def crash(call: Call) -> Thing:
    """Fail by a bug."""
    raise ValueError("the password is hunter2")


@tool(permission=Permission.OPERATE, effect=Effect.CHANGE)
async def stop_thing(call: Call, *, id: int = 7) -> Ordered:
    """Make the one job there is, which waits until somebody rings."""
    call.services.submitted += 1
    return JOB


@tool(permission=Permission.FORCE, effect=Effect.DESTROY)
async def break_thing(call: Call) -> Ordered:
    """Make a job that has failed already."""
    call.services.bell.set()
    call.services.ends_as = JobState.FAILED
    return JOB


CATALOG = Catalog((list_things, get_thing, count_things, who_calls, fail, crash, stop_thing, break_thing))


class Unguarded:
    """Freezing and audit of services without Redis: nothing is frozen, and nobody is told."""

    async def require_none(self) -> None:
        pass

    def require(self) -> None:
        pass

    def record(self, event: str, **members: object) -> None:
        pass


class NoJobs:
    """A store in which no job is open."""

    async def open(self):
        return []


@dataclass
class BellServices:
    """What the MCP faces use of the services; the one job waits for `bell`, and a call may be seen to `wait`."""

    feed: Feed = field(default_factory=lambda: Feed(None, None, lambda _name, _generation: None))
    mailboxes: Mailboxes | None = None
    sealing: Sealing | None = None
    freezing: Unguarded = field(default_factory=Unguarded)
    audit: Unguarded = field(default_factory=Unguarded)
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))
    metrics: Metrics = field(default_factory=Metrics)
    views: None = None
    keys: Keys = field(default_factory=lambda: Keys("simulated"))
    limits: CallerLimits = field(default_factory=lambda: CallerLimits(None, Keys("simulated")))
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    ends_as: JobState = JobState.COMPLETED
    submitted: int = 0
    jobs: NoJobs = field(default_factory=NoJobs)

    def noticing(self, _caller) -> None:
        """Everybody here sees everything."""

    async def follow(self, _caller, job_id: str, seconds: float, report=None) -> JobView:
        """Report twice what is new, then wait for the bell, for closing, or until `seconds` are over."""
        if report is not None:
            await report(JOB.view())
            await report(JOB.view())
            await report(JOB.model_copy(update={"detail": "grace runs"}).view())
        self.waiting.set()
        rings = [asyncio.create_task(self.bell.wait()), asyncio.create_task(self.closing.wait())]
        try:
            await asyncio.wait(rings, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.left.set()
            for ring in rings:
                ring.cancel()
        state = self.ends_as if self.bell.is_set() else JobState.WORKING
        return JOB.model_copy(update={"state": state}).view()


@dataclass
class Served:
    """A running gateway of the fixture catalog."""

    url: str
    services: BellServices
    endpoint: McpEndpoint
    runner: web.AppRunner

    @property
    def mcp(self) -> str:
        """The address of the streamable HTTP endpoint."""
        return f"{self.url}/mcp"


@asynccontextmanager
async def bell_services(memory=None) -> AsyncIterator[BellServices]:
    """Yield services over a Redis in this process; replicas share its `memory`."""
    backend = Backend(None, durable=False, words="", fake=memory or FakeServer())
    keys = Keys("simulated")
    async with backend.open(PATIENT) as redis, backend.open(FOLLOWING) as following:
        feed = Feed(following, Jobs(redis, keys, days=1), lambda _name, _generation: None)
        async with feed.running():
            yield BellServices(feed, Mailboxes(redis, keys), Sealing(redis, keys, None))


@asynccontextmanager
async def serving(server=None, memory=None, **options) -> AsyncIterator[Served]:
    """Serve the fixture catalog, or another MCP server, on a free loopback port; replicas share a `memory`."""
    async with bell_services(memory) as services, _serving(services, server, options) as served:
        yield served


@asynccontextmanager
async def _serving(services, server, options) -> AsyncIterator[Served]:
    endpoint = McpEndpoint(server or build_server(CATALOG, lambda: services), services, **options)
    app = new_app()
    app[SERVICES] = services
    endpoint.mount(app)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=2 * SOON_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield Served(f"http://127.0.0.1:{port}", services, endpoint, runner)
    finally:
        await runner.cleanup()


async def soon(awaitable):
    """Wait for what must happen; a call that waits for a job would wait longer."""
    async with asyncio.timeout(SOON_SECONDS):
        return await awaitable


def modern(method, params=None, *, id=1, name=None):
    """Return body and headers of a stateless request."""
    meta = {"_meta": ENVELOPE | (params or {}).get("_meta", {})}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method} | ({"Mcp-Name": name} if name else {})
    return {
        "json": {"jsonrpc": "2.0", "id": id, "method": method, "params": (params or {}) | meta},
        "headers": headers,
    }


def modern_call(tool, arguments=None, **meta):
    return modern("tools/call", {"name": tool, "arguments": arguments or {}, "_meta": meta}, name=tool)


def asked(method, params=None, id=1):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


def called(tool, id=1, **meta):
    return asked("tools/call", {"name": tool, "arguments": {}, "_meta": meta}, id)


async def begin(http, served, version="2025-06-18", capabilities=None):
    """Open a session; return the headers of its further requests."""
    params = {
        "protocolVersion": version,
        "capabilities": capabilities or {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    async with http.post(served.mcp, json=asked("initialize", params)) as reply:
        assert reply.status == 200
        assert (await reply.json())["result"]["protocolVersion"] == version
        session = {"Mcp-Session-Id": reply.headers["Mcp-Session-Id"], "MCP-Protocol-Version": version}
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    async with http.post(served.mcp, json=body, headers=session) as reply:
        assert reply.status == 202
    return session


async def events(reply):
    """Yield the messages of an event stream."""
    async for line in reply.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


async def sse_events(reply):
    """Yield name and data of each event."""
    name = None
    async for line in reply.content:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, line[6:].strip().decode()


@asynccontextmanager
async def open_stream(http, served, session):
    async with http.get(served.mcp, headers=session) as reply:
        assert reply.status == 200
        yield reply
