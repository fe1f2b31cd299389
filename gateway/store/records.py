"""How a job's hash is read: the record that its steps write, and beside it what callers asked since."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import orjson
from pydantic import ValidationError

from gateway.core.errors import NewerRecord
from gateway.core.job import RECORD_VERSION, Job, JobState, Joiner, Wished
from gateway.store.connection import RedisClient
from gateway.store.keys import Keys

BESIDE = {"cancel", "joiners", "note"}  # written by callers, so not part of the record that a step writes


def dump(job: Job) -> str:
    """Return the record as the hash keeps it."""
    return job.model_dump_json(exclude=BESIDE)


def dump_joiners(joiners: Iterable[Joiner]) -> bytes:
    """Return the joiners as the hash keeps them."""
    return orjson.dumps([joiner.model_dump(exclude_unset=True) for joiner in joiners])


def parse(fields: dict[bytes, bytes]) -> Job | None:
    """Return the job of a hash with what callers asked of it merged in; None where there is no record.

    Raises `NewerRecord` for one that this version does not understand: a rolling deploy writes such.
    """
    raw = fields.get(b"record")
    if raw is None:
        return None
    if orjson.loads(raw).get("version", 0) > RECORD_VERSION:
        raise NewerRecord("a newer version of the gateway wrote this job")
    try:
        job = Job.model_validate_json(raw)
        update = _asked_since(job, fields)
    except ValidationError:
        raise NewerRecord("this version of the gateway does not understand this job") from None
    return job.model_copy(update=update) if update else job


def _asked_since(job: Job, fields: dict[bytes, bytes]) -> dict[str, Any]:
    update: dict[str, Any] = {}
    if b"cancel" in fields:
        update["cancel"] = Wished.model_validate_json(fields[b"cancel"])
    if b"owner" in fields:
        update["owner"] = fields[b"owner"].decode()
    if b"heir" in fields:
        update |= Joiner.model_validate_json(fields[b"heir"]).takes_over
    if b"joiners" in fields:
        update["joiners"] = tuple(Joiner.model_validate(item) for item in orjson.loads(fields[b"joiners"]))
    if b"answer" in fields and job.question is not None and job.question.yes is None:
        answer = orjson.loads(fields[b"answer"])
        if answer["asked_at"] == job.question.asked_at:
            given = {"yes": answer["yes"], "answered_at": answer["at"]}
            update["question"] = job.question.model_copy(update=given)
            update["state"] = JobState.WORKING
    return update


async def read_many(redis: RedisClient, keys: Keys, job_ids: Iterable[str]) -> list[Job]:
    """Return the jobs of these ids whose record is there and understood, in one round trip."""
    pipe = redis.pipeline(transaction=False)
    for job_id in job_ids:
        pipe.hgetall(keys.job(job_id))
    found: list[Job] = []
    for fields in await pipe.execute():
        with suppress(NewerRecord):
            found.extend([job] if (job := parse(fields)) is not None else [])
    return found


async def kept(redis: RedisClient, keys: Keys, job_ids: Iterable[str]) -> set[str]:
    """Return those of the ids that have a record, understood or not."""
    ids = list(job_ids)
    pipe = redis.pipeline(transaction=False)
    for job_id in ids:
        pipe.exists(keys.job(job_id))
    return {job_id for job_id, there in zip(ids, await pipe.execute(), strict=True) if there}


async def read_queue(redis: RedisClient, keys: Keys, target: str) -> list[Job]:
    """Return the open jobs of an object in their order."""
    return await read_open(redis, keys, [raw.decode() for raw in await redis.lrange(keys.target_queue(target), 0, -1)])


async def read_open(redis: RedisClient, keys: Keys, job_ids: Sequence[str]) -> list[Job]:
    """Return those of the jobs that have not ended; asks nothing where there are none."""
    return [job for job in await read_many(redis, keys, job_ids) if not job.state.final] if job_ids else []
