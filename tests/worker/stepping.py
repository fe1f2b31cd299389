"""Steps driven by hand: services of two workers on one Redis and one simulated VergeOS, and no worker that runs."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.core.job import Target
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.times import EngineTimes
from gateway.services import open_services
from gateway.store.backend import open_backend
from gateway.store.submission import Draft
from tests.conftest import ROOMY, fast_settings
from worker.advancing import advance
from worker.watcher import Watcher

LONGEST_PAUSE_SECONDS = 0.1


class Crew:
    """Two workers' services; `advance` and `drive` take the steps that arq would have them take."""

    def __init__(self, sim, settings, backend, first, second) -> None:
        self.sim = sim
        self.settings = settings
        self.backend = backend
        self.first = first
        self.second = second
        self.jobs = first.jobs

    async def submit(self, vm, wish, tool="power_off_vm", **more):
        """Accept a wish for a simulated VM; return the job."""
        name = clean(vm.name, NAME_LIMIT)
        target = Target(key=vm.key, machine_key=vm.machine_key, name=name, uuid=vm.uuid)
        draft = Draft(tool=tool, arguments={}, wish=wish, target=target, owner="tester", face="rest", **more)
        return await self.first.submit(draft)

    async def drive(self, job_id, services=None, until=lambda job: False):
        """Take a job's steps when they are due, up to its end or what `until` says of it; return the job."""
        due = 0.0
        while due is not None:
            await asyncio.sleep(min(due, LONGEST_PAUSE_SECONDS))
            due = await advance(services or self.first, job_id)
            if until(job := await self.jobs.get(job_id)):
                return job
        return await self.jobs.get(job_id)

    @asynccontextmanager
    async def watching(self):
        """Let the watcher look while the block lasts."""

        async def look():
            watcher = Watcher(self.first)
            while True:
                await watcher.tick()
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)

        task = asyncio.create_task(look())
        try:
            yield
        finally:
            while not task.done():  # Python 3.11 may lose a cancel
                task.cancel()
                await asyncio.wait({task}, timeout=0.2)

    def actions(self, vm):
        """Return what reached the simulator about a VM, refused or not, in order."""
        return [action.action for action in self.sim.actions if action.key == vm.key]


@asynccontextmanager
async def crew_on(sim, redis_url, **times):
    """Open a crew with these engine times (in seconds, before they are divided by ten)."""
    settings = fast_settings(sim.url, redis_url, engine=EngineTimes(**{**ROOMY, **times}))
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(settings))
        pair = [await stack.enter_async_context(open_services(settings, backend, worker=True)) for _ in range(2)]
        yield Crew(sim, settings, backend, *pair)
