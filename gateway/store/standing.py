"""How jobs stand: who goes first, at which place they wait, when their end is to be expected."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.decide import DECIDERS
from gateway.core.job import Job, Place
from gateway.store.connection import store_errors
from gateway.store.jobs import Jobs
from gateway.store.records import read_open

MOST_BEFORE = 20  # jobs of one object whose turn is reckoned with
KINDS = tuple(sorted(DECIDERS))


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
    """Return the places of those of the jobs that are open, by id; one round trip, two where some wait in line.

    Raises `StoreError`.
    """
    standing = [job for job in shown if not job.state.final]
    if not standing:
        return {}
    with store_errors():
        now, before, usual = await _read(jobs, standing)
        others = {other for ids in before.values() for other in ids}
        known = {job.id: job for job in await read_open(jobs.redis, jobs.keys, sorted(others))}
    return {job.id: _place(job, before.get(job.id, []), known, usual, now) for job in standing}


async def _read(jobs: Jobs, standing: Sequence[Job]) -> tuple[float, dict[str, list[str]], dict[str, float]]:
    """Return Redis' time, the ids of the jobs that go before each waiting one, and the median seconds of each kind."""
    waiting = [job for job in standing if job.begun_at is None]
    kinds = KINDS if waiting else sorted({job.wish.kind for job in standing})
    pipe = jobs.redis.pipeline(transaction=False)
    pipe.time()
    for job in waiting:
        pipe.lrange(jobs.keys.target_queue(job.target.ref), 0, MOST_BEFORE)
    for kind in kinds:
        pipe.lrange(jobs.keys.durations(kind), 0, -1)
    (seconds, micros), *lists = await pipe.execute()
    queues = [[raw.decode() for raw in queue] for queue in lists[: len(waiting)]]
    taken = zip(kinds, lists[len(waiting) :], strict=True)
    usual = {kind: statistics.median(map(float, times)) for kind, times in taken if times}
    ahead = {
        job.id: queue[: queue.index(job.id)] if job.id in queue else queue
        for job, queue in zip(waiting, queues, strict=True)
    }
    return float(seconds) + float(micros) / 1e6, ahead, usual


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
