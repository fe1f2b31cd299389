"""Several processes on one Redis, a scripted source of rows, and time that can be moved on."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from gateway.core.access import Permission
from gateway.core.vm import VmRow
from gateway.store.connection import open_redis
from gateway.store.credentials import SharedCredentials
from gateway.store.keys import Keys
from gateway.store.limits import RequestLimits
from gateway.store.rows import ViewStore
from gateway.telemetry.metrics import Metrics
from gateway.vergeos.client import open_client
from gateway.views import Views
from gateway.views.declared import View
from gateway.views.reader import Reader
from gateway.views.remembered import Surroundings
from tests.conftest import PATIENT, eventually

KEYS = Keys("house")
LIFETIME = 30.0


def row(key, name="", **members):
    values = {"running": True, "status": "running", "cpu_cores": 2, "ram_mb": 2048, "os_family": "linux"}
    values |= {"enabled": True, "need_restart": False, "node": "node1", "cluster": "main", "description": ""}
    return VmRow(id=key, name=name or f"vm-{key}", machine_id=key + 100, **(values | members))


class Time:
    """The clock of every process of a test, moved on together with the age of what Redis has."""

    def __init__(self):
        self.ahead, self.stopped_at = 0.0, None

    def clock(self):
        return (time.monotonic() if self.stopped_at is None else self.stopped_at) + self.ahead

    def stops(self):
        """Let only `passes` move it from now on, however slow the machine."""
        self.stopped_at = time.monotonic()

    async def passes(self, seconds, redis):
        self.ahead += seconds
        async for key in redis.scan_iter(match=f"{KEYS.view('*')}"):
            if await redis.hexists(key, "as_of"):
                await redis.hincrbyfloat(key, "as_of", -seconds)


@dataclass
class Asked:
    """A source of rows that counts how often it is asked; it reads its rows, then waits until `open` is set."""

    rows: list = field(default_factory=lambda: [row(1, "web-1"), row(2, "db-1")])
    times: int = 0
    error: Exception | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def query(self, _vergeos):
        self.times += 1
        rows, error = list(self.rows), self.error
        await self.open.wait()
        if error is not None:
            raise error
        return rows

    async def is_asked(self, times=1):
        await eventually(lambda: self.times >= times)


@pytest.fixture
def now():
    return Time()


@pytest.fixture
async def asked():
    source = Asked()
    source.open.set()
    return source


@pytest.fixture
def store(redis):
    return ViewStore(redis, KEYS)


@pytest.fixture
async def process(asked, redis_url, now):
    """Make a reader of the view `things`, as a process of its own has it; all are closed at the end."""
    readers, clients = [], []

    def made(url=redis_url):
        redis = Redis.from_url(url, socket_connect_timeout=5)
        clients.append(redis)
        view = View("things", "things", VmRow, asked.query, lambda r: r.id, lambda r: r.name, LIFETIME, Permission.READ)
        around = Surroundings(None, ViewStore(redis, KEYS), f"process-{len(readers)}", now.clock, time.time)
        readers.append(Reader(view, around))
        return readers[-1]

    yield made
    for reader in readers:
        await reader.close()
    for client in clients:
        await client.aclose()


@pytest.fixture
async def vergeos(settings, redis):
    """The real client, of the simulated VergeOS."""
    limits, credentials = RequestLimits(redis, KEYS), SharedCredentials(redis, KEYS)
    async with open_client(settings, limits, credentials, attempts=1, timeout=10.0) as client:
        yield client


@pytest.fixture
async def replica(vergeos, redis_url, now):
    """Make the views of a process of its own, on the simulated VergeOS."""
    opened = []

    async def made():
        pool = open_redis(redis_url, PATIENT)
        views = Views(vergeos, ViewStore(await pool.__aenter__(), KEYS), Metrics(), clock=now.clock)
        opened.append((views, pool))
        return views

    yield made
    for views, pool in opened:
        await views.close()
        await pool.__aexit__(None, None, None)
