"""A running simulator and a plain client of its API."""

from contextlib import AsyncExitStack

import aiohttp
import pytest

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import eventually


class ApiClient:
    """Asks the simulated API as a client would; answers are (status, JSON or None)."""

    def __init__(self, sim, session):
        self.sim = sim
        self.session = session

    async def ask(self, method, path, body=None, headers=None, **query):
        url = self.sim.url + (path if path.startswith("/") else f"/api/v4/{path}")
        async with self.session.request(method, url, json=body, headers=headers, params=query) as response:
            content = await response.read()
            return response.status, await response.json(content_type=None) if content else None

    async def get(self, path, **query):
        status, content = await self.ask("GET", path, **query)
        assert status == 200, content
        return content

    async def post(self, path, body):
        return await self.ask("POST", path, body)

    async def put(self, path, body):
        return await self.ask("PUT", path, body)

    async def delete(self, path):
        return await self.ask("DELETE", path)

    async def act(self, vm, action, **params):
        return await self.post("vm_actions", {"vm": vm, "action": action, "params": params})

    async def names(self, filter, table="vms"):
        rows = await self.get(table, filter=filter, fields="name", sort="+$key")
        return [row["name"] for row in rows] if isinstance(rows, list) else []


@pytest.fixture
async def start():
    """Starts simulators by settings; each gives its client."""
    async with AsyncExitStack() as stack:

        async def starter(**settings):
            settings.setdefault("time_scale", 20.0)
            sim = await stack.enter_async_context(Simulator(SimulatorSettings(**settings)))
            headers = {"Authorization": "Bearer demo"}
            session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
            return ApiClient(sim, session)

        yield starter


@pytest.fixture
async def api(start):
    """A client of a simulator with 40 VMs, twenty times as quick as a real VergeOS."""
    return await start()


@pytest.fixture
def sim(api):
    return api.sim


@pytest.fixture
def until():
    """Waits until a condition holds, and fails when it never does."""
    return eventually
