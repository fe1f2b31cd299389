"""Finds what fell through: jobs without a queued step, and records past their time."""

from gateway.services import Services

LATE_SHARE = 2.0  # of `fallback`: no step asks to be run again later than that


async def sweep(services: Services) -> None:
    """Queue lost steps again and forget old jobs. Raises `StoreError`."""
    services.metrics.swept.inc(await services.jobs.rescue(LATE_SHARE * services.settings.times.fallback))
    await services.jobs.forget_old()
