"""Finds what fell through: jobs without a queued step, records past their time; and counts what is open."""

from collections import Counter

from gateway.services import Services


async def sweep(services: Services) -> None:
    """Queue lost steps again, forget old jobs, set the gauges. Raises `StoreError`."""
    services.metrics.swept.inc(await services.jobs.rescue())
    await services.jobs.forget_old()
    await count(services)


async def count(services: Services) -> None:
    """Set the gauges of queue, open jobs, workers and sight."""
    metrics, now = services.metrics, await services.jobs.now()
    ready, lag = await services.jobs.due(now)
    metrics.queue_ready.set(ready)
    metrics.queue_lag.set(lag)
    metrics.workers.set(await services.watching.workers())
    since = await services.watching.blind_since()
    metrics.blind.set(0.0 if since is None else max(now - since, 0.0))
    metrics.jobs_open.clear()
    for (kind, state), number in Counter(
        (job.wish.kind, job.state.value) for job in await services.jobs.open()
    ).items():
        metrics.jobs_open.labels(kind, state).set(number)
