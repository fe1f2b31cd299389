"""How jobs stand: who goes first, at which place they wait, when their end is to be expected."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.job import Job, Place
from gateway.store.connection import redis_time, store_errors
from gateway.store.jobs import Jobs
from gateway.store.records import read_many

MOST_BEFORE = 20  # jobs of one object whose turn is reckoned with


@dataclass(frozen=True)
class Backlog:
    """How many jobs are open, how many of them have not begun, and when the first and last of those were made."""

    open: int
    unbegun: int
    oldest: float | None = None
    newest: float | None = None


async def backlog(jobs: Jobs) -> Backlog:
    """Count the open jobs; reads no record. Raises `StoreError`."""
    keys = jobs.keys
    with store_errors():
        pipe = jobs.redis.pipeline(transaction=False)
        pipe.zcard(keys.active)
        pipe.zcard(keys.unbegun)
        pipe.zrange(keys.unbegun, 0, 0, withscores=True)
        pipe.zrange(keys.unbegun, -1, -1, withscores=True)
        open_jobs, unbegun, oldest, newest = await pipe.execute()
    return Backlog(open_jobs, unbegun, *(row[0][1] if row else None for row in (oldest, newest)))


async def places(jobs: Jobs, shown: Iterable[Job]) -> dict[str, Place]:
    """Return the places of those of the jobs that are open, by id, in few round trips. Raises `StoreError`."""
    standing = [job for job in shown if not job.state.final]
    if not standing:
        return {}
    with store_errors():
        now = await redis_time(jobs.redis)
        before = await _queues(jobs, [job for job in standing if job.begun_at is None])
        others = {other for ids in before.values() for other in ids}
        known = {job.id: job for job in await read_many(jobs.redis, jobs.keys, others)}
        known |= {job.id: job for job in standing}
        usual = await _usual_seconds(jobs, {job.wish.kind for job in known.values()})
    return {job.id: _place(job, before.get(job.id, []), known, usual, now) for job in standing}


async def _queues(jobs: Jobs, waiting: Sequence[Job]) -> dict[str, list[str]]:
    """Return the ids of the jobs that go before each of these."""
    pipe = jobs.redis.pipeline(transaction=False)
    for job in waiting:
        pipe.lrange(jobs.keys.target_queue(job.target.ref), 0, MOST_BEFORE)
    queues = [[raw.decode() for raw in queue] for queue in await pipe.execute()]
    return {
        job.id: queue[: queue.index(job.id)] if job.id in queue else queue
        for job, queue in zip(waiting, queues, strict=True)
    }


async def _usual_seconds(jobs: Jobs, kinds: Iterable[str]) -> dict[str, float]:
    """Return the median time of the last jobs of each kind that completed, for the kinds that have one."""
    names = sorted(kinds)
    pipe = jobs.redis.pipeline(transaction=False)
    for name in names:
        pipe.lrange(jobs.keys.durations(name), 0, -1)
    taken = zip(names, await pipe.execute(), strict=True)
    return {name: statistics.median(map(float, seconds)) for name, seconds in taken if seconds}


def _place(job: Job, ahead: Sequence[str], known: Mapping[str, Job], usual: Mapping[str, float], now: float) -> Place:
    if not ahead:
        return Place(expected_end_at=_end((job,), usual, now))
    line = [known.get(other) for other in ahead]
    return Place(ahead[0], len(ahead) + 1, line[0], _end((*line, job), usual, now))


def _end(line: Iterable[Job | None], usual: Mapping[str, float], now: float) -> int | None:
    """Return when the last of these jobs usually ends; None where that is not known of all."""
    left = [None if job is None else _left(job, usual, now) for job in line]
    known = [seconds for seconds in left if seconds is not None]
    return round(now + sum(known)) if len(known) == len(left) else None


def _left(job: Job, usual: Mapping[str, float], now: float) -> float | None:
    """Return the seconds a job usually still takes; None where that is not known, or it takes longer than usual."""
    seconds = usual.get(job.wish.kind)
    if seconds is None or job.begun_at is None:
        return seconds
    left = job.begun_at + seconds - now
    return left if left > 0 else None
