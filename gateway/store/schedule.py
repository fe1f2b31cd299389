"""arq's own keys, written by us: when a job's next step is due. One arq job a job, with the same id.

They stand in the same MULTI as the job's record, so that there is no record without its step and no
reading of `enqueue_job`'s None, which may mean "exists already" or "nothing queued".
"""

import time
from collections.abc import Iterable

import orjson
from arq.constants import job_key_prefix

from gateway.core.access import CallerKind
from gateway.store.connection import RedisClient

STEP_FUNCTION = "advance"
CHUNK = 1_000
HEAD_START_SECONDS = 3_600.0  # new jobs stand before all that is due: how late they stand there is their turn
TURN_SECONDS = 0.2  # each open job of its caller puts a new one back by this
BOOST_SECONDS = {CallerKind.PERSON: 20.0, CallerKind.AGENT: 10.0, CallerKind.MACHINE: 0.0}
STEP_LIFE_MS = 31 * 86_400_000  # arq drops a step whose key is gone; longer than any job lives


def turn(now: float, backlog: int, kind: CallerKind) -> float:
    """Return when a new job is due so that all callers take turns, however many jobs one of them has open.

    It lies before `now` whatever the backlog, so nobody waits for it where nothing else is due.
    """
    return min(now - HEAD_START_SECONDS - BOOST_SECONDS[kind] + TURN_SECONDS * backlog, now)


def arm(pipe: RedisClient, queue: str, job_id: str, due_at: float) -> None:
    """Add the commands that make `job_id`'s next step due at `due_at` (Unix seconds), unless it is queued."""
    now_ms = int(time.time() * 1000)
    step: dict[str, object] = {"t": None, "f": STEP_FUNCTION, "a": [job_id], "k": {}, "et": now_ms}
    pipe.psetex(f"{job_key_prefix}{job_id}", STEP_LIFE_MS, orjson.dumps(step))
    pipe.zadd(queue, {job_id: int(due_at * 1000)}, nx=True)


def wake(pipe: RedisClient, queue: str, job_ids: Iterable[str], now: float) -> None:
    """Add the command that pulls forward the queued steps of these jobs to `now`; others are left alone."""
    scores = dict.fromkeys(job_ids, int(now * 1000))
    if scores:
        pipe.zadd(queue, scores, xx=True, lt=True)


async def lost(redis: RedisClient, queue: str, job_ids: Iterable[str], latest: float) -> list[str]:
    """Return those of the jobs that miss their arq job or their place in the queue; two commands for a thousand.

    A place past `latest` (Unix seconds) is none: arq moves a step by adding to its score, and two workers that ran
    the same one, or one whose clock is ahead, move it too far.
    """
    ids, missing = list(job_ids), []
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        steps = [f"{job_key_prefix}{job_id}" for job_id in chunk]
        pipe = redis.pipeline(transaction=False)
        pipe.zmscore(queue, chunk)
        pipe.exists(*steps)
        places, there = await pipe.execute()
        if there < len(chunk):
            for step in steps:
                pipe.exists(step)
            places = [found and place for place, found in zip(places, await pipe.execute(), strict=True)]
        missing += [
            job_id for job_id, place in zip(chunk, places, strict=True) if not place or float(place) > latest * 1000
        ]
    return missing
