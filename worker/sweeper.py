"""Finds what fell through: jobs without a queued step, and records past their time."""

from gateway.services import Services


async def sweep(services: Services) -> None:
    """Queue lost steps again and forget old jobs. Raises `StoreError`."""
    services.metrics.swept.inc(await services.jobs.rescue())
    await services.jobs.forget_old()
