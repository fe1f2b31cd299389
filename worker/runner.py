"""The worker's processes: arq with our lease, and beside it the loop that watches and sweeps."""

import asyncio
import os
import secrets
import socket
import time
from contextlib import suppress
from typing import Any, cast

from arq.typing import WorkerCoroutine
from arq.utils import poll
from arq.worker import Retry, Worker, func

from gateway.core.errors import GatewayError
from gateway.services import Services
from gateway.store.connection import RedisClient
from gateway.store.schedule import STEP_FUNCTION
from gateway.telemetry.logs import get_logger
from worker.advancing import advance
from worker.sweeper import sweep
from worker.watcher import Watcher

MAX_STEPS = 100  # steps of one process at once; they are short and mostly wait for the network
QUEUE_READ = 2_000  # more than all workers' steps together: running ones stay in the queue and are read again
FOR_EVER = 10**9  # arq counts every wait as a try
DRAIN_SECONDS = 4  # running steps may end; the rest is cancelled and queued again
CANCEL_AGAIN_SECONDS = 0.25  # longer than giving a step back takes: a second cancel would cut that off
BEFORE_LEASE_ENDS = 0.1  # of the lease: past this the job is someone else's

log = get_logger(__name__)


class StepWorker(Worker):
    """arq's worker with a short lease: a dead worker's step is taken over after seconds, not minutes."""

    def __init__(self, services: Services, redis: RedisClient) -> None:
        times = services.settings.times

        async def step(_ctx: dict[Any, Any], job_id: str) -> None:
            due = await advance(services, job_id)
            if due is not None:
                raise Retry(defer=due)
            self._over.add(job_id)

        super().__init__(
            functions=[func(cast("WorkerCoroutine", step), name=STEP_FUNCTION, max_tries=FOR_EVER)],
            queue_name=services.keys.arq_queue,
            redis_pool=redis,
            handle_signals=False,
            max_jobs=MAX_STEPS,
            queue_read_limit=QUEUE_READ,
            poll_delay=times.poll,
            job_timeout=(times.step + times.lease) / 2,
            keep_result=0,
            job_completion_wait=DRAIN_SECONDS,
            job_serializer=redis.job_serializer,
            job_deserializer=redis.job_deserializer,
            log_results=False,
        )
        self.in_progress_timeout_s = times.lease
        self._began: dict[str, float] = {}
        self._over: set[str] = set()  # jobs that want no further step
        self._picking = asyncio.Lock()

    async def main(self) -> None:
        """Poll for ever; arq's own loop begins with INFO, which fakeredis does not know."""
        async for _ in poll(self.poll_delay_s):
            await self._poll_iteration()

    async def record_health(self) -> None:
        """Write nothing: arq's one key for all workers says nothing, ours is a heartbeat each."""

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start those steps that do not still run here: one that outlived its lease is for another process.

        One by one: a worker that is told to stop in the middle takes no further one.
        """
        running = {job_id.encode() for job_id, task in self.tasks.items() if not task.done()}
        for job_id in job_ids:
            async with self._picking:
                if not self.allow_pick_jobs or self.job_counter >= self.max_jobs:
                    return
                if job_id not in running:
                    await super().start_jobs([job_id])

    async def run_job(self, job_id: str, score: int) -> None:
        """Run one step, remembering when it began."""
        self._began[job_id] = time.monotonic()
        try:
            await super().run_job(job_id, score)
        finally:
            self._began.pop(job_id, None)
            self._over.discard(job_id)

    async def finish_job(self, job_id: str, finish: bool, *rest: Any) -> None:
        """Give the step back, unless the lease is over: then its timer belongs to someone else.

        To arq a step that it cut off has failed and is done for; here it is due again at once.
        """
        if time.monotonic() - self._began[job_id] < self.in_progress_timeout_s * (1 - BEFORE_LEASE_ENDS):
            await super().finish_job(job_id, finish and job_id in self._over, *rest)

    async def drain(self) -> None:
        """Take no more steps, let the running ones end, cancel what is left; no lease stays behind."""
        until = self.loop.time() + DRAIN_SECONDS
        self.allow_pick_jobs = False
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until), self._picking:
                pass  # a lease that was just taken has its step now
        running = set(self.tasks.values())
        if running:
            await asyncio.wait(running, timeout=max(until - self.loop.time(), 0.0))
        await _end(*self.tasks.values(), *([] if self.main_task is None else [self.main_task]))
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)  # Redis away is told once, not by each step


async def run_worker(services: Services, redis: RedisClient, stop: asyncio.Event) -> None:
    """Carry out jobs until `stop` is set, then drain within seconds."""
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"  # hosts and containers may share both
    watching = asyncio.create_task(_watch(services, name), name="watcher")
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            await _run_steps(services, redis, stopping)
    finally:
        await _end(watching, stopping)
        with suppress(GatewayError):
            await services.watching.step_down(name)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait for their end. Python 3.11 may lose a cancel: it is said until it is heard."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)


async def _run_steps(services: Services, redis: RedisClient, stopping: asyncio.Task[Any]) -> None:
    """Run arq's worker until `stopping`, or until Redis was away for longer than its pool rides out."""
    worker = StepWorker(services, redis)
    main = asyncio.create_task(worker.async_run(), name="steps")
    await asyncio.wait({main, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await worker.drain()
    (error,) = await asyncio.gather(main, return_exceptions=True)
    if isinstance(error, Exception):
        log.warning("worker interrupted, starting over", error=type(error).__name__)
        await asyncio.wait({stopping}, timeout=services.settings.times.backoff_first)


async def _watch(services: Services, name: str) -> None:
    """Beat, lead where nobody else does, and while leading look at what jobs wait for and sweep."""
    times, watcher, swept_at = services.settings.times, Watcher(services), 0.0
    while True:
        try:
            await services.watching.beat(name)
            if await services.watching.lead(name, times.leader):
                await watcher.tick()
                if time.monotonic() - swept_at >= times.sweep:
                    swept_at = time.monotonic()
                    await sweep(services)
        except GatewayError as exc:
            log.warning("watcher interrupted", error=exc.code)
        except Exception:
            log.exception("watcher failed")
        await asyncio.sleep(times.watch_fast / 4)
