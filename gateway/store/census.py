"""How many jobs of which kind are open: from sets that each save keeps, so that a scrape reads no record."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from redis.exceptions import WatchError

from gateway.core.errors import NewerRecord
from gateway.core.job import JobState
from gateway.store.connection import store_errors
from gateway.store.jobs import Jobs
from gateway.store.records import parse
from gateway.store.standing import KINDS
from gateway.store.writes import OPEN_STATES, write_standing


@dataclass(frozen=True)
class Census:
    """How many jobs are open by kind and state, zeros among them, and since when the first is in each state."""

    open: Mapping[tuple[str, JobState], int]
    since: Mapping[JobState, float | None]


async def census(jobs: Jobs) -> Census:
    """Count the open jobs by kind and state, from the sets that each save keeps; reads no record.

    Raises `StoreError`.
    """
    pipe = jobs.redis.pipeline(transaction=False)
    for index in _sets(jobs).values():
        pipe.zcard(index)
        pipe.zrange(index, 0, 0, withscores=True)
    with store_errors():
        found = await pipe.execute()
    first: dict[JobState, list[float]] = {state: [] for state in OPEN_STATES}
    for (_, state), row in zip(_sets(jobs), found[1::2], strict=True):
        first[state] += [since for _, since in row]
    counted = dict(zip(_sets(jobs), found[::2], strict=True))
    return Census(counted, {state: min(times, default=None) for state, times in first.items()})


def _sets(jobs: Jobs) -> dict[tuple[str, JobState], str]:
    return {(kind, state): jobs.keys.open_as(kind, state) for state in OPEN_STATES for kind in KINDS}


async def recount(jobs: Jobs) -> None:
    """Put the sets of `census` right where they hold more or less than the open jobs.

    Records may be lost with Redis' memory, and a worker of the version before keeps no such sets. Raises `StoreError`.
    """
    sets = list(_sets(jobs).values())
    with store_errors():
        pipe = jobs.redis.pipeline(transaction=True)
        for index in (jobs.keys.active, *sets):
            pipe.zrange(index, 0, -1)
        active, *found = map(set, await pipe.execute())
        for index, ids in zip(sets, found, strict=True):
            if strays := ids - active:
                await jobs.redis.zrem(index, *strays)
        for job_id in active - set().union(*found):
            await _count_in(jobs, job_id.decode())


async def _count_in(jobs: Jobs, job_id: str) -> None:
    """Count one open job; whoever saves it meanwhile counts it himself."""
    async with jobs.redis.pipeline() as pipe:
        with suppress(WatchError, NewerRecord):
            await pipe.watch(jobs.keys.job(job_id))
            job = parse(await pipe.hgetall(jobs.keys.job(job_id)))
            pipe.multi()
            if job is not None:
                write_standing(pipe, jobs.keys, job)
            await pipe.execute()
