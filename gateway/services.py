"""Everything a call or a step may reach, opened and closed in one place."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.core.access import Caller, Permission
from gateway.core.audit import accepted, decided_by
from gateway.core.details import details
from gateway.core.errors import Forbidden
from gateway.core.events import JobEvent
from gateway.core.guard import READ_ONLY, Freeze
from gateway.core.job import REASON_LIMIT, Job, JobView, Target
from gateway.core.outage import outage_words
from gateway.core.spender import Spender
from gateway.core.text import clean
from gateway.rights.directory import Directory
from gateway.settings import Settings
from gateway.store.agent_stops import AgentStops
from gateway.store.api_keys import ApiKeys
from gateway.store.audit import AuditTrail, open_trail
from gateway.store.backend import Backend
from gateway.store.caller_limits import CallerLimits
from gateway.store.census import census
from gateway.store.connection import FOLLOWING, WORKING, RedisClient, serving
from gateway.store.credentials import SharedCredentials
from gateway.store.enrolled import Enrolled
from gateway.store.events import Feed
from gateway.store.freezing import Freezing
from gateway.store.jobs import Jobs, unknown_job
from gateway.store.keys import Keys
from gateway.store.limits import RequestLimits
from gateway.store.mailboxes import Mailboxes
from gateway.store.own_vms import OwnVms
from gateway.store.rows import ViewStore
from gateway.store.sealing import Sealing
from gateway.store.standing import backlog, places
from gateway.store.submission import Draft, Rules, Submitted, submit
from gateway.store.watching import Watching
from gateway.telemetry.metrics import Metrics
from gateway.vergeos.client import VergeClient, open_client
from gateway.vergeos.site import SiteCheck
from gateway.vergeos.writers import Writers
from gateway.views import Views
from gateway.views.facts import facts_of_target
from gateway.views.noticing import Noticing
from gateway.views.platform import show_platform
from gateway.views.protection import Protection
from gateway.views.sight import job_filter

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
    writers: Writers
    freezing: Freezing
    protection: Protection
    audit: AuditTrail
    views: Views
    directory: Directory
    limits: CallerLimits
    metrics: Metrics
    closing: asyncio.Event

    async def submit(self, draft: Draft) -> Job:
        """Accept a wish; the job's `note` tells a caller who came second. Raises as `submission.submit`."""
        settings = self.settings
        stops = AgentStops(settings.agent_stops_per_10_minutes, settings.agent_stops_per_day)
        rules = Rules(settings.same_call_seconds, stops, most_open=settings.jobs_open_per_caller)
        submitted: Submitted = await submit(self.jobs, draft, rules)
        accepted(submitted.job.id, submitted.note or "")
        return submitted.job.model_copy(update={"note": submitted.note})

    async def freeze(self, by: str, why: str, until: float | None = None) -> Freeze:
        """Stop all changes and let every open job say so. Raises `InvalidArgument`, `StoreError`."""
        begun = await self.freezing.begin(by, clean(why, REASON_LIMIT), until)
        await self.jobs.wake([job.id for job in await self.jobs.open()])
        return begun

    async def unfreeze(self) -> Freeze | None:
        """End the freeze and let every held job go on; return the freeze that was. Raises `StoreError`."""
        ended = await self.freezing.end()
        await self.jobs.wake([job.id for job in await self.jobs.open()])
        return ended

    async def seen_jobs(self, caller: Caller) -> Callable[[Job], bool] | None:
        """Return what tells which jobs a caller may see, those of the objects that he sees; None = all."""
        right = caller.right
        return None if right is None or right.sees_all else await job_filter(self.views, right, self.keys.site)

    def noticing(self, caller: Caller) -> Noticing | None:
        """Return what tells which changes a caller hears of, those of what he sees; None = all."""
        right = caller.right
        if right is None or not right.sight_fields:
            return None
        return Noticing(self.views, right, self.keys.site, Spender.calling(caller))

    async def job_for(self, caller: Caller, job_id: str) -> Job:
        """Return a job that the caller may see. Raises `UnknownJob`, `StoreError`.

        What he may see is known first, so that a job which is hidden costs what one costs that there is not.
        """
        seen = await self.seen_jobs(caller)
        job = await self.jobs.get(job_id)
        if seen is not None and not seen(job):
            raise unknown_job(job_id)
        return job

    async def require_on(self, caller: Caller, permissions: Iterable[Permission], target: Target) -> None:
        """Raise `Forbidden` unless the caller holds these permissions on an object; or an UpstreamError."""
        right = caller.right
        if right is None or not right.fields:
            return
        facts, right = await facts_of_target(self.views, target, right, self.keys.site)
        for permission in sorted(permissions):
            verdict = right.decide(permission, facts)
            decided_by(verdict.rule)
            if not verdict.allowed:
                told = f"{caller.name} may not '{permission}' {target.name}: {verdict.rule}"
                raise Forbidden(told, permission=permission.value)

    async def show(self, job: Job) -> JobView:
        """Return what callers see of a job, after this process knows what the job changed."""
        (view,) = await self.show_all([job])
        return view

    async def show_all(self, jobs: Sequence[Job]) -> list[JobView]:
        """Return what callers see of these jobs, as `show` does."""
        for job in jobs:
            for view, generation in job.touched.items():
                self.views.forget(view, generation)
        standing = await places(self.jobs, jobs)
        return [job.view(standing.get(job.id)) for job in jobs]

    @property
    def guarded(self) -> bool:
        """Whether callers must prove who they are."""
        settings = self.settings
        return bool(settings.oidc_issuer) or settings.listens_beyond_loopback or self.directory.keys_in_use

    async def outage(self, *, of_all: bool = True) -> str | None:
        """Return what a person is told while VergeOS cannot be seen, None while it can. Raises `StoreError`.

        What becomes of the jobs is for who may see `of_all`: it counts them.
        """
        since = await self.watching.blind_since()
        if since is None:
            return None
        if not of_all:
            return outage_words(since, await self.jobs.now(), held=0, unbegun=0)
        waiting, now, times = await backlog(self.jobs), await self.jobs.now(), self.settings.times
        return outage_words(
            since,
            now,
            held=waiting.open - waiting.unbegun,
            unbegun=waiting.unbegun,
            expire_first=None if waiting.oldest is None else waiting.oldest + times.begin_within,
            expire_last=None if waiting.newest is None else waiting.newest + times.begin_within,
            gap_asks_after=times.gap_asks_after,
        )

    async def details(self, job_id: str) -> dict[str, Any]:
        """Return all that a job's record tells, ready for JSON. Raises `UnknownJob`, `StoreError`."""
        jobs = self.jobs
        return details(await jobs.get(job_id), await jobs.calls(job_id), await jobs.events(job_id))

    async def follow(self, caller: Caller, job_id: str, seconds: float, report: Report | None = None) -> JobView:
        """Wait up to `seconds` for a job's end, or its question, and return its present view.

        `report` hears of each change meanwhile. Raises `TooManyWaits`, `UnknownJob`, `StoreError`.
        """
        if seconds > 0:
            async with self.limits.waiting(caller, seconds):
                await self.first_of(self._ended(job_id, report), seconds=seconds)
        return await self.show(await self.jobs.get(job_id))

    async def first_of(self, *awaited: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
        """Wait until one of these is done, the time is over, or the process stops; the others are cancelled.

        Raises what one that is done raised.
        """
        tasks = [asyncio.create_task(waiting) for waiting in (*awaited, self._stopping())]
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self, job_id: str, question: str) -> None:
        """Wait until a job no longer asks the question of this key, whoever settled it. Raises as `follow`."""
        async with aclosing(self._events(job_id)) as events:
            async for _ in events:
                asked = (await self.jobs.get(job_id)).asks
                if asked is None or asked.key != question:
                    return

    async def _stopping(self) -> None:
        await self.closing.wait()

    async def measure(self) -> None:
        """Set the gauges of queue, open jobs, workers, followers and sight, as Redis has them. Raises `StoreError`."""
        metrics, now = self.metrics, await self.jobs.now()
        ready, lag = await self.jobs.due(now)
        metrics.queue_ready.set(ready)
        metrics.queue_lag.set(lag)
        metrics.queue_deferred.set(await self.jobs.due_later(now))
        metrics.leader.set(await self.watching.led())
        metrics.workers.set(await self.watching.workers())
        freeze = await self.freezing.present()
        metrics.show_freeze(None if freeze is None else "setting" if freeze is READ_ONLY else "freeze")
        metrics.followers.set(self.feed.followers)
        since = await self.watching.blind_since()
        metrics.blind.set(0.0 if since is None else max(now - since, 0.0))
        counted = await census(self.jobs)
        ages = {state: 0.0 if since is None else now - since for state, since in counted.since.items()}
        metrics.show_open(counted.open, ages)
        self.vergeos.governor.measure(metrics)
        if metrics.platform is not None:
            await show_platform(self.views, metrics.platform)

    async def _ended(self, job_id: str, report: Report | None) -> None:
        """Return once the job has ended or asks something."""
        async with aclosing(self._events(job_id)) as events:
            async for event in events:
                if report is not None:
                    await report((await self.jobs.get(job_id)).view())
                if event.state.final or (event.question is not None and (await self.jobs.get(job_id)).asks):
                    return

    async def _events(self, job_id: str) -> AsyncGenerator[JobEvent, None]:
        """Yield a job's events, those of the past first; a broken stream is taken up again."""
        seen = 0
        while True:
            async with self.feed.follow(job_id, seen) as events:
                async for event in events:
                    seen = event.seq
                    yield event
                    if event.state.final:
                        return


