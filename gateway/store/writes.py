"""The commands that write a job: its record and indexes at each save, what an end closes, and its events."""

from collections.abc import Sequence
from typing import Any

import orjson

from gateway.core.events import JobEvent
from gateway.core.job import Job, JobState
from gateway.core.trail import UpstreamCall
from gateway.store.keys import (
    DURATION_SECONDS,
    DURATIONS_KEPT,
    EVENT_STREAM_LENGTH,
    IDEMPOTENCY_SECONDS,
    JOB_CALLS_KEPT,
    JOB_EVENTS_KEPT,
    Keys,
)
from gateway.store.records import dump

OPEN_STATES = (JobState.WORKING, JobState.INPUT_REQUIRED)


def write_job(pipe: Any, keys: Keys, job: Job, watch: bytes | None, *, tell: bool) -> None:
    """Add the commands that keep an open job as it is now; `watch` is what the watcher must know of its wait."""
    pipe.hset(keys.job(job.id), "record", dump(job))
    pipe.zadd(keys.active, {job.id: job.progress_at})
    write_standing(pipe, keys, job)
    if job.begun_at is None:
        pipe.zadd(keys.unbegun, {job.id: job.created_at})
    else:
        pipe.zrem(keys.unbegun, job.id)
    if watch is None:
        pipe.hdel(keys.waits, job.id)
    else:
        pipe.hset(keys.waits, job.id, watch)
    if tell:
        write_event(pipe, keys, job)


def write_standing(pipe: Any, keys: Keys, job: Job) -> None:
    """Add the commands that count a job among those of its kind and state, an ended one among none."""
    for state in OPEN_STATES:
        if job.state is state:
            since = job.created_at if job.asks is None else job.asks.asked_at
            pipe.zadd(keys.open_as(job.wish.kind, state), {job.id: since})
        else:
            pipe.zrem(keys.open_as(job.wish.kind, state), job.id)


def close_job(pipe: Any, keys: Keys, job: Job, fields: dict[bytes, bytes], now: float, life_seconds: int) -> None:
    """Add the commands that close an ended job: it leaves the queue and all lists of open jobs, its keys run out."""
    for index in (keys.active, keys.unbegun):
        pipe.zrem(index, job.id)
    for members in (keys.asked, keys.open_of(fields.get(b"owner", job.owner.encode()).decode())):
        pipe.srem(members, job.id)
    pipe.lrem(keys.target_queue(job.target.ref), 0, job.id)
    for key in (keys.job(job.id), keys.job_events(job.id), keys.job_calls(job.id)):
        pipe.expire(key, life_seconds)
    for idempotency_key in orjson.loads(fields.get(b"idem", b"[]")):
        pipe.expire(idempotency_key, IDEMPOTENCY_SECONDS)
    if job.state is JobState.COMPLETED and job.begun_at is not None:
        durations = keys.durations(job.wish.kind)
        pipe.lpush(durations, round(now - job.begun_at, 3))
        pipe.ltrim(durations, 0, DURATIONS_KEPT - 1)
        pipe.expire(durations, DURATION_SECONDS)


def add_calls(pipe: Any, keys: Keys, job_id: str, calls: Sequence[UpstreamCall]) -> None:
    """Add the commands that append a job's requests to VergeOS."""
    if calls:
        pipe.rpush(keys.job_calls(job_id), *(call.model_dump_json() for call in calls))
        pipe.ltrim(keys.job_calls(job_id), -JOB_CALLS_KEPT, -1)


def write_event(pipe: Any, keys: Keys, job: Job) -> None:
    """Add the commands that append the job's present state to its own events and to the fan-out stream."""
    event = JobEvent.of(job).model_dump_json(exclude_none=True)
    pipe.rpush(keys.job_events(job.id), event)
    pipe.ltrim(keys.job_events(job.id), -JOB_EVENTS_KEPT, -1)
    pipe.xadd(keys.events, {"job": event}, maxlen=EVENT_STREAM_LENGTH, approximate=True)
