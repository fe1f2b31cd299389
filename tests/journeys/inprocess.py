"""A gateway and its workers inside the test's process: everything real but the processes, so that faults are quick."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.app import serve
from gateway.core.access import CallerKind
from gateway.core.times import EngineTimes
from gateway.rights.issuing import issue
from gateway.services import Services, open_services
from gateway.settings import Settings
from gateway.simulator import Simulator
from gateway.store.api_keys import NewKey
from gateway.store.backend import open_backend
from gateway.store.connection import WORKING
from tests.conftest import PATIENCE_SECONDS, ROOMY, eventually, fast_settings
from worker.runner import run_worker

FINAL = {"completed", "failed", "cancelled"}
TRACES = ("Traceback", 'File "', ".py", "Error:", "Exception", "aiohttp", "redis.")


def engine_settings(sim: Simulator, redis_url: str, **times: float) -> Settings:
    """Return settings with these engine times (in seconds, before they are divided by ten)."""
    return fast_settings(sim.url, redis_url, engine=EngineTimes(**{**ROOMY, **times}))


@dataclass(frozen=True)
class Answered:
    """One answer of the gateway: what a caller sees of it."""

    status: int
    headers: Any
    text: str
    body: Any

    def problem(self, status: int, code: str) -> dict[str, Any]:
        """Return the problem document, checked: its code, words for people, a next step, nothing of our insides."""
        assert (self.status, self.body.get("code")) == (status, code), self.text
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert self.body["status"] == status
        assert self.body["detail"]
        assert self.body["next_step"]
        assert not [trace for trace in TRACES if trace in self.text], self.text
        return self.body


class RunningWorker:
    """A worker that runs as a task, with services of its own as a process would have them."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def start(self, settings: Settings, backend) -> None:
        opened = asyncio.Event()

        async def run() -> None:
            async with open_services(settings, backend, worker=True) as services, backend.open(WORKING) as redis:
                opened.set()
                await run_worker(services, redis, self.stop)

        self.task = asyncio.create_task(run(), name="test-worker")
        await opened.wait()

    async def end(self) -> None:
        """Stop it as SIGTERM does, and wait until it has drained."""
        self.stop.set()
        if self.task is not None:
            await self.task


class House:
    """A gateway on a simulated VergeOS; `services` are the gateway's, `working` those of a worker that does not run."""

    def __init__(self, sim: Simulator, settings: Settings, backend, services: Services, working: Services) -> None:
        self.sim = sim
        self.settings = settings
        self.backend = backend
        self.services = services
        self.working = working
        self.url = ""
        self.http: aiohttp.ClientSession | None = None
        self.workers: list[RunningWorker] = []
        self.stopping = asyncio.Event()
        self.serving: asyncio.Task[None] | None = None

    async def key(
        self, name: str, owner: str, role: str = "engineer", kind: CallerKind = CallerKind.PERSON, **more: Any
    ) -> dict[str, str]:
        """Make a key; return the header that shows it."""
        _, token = await issue(self.services.directory, NewKey(name, owner, kind, (role,), **more))
        return {"Authorization": f"Bearer {token}"}

    async def stop(self) -> None:
        """Stop the gateway before the block ends, as SIGTERM does."""
        self.stopping.set()
        if self.serving is not None:
            await self.serving

    async def start_worker(self) -> RunningWorker:
        """Start one more worker and return it."""
        worker = RunningWorker()
        self.workers.append(worker)
        await worker.start(self.settings, self.backend)
        return worker

    async def call(self, method: str, path: str, body: Any = None, headers: Any = None, **query: Any) -> Answered:
        """Send one REST call and return the whole answer."""
        assert self.http is not None
        async with self.http.request(
            method, self.url + path, json=body, headers=headers, params={k: str(v) for k, v in query.items()}
        ) as response:
            text = await response.text()
            return Answered(response.status, response.headers, text, await response.json(content_type=None))

    async def get(self, path: str, **query: Any) -> Answered:
        return await self.call("GET", path, **query)

    async def accepted(self, method: str, path: str, body: Any = None, headers: Any = None) -> dict[str, Any]:
        """Send a call that makes a job; return the job."""
        answered = await self.call(method, path, body, headers)
        assert answered.status == 202, answered.text
        assert answered.headers["Location"] == f"/jobs/{answered.body['id']}"
        return answered.body

    async def power_off(self, vm, headers: Any = None, **body: Any) -> dict[str, Any]:
        return await self.accepted("POST", f"/vms/{vm.key}/poweroff", body, headers)

    async def job(self, job_id: str) -> dict[str, Any]:
        return (await self.get(f"/jobs/{job_id}")).body

    async def ended(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Return a job once it has ended; the gateway does the waiting."""

        async def final():
            job = (await self.get(f"/jobs/{job_id}", wait=5)).body
            return job if job.get("state") in FINAL else None

        return await eventually(final, seconds)

    async def at(self, job_id: str, **wanted: Any) -> dict[str, Any]:
        """Return a job once its members have these values, e.g. `phase="waiting"`."""

        async def there():
            job = await self.job(job_id)
            return job if all(job.get(name) == value for name, value in wanted.items()) else None

        return await eventually(there)


@asynccontextmanager
async def house(sim: Simulator, settings: Settings, *, workers: int = 1):
    """Serve a gateway on a free port, with so many workers, while the block lasts."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(settings))
        services = await stack.enter_async_context(open_services(settings, backend))
        working = await stack.enter_async_context(open_services(settings, backend, worker=True))
        built = House(sim, settings, backend, services, working)
        url = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(services, built.stopping, url.set_result), name="test-gateway")
        built.serving = serving
        try:
            await asyncio.wait({serving, url}, return_when=asyncio.FIRST_COMPLETED)
            built.url = await (url if url.done() else serving)
            for _ in range(workers):
                await built.start_worker()
            async with aiohttp.ClientSession() as built.http:
                yield built
        finally:
            for worker in built.workers:
                await worker.end()
            await built.stop()


async def let_in(houses, name: str, role: str, *select: str, kind=CallerKind.PERSON, owner: str = "") -> dict[str, str]:
    """Give somebody a key; return his headers once all of these gateways know it, and that there are keys at all."""
    new = NewKey(name, owner or name, kind, (role,), select)
    _, token = await issue(houses[0].services.directory, new)
    headers = {"Authorization": f"Bearer {token}"}
    for gateway in houses:
        for shown, status in ((None, 401), (headers, 200)):
            await eventually(lambda: _answers(gateway, shown, status))  # noqa: B023  called at once
    return headers


async def _answers(gateway: House, headers: Any, status: int) -> bool:
    return (await gateway.call("GET", "/tools", headers=headers)).status == status
