"""Everything a call or a step may reach, opened and closed in one place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.core.job import Job, JobView
from gateway.settings import Settings
from gateway.store.backend import Backend
from gateway.store.connection import FOLLOWING, SERVING, WORKING, Deadlines
from gateway.store.credentials import SharedCredentials
from gateway.store.events import Feed
from gateway.store.jobs import Jobs
from gateway.store.keys import Keys
from gateway.store.limits import RequestLimits
from gateway.store.mailboxes import Mailboxes
from gateway.store.rows import ViewStore
from gateway.store.sealing import Sealing
from gateway.store.submission import Draft, Submitted, submit
from gateway.store.watching import Watching
from gateway.telemetry.metrics import Metrics
from gateway.vergeos.client import VergeClient, open_client
from gateway.vergeos.site import SiteCheck
from gateway.views import Views

Report = Callable[[JobView], Awaitable[None]]


@dataclass(frozen=True)
class Services:
    """What one process works with. `closing` is set when it stops: every wait ends at once then."""

    settings: Settings
    keys: Keys
    vergeos: VergeClient
    site: SiteCheck
    jobs: Jobs
    watching: Watching
    feed: Feed
    mailboxes: Mailboxes
    sealing: Sealing
    views: Views
    metrics: Metrics
    closing: asyncio.Event

    async def submit(self, draft: Draft) -> Job:
        """Accept a wish; the job's `note` tells a caller who came second. Raises as `submission.submit`."""
        submitted: Submitted = await submit(self.jobs, draft, same_call_seconds=self.settings.same_call_seconds)
        return submitted.job.model_copy(update={"note": submitted.note})

    async def show(self, job: Job) -> JobView:
        """Return what callers see of a job, after this process knows what the job changed."""
        for view, generation in job.touched.items():
            self.views.forget(view, generation)
        return await self.jobs.view(job)

    async def follow(self, job_id: str, seconds: float, report: Report | None = None) -> JobView:
        """Wait up to `seconds` for a job's end, or its question, and return its present view.

        `report` hears of each change meanwhile. Raises `UnknownJob`, `StoreError`.
        """
        ended = asyncio.create_task(self._ended(job_id, report))
        closing = asyncio.create_task(self.closing.wait())
        try:
            if seconds > 0:
                await asyncio.wait({ended, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    ended.result()
        finally:
            for task in (ended, closing):
                task.cancel()
            await asyncio.gather(ended, closing, return_exceptions=True)
        return await self.show(await self.jobs.get(job_id))

    async def measure(self) -> None:
        """Set the gauges of queue, open jobs, workers, followers and sight. Raises `StoreError`."""
        metrics, now = self.metrics, await self.jobs.now()
        ready, lag = await self.jobs.due(now)
        metrics.queue_ready.set(ready)
        metrics.queue_lag.set(lag)
        metrics.workers.set(await self.watching.workers())
        metrics.followers.set(self.feed.followers)
        since = await self.watching.blind_since()
        metrics.blind.set(0.0 if since is None else max(now - since, 0.0))
        metrics.jobs_open.clear()
        for job in await self.jobs.open():
            metrics.jobs_open.labels(job.wish.kind, job.state.value).inc()

    async def _ended(self, job_id: str, report: Report | None) -> None:
        """Return once the job has ended or asks something; a broken stream is taken up again."""
        seen = 0
        while True:
            async with self.feed.follow(job_id, seen) as events:
                async for event in events:
                    seen = event.seq
                    if report is not None:
                        await report(await self.jobs.view(await self.jobs.get(job_id)))
                    if event.state.final or event.question is not None:
                        return


@asynccontextmanager
async def open_services(
    settings: Settings, backend: Backend, *, worker: bool = False, metrics: Metrics | None = None
) -> AsyncIterator[Services]:
    """Open what a gateway, or with `worker` a worker, works with; close it all at the end of the block.

    `metrics` are shared by the parts of one process.
    """
    async with AsyncExitStack() as stack:
        deadlines: Deadlines = WORKING if worker else SERVING
        redis = await stack.enter_async_context(backend.open(deadlines))
        following = await stack.enter_async_context(backend.open(FOLLOWING))
        keys = Keys(settings.site)
        metrics = metrics or Metrics()
        client = await stack.enter_async_context(
            open_client(
                settings,
                RequestLimits(redis, keys),
                SharedCredentials(redis, keys),
                attempts=1 if worker else 3,
                wait=not worker,
                timeout=settings.times.request if worker else None,
                observe=metrics.sent,
            )
        )
        jobs = Jobs(redis, keys, days=settings.job_days)
        views = Views(client, ViewStore(redis, keys), metrics)
        stack.push_async_callback(views.close)
        feed = Feed(following, jobs, views.forget)
        secret = settings.gateway_secret_key
        if not worker:
            await stack.enter_async_context(feed.running())
        yield Services(
            settings=settings,
            keys=keys,
            vergeos=client,
            site=SiteCheck(client, redis, keys),
            jobs=jobs,
            watching=Watching(redis, keys),
            feed=feed,
            mailboxes=Mailboxes(redis, keys),
            sealing=Sealing(redis, keys, None if secret is None else secret.get_secret_value()),
            views=views,
            metrics=metrics,
            closing=asyncio.Event(),
        )
