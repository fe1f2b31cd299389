"""A small house of lamps behind the REST face: every kind of tool, on a real server, over the real store."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from arq import ArqRedis
from fakeredis import FakeAsyncRedisConnection, FakeServer
from pydantic import BaseModel, Field
from redis.asyncio import ConnectionPool

from gateway.calls import Call, Face
from gateway.core.access import LOCAL, Permission
from gateway.core.answer import Page, Reading, Source
from gateway.core.errors import GatewayError, UnknownObject
from gateway.core.job import JobState, JobView, Ordered, Problem, Question, Target
from gateway.core.tool import Catalog, Effect, tool
from gateway.core.wishes import PowerOff
from gateway.rights.directory import Directory
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.api_keys import ApiKeys
from gateway.store.audit import AuditTrail
from gateway.store.caller_limits import CallerLimits
from gateway.store.connection import serving_json
from gateway.store.events import Feed
from gateway.store.freezing import Freezing
from gateway.store.jobs import Jobs
from gateway.store.keys import Keys
from gateway.store.mailboxes import Mailboxes
from gateway.store.sealing import Sealing
from gateway.store.submission import Draft
from gateway.store.watching import Watching
from gateway.telemetry.archive import Archive
from gateway.telemetry.metrics import Metrics
from gateway.transports import docs_page, events, probes, problems, rest
from gateway.transports.context import CATALOG, SERVICES
from tests.conftest import eventually

AS_OF = 1_700_000_000.25


class Lamp(BaseModel):
    id: int
    name: str
    lit: bool
    colour: str | None = None


class Told(BaseModel):
    """What a tool was told, for tests that look at arguments."""

    told: dict


LAMPS = tuple(Lamp(id=number, name=f"lamp-{number}", lit=number % 2 == 0) for number in range(1, 8))


def every_failure(root=GatewayError):
    """Return the failure classes of the whole tree, by code."""
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= every_failure(child)
    return found


@tool("GET /lamps", permission=Permission.READ, effect=Effect.READ)
async def list_lamps(call, *, lit: bool | None = None, limit: int = 3, offset: int = 0) -> Page[Lamp]:
    """List the lamps."""
    found = [lamp for lamp in LAMPS if lit in (None, lamp.lit)]
    following = offset + limit if offset + limit < len(found) else None
    return Page[Lamp](
        items=tuple(found[offset : offset + limit]),
        total=len(found),
        next=following,
        as_of=AS_OF,
        source=Source.CACHE,
    )


@tool("GET /lamps/{id}", permission=Permission.READ, effect=Effect.READ)
async def get_lamp(call, *, id: int | str) -> Reading[Lamp]:
    """Get one lamp, by id or name."""
    for lamp in LAMPS:
        if str(id) in (str(lamp.id), lamp.name):
            return Reading[Lamp](value=lamp, as_of=AS_OF, source=Source.LIVE)
    raise UnknownObject(f"there is no lamp {id}")


@tool(
    "POST /lamps/{id}/off", permission=Permission.OPERATE, effect=Effect.CHANGE, escalates={"force": Permission.FORCE}
)
async def lamp_off(call, *, id: int, wait_timeout: int = 0, force: bool | None = None) -> Ordered:
    """Put a lamp out; makes a job."""
    return await call.services.submit(
        Draft(
            tool="lamp_off",
            arguments={"id": id},
            wish=PowerOff(wait_seconds=wait_timeout, force=force),
            target=Target(key=id, machine_key=100 + id, name=f"lamp-{id}", uuid=f"u-{id}"),
            owner=call.caller.name,
            face=call.face.value,
            client=call.client,
            key=call.idempotency_key,
        )
    )


@tool("PUT /lamps/{id}", "DELETE /lamps/{id}", permission=Permission.CHANGE, effect=Effect.CHANGE)
async def paint_lamp(
    call, *, id: Annotated[int, Field(ge=1)], colour: str = "", layers: list[str] | None = None
) -> Told:
    """Paint a lamp; tells what it was told."""
    return Told(told={"id": id, "colour": colour, "layers": layers})


@tool("GET /jobs/{id}", permission=Permission.READ, effect=Effect.READ)
async def show_job(call, *, id: str, wait: Annotated[int, Field(ge=0, le=45)] = 0) -> JobView:
    """Show a job, after up to `wait` seconds."""
    return await call.services.follow(call.caller, id, wait)


@tool("GET /failures/{code}", permission=Permission.READ, effect=Effect.READ)
async def fail(call, *, code: str) -> Told:
    """Fail in the way that is asked for; `bug` is a failure that nobody foresaw."""
    if code == "bug":
        raise RuntimeError("password=hunter2")
    raise every_failure()[code]("it failed", next_step="Try another lamp.", retry_after=2.2, lamp=7, status="lit")


@tool("GET /told", permission=Permission.READ, effect=Effect.READ)
async def tell(
    call, *, count: int | None = None, really: bool | None = None, word: str = "", words: list[str] | None = None
) -> Told:
    """Tell what the call was told, and by whom."""
    call_says = {"client": call.client, "face": call.face, "wait": call.wait_seconds, "may_ask": call.may_ask}
    return Told(told={"count": count, "really": really, "word": word, "words": words, **call_says})


LAMP_TOOLS = Catalog([list_lamps, get_lamp, lamp_off, paint_lamp, show_job, fail, tell])


class House:
    """A served house: its HTTP client, its services, and what a worker would do to its jobs."""

    def __init__(self, client, services, redis):
        self.client = client
        self.services = services
        self.redis = redis

    def __getattr__(self, method):
        """Return the HTTP client's `get`, `post`, …"""
        return getattr(self.client, method)

    async def new_job(self, lamp=1):
        """Return the id of a job that has just been made; no HTTP."""
        job = await lamp_off.run(Call(self.services, LOCAL, Face.REST), id=lamp)
        return job.id

    async def step(self, job_id, **changes):
        """Save one step of a job, as a worker does."""
        held = await self.services.jobs.hold(job_id)
        saved = await self.services.jobs.save(held, held.job.model_copy(update=changes))
        return saved.job

    async def followed(self, times=1):
        """Wait until the jobs have so many followers."""
        await eventually(lambda: self.services.feed.followers == times)

    async def complete(self, job_id):
        now = await self.services.jobs.now()
        return await self.step(job_id, state=JobState.COMPLETED, ended_at=now, detail="dark", result={"lit": False})

    async def fail(self, job_id):
        why = Problem(code="stuck", detail="the switch is stuck", next_step="Pull the plug.")
        now = await self.services.jobs.now()
        return await self.step(job_id, state=JobState.FAILED, ended_at=now, trouble=why)

    async def ask(self, job_id):
        question = Question(text="Pull the plug?", about="force", asked_at=5.0, expires_at=305.0)
        return await self.step(job_id, state=JobState.INPUT_REQUIRED, question=question)


