"""Finds what fell through: jobs without a queued step, wrong counts, and records past their time."""

from gateway.services import Services
from gateway.store.census import recount

LATE_SHARE = 2.0  # of `fallback`: no step asks to be run again later than that


async def sweep(services: Services) -> None:
    """Queue lost steps again, count open jobs right and forget old ones. Raises `StoreError`."""
    services.metrics.swept.inc(await services.jobs.rescue(LATE_SHARE * services.settings.times.fallback))
    await recount(services.jobs)
    await services.jobs.forget_old()