@asynccontextmanager
async def open_services(
    settings: Settings, backend: Backend, *, worker: bool = False, metrics: Metrics | None = None
) -> AsyncIterator[Services]:
    """Open what a gateway, or with `worker` a worker, works with; close it all at the end of the block.

    `metrics` are shared by the parts of one process.
    """
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(backend.open(WORKING if worker else serving(settings.redis_timeout)))
        following = await stack.enter_async_context(backend.open(FOLLOWING))
        metrics = metrics or Metrics(platform=settings.platform_metrics and not worker)
        ground = _Ground(settings, redis, Keys(settings.site), metrics, worker)
        client = await stack.enter_async_context(ground.client(settings))
        audit = await stack.enter_async_context(open_trail(redis, ground.keys, settings.audit_log, metrics.audited))
        services = _built(ground, client, audit, following)
        for part in (services.views, services.directory, services.writers, services.limits):
            stack.push_async_callback(part.close)
        if not worker:
            await stack.enter_async_context(services.feed.running())
        yield services


@dataclass(frozen=True)
class _Ground:
    """What the parts of one process stand on, and whether it is a worker."""

    settings: Settings
    redis: RedisClient
    keys: Keys
    metrics: Metrics
    worker: bool

    def client(self, settings: Settings) -> AbstractAsyncContextManager[VergeClient]:
        """Return the context of a client with the credentials of `settings`; a worker's tries once and never waits."""
        return open_client(
            settings,
            RequestLimits(self.redis, self.keys),
            SharedCredentials(self.redis, self.keys),
            attempts=1 if self.worker else 3,
            wait=not self.worker,
            timeout=settings.times.request if self.worker else None,
            observe=self.metrics.sent,
        )

    def views(self, client: VergeClient) -> Views:
        store, stale_seconds = ViewStore(self.redis, self.keys), self.settings.stale_seconds
        return Views(client, store, self.metrics, stale_seconds=stale_seconds, pace=client.governor)

    def sealing(self) -> Sealing:
        secret = self.settings.gateway_secret_key
        return Sealing(self.redis, self.keys, None if secret is None else secret.get_secret_value())

    def writers(self, client: VergeClient, sealing: Sealing) -> Writers:
        durable = self.settings.gateway_secret_key is not None
        enrolled = Enrolled(self.redis, self.keys, sealing, durable=durable)
        return Writers(self.settings, client, enrolled, lambda key: self.client(self.settings.showing(key)))

    def limits(self) -> CallerLimits:
        calls, waits = self.settings.calls_per_minute, self.settings.waits_per_caller
        return CallerLimits(self.redis, self.keys, calls_per_minute=calls, waits=waits, refused=self.metrics.limited)

    def protection(self, directory: Directory, views: Views) -> Protection:
        guards = self.settings.guards
        return Protection(lambda: guards.joined(directory.present_guards()), views, OwnVms(self.redis, self.keys))


def _built(ground: _Ground, client: VergeClient, audit: AuditTrail, following: RedisClient) -> Services:
    """Return the parts that need no opening, each with those that it works with."""
    settings, redis, keys, metrics = ground.settings, ground.redis, ground.keys, ground.metrics
    jobs, views, sealing = Jobs(redis, keys, days=settings.job_days), ground.views(client), ground.sealing()
    directory = Directory(ApiKeys(redis, keys), settings.policy_file)
    return Services(
        settings=settings,
        keys=keys,
        vergeos=client,
        site=SiteCheck(client, redis, keys),
        jobs=jobs,
        watching=Watching(redis, keys),
        feed=Feed(following, jobs, views.forget, dropped=metrics.followers_dropped.inc),
        mailboxes=Mailboxes(redis, keys),
        sealing=sealing,
        writers=ground.writers(client, sealing),
        freezing=Freezing(redis, keys, read_only=settings.read_only),
        protection=ground.protection(directory, views),
        audit=audit,
        views=views,
        directory=directory,
        limits=ground.limits(),
        metrics=metrics,
        closing=asyncio.Event(),
    )