@asynccontextmanager
async def house(*, ping_seconds=None, routes=(), **settings):
    """Serve the lamps on a free loopback port; `ping_seconds` serves the event streams alone, with these pings."""
    redis = FakeServer()
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(_services(redis, Settings(_env_file=None, **settings)))
        app = web.Application()
        app[SERVICES], app[CATALOG] = services, LAMP_TOOLS
        problems.install(app)
        probes.mount(app)
        probes.mount_metrics(app)
        app.add_routes(routes)
        if ping_seconds is None:
            rest.mount(app)
            docs_page.mount(app)
        else:
            events.mount(app, ping_seconds=ping_seconds)
        client = await stack.enter_async_context(TestClient(TestServer(app)))
        yield House(client, services, redis)


class Unasked:
    """Stands where VergeOS' client does: of it only the figures are asked, and it has none."""

    @property
    def governor(self):
        return self

    def measure(self, metrics):
        """Set nothing."""


@asynccontextmanager
async def _redis(server):
    pool = ConnectionPool(connection_class=FakeAsyncRedisConnection, server=server)
    async with serving_json(ArqRedis(pool)) as redis:
        yield redis
    await pool.disconnect()


@asynccontextmanager
async def _services(server, settings):
    """Yield services without VergeOS: the real store in a Redis of this process."""
    async with _redis(server) as redis, _redis(server) as following:
        keys = Keys("house")
        jobs = Jobs(redis, keys, days=1)
        async with Feed(following, jobs, lambda _name, _generation: None).running() as feed:
            yield Services(
                settings=settings,
                keys=keys,
                vergeos=Unasked(),
                site=None,
                jobs=jobs,
                watching=Watching(redis, keys),
                feed=feed,
                mailboxes=Mailboxes(redis, keys),
                sealing=Sealing(redis, keys, None),
                freezing=Freezing(redis, keys),
                protection=None,
                writers=None,
                audit=AuditTrail(redis, keys, Archive(None), "house", lambda event: None),
                views=None,
                directory=Directory(ApiKeys(redis, keys), settings.policy_file),
                limits=CallerLimits(redis, keys),
                metrics=Metrics(),
                closing=asyncio.Event(),
            )


async def told(answer, status=200):
    """Return the JSON of an answer that has this status."""
    assert answer.status == status, await answer.text()
    return await answer.json()


async def problem(answer, status, code):
    """Return the problem document of an answer, which has this status and code."""
    assert (answer.status, answer.content_type) == (status, "application/problem+json"), await answer.text()
    document = await answer.json(content_type=None)
    assert document["code"] == code, document
    return document
