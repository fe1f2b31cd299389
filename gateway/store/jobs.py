"""Job records: read them, take their fence, save them, ask something of them. All under WATCH/MULTI."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from redis.exceptions import WatchError

from gateway.core.errors import Forbidden, InvalidArgument, JobEnded, UnknownJob
from gateway.core.events import JobEvent
from gateway.core.job import Job, JobView, Wished
from gateway.core.trail import UpstreamCall
from gateway.store import schedule
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import (
    DAY_SECONDS,
    EVENT_STREAM_LENGTH,
    IDEMPOTENCY_SECONDS,
    JOB_CALLS_KEPT,
    JOB_EVENTS_KEPT,
    Keys,
)
from gateway.store.records import dump, dump_joiners, kept, parse, read_many, read_queue

ASKED = (b"cancel", b"answer")  # what must be heard before an act


class Fenced(Exception):
    """Another step holds the job now: what this one wanted to save is refused."""


class Moved(Exception):
    """Somebody asked something of the job, or went before it, since it was read: decide again."""


@dataclass(frozen=True)
class Held:
    """A job read by a step, with the fence that its saves must still hold and what was asked of it until then."""

    job: Job
    fence: int
    asked: tuple[bytes | None, ...]


@dataclass(frozen=True)
class Watch:
    """What the watcher must know of a waiting job."""

    target: str
    since: float
    wake_when: Literal["on", "off"] | None


class Jobs:
    """The job records of one site."""

    def __init__(self, redis: RedisClient, keys: Keys, *, days: int) -> None:
        self.redis = redis
        self.keys = keys
        self.record_seconds = days * DAY_SECONDS

    async def now(self) -> float:
        """Return Redis' time in Unix seconds."""
        with store_errors():
            return await redis_time(self.redis)

    async def get(self, job_id: str) -> Job:
        """Return a job; raise `UnknownJob`, `StoreError`."""
        with store_errors():
            fields = await self.redis.hgetall(self.keys.job(job_id))
        job = parse(fields)
        if job is None:
            raise UnknownJob(f"there is no job {job_id[:64]!r}")
        return job

    async def many(self, job_ids: Iterable[str]) -> list[Job]:
        """Return the jobs of these ids that have a record, in the order asked for."""
        with store_errors():
            return await read_many(self.redis, self.keys, job_ids)

    async def view(self, job: Job) -> JobView:
        """Return what callers see of a job, with the job that goes first where there is one."""
        if job.state.final or job.begun_at is not None:
            return job.view()
        with store_errors():
            first = await self.redis.lindex(self.keys.target_queue(job.target.ref), 0)
        first_id = first.decode() if first is not None else job.id
        return job.view(waits_for=None if first_id == job.id else first_id)

    async def newest(self, *, limit: int, offset: int, keep: Callable[[Job], bool]) -> tuple[list[Job], int]:
        """Return the jobs that `keep` accepts, newest first, and how many there are in all."""
        with store_errors():
            ids = [raw.decode() for raw in await self.redis.zrevrange(self.keys.jobs, 0, -1)]
            kept = [job for job in await read_many(self.redis, self.keys, ids) if keep(job)]
        return kept[offset : offset + limit], len(kept)

    async def open_on(self, target: str) -> list[Job]:
        """Return the open jobs of an object in their order."""
        with store_errors():
            return await read_queue(self.redis, self.keys, target)

    async def events(self, job_id: str, after_seq: int = 0) -> list[JobEvent]:
        """Return a job's stored events with a higher `seq`, oldest first."""
        with store_errors():
            raw = await self.redis.lrange(self.keys.job_events(job_id), 0, -1)
        events = (JobEvent.model_validate_json(line) for line in raw)
        return [event for event in events if event.seq > after_seq]

    async def calls(self, job_id: str) -> list[UpstreamCall]:
        """Return the newest requests to VergeOS that a job's steps sent, oldest first."""
        with store_errors():
            raw = await self.redis.lrange(self.keys.job_calls(job_id), 0, -1)
        return [UpstreamCall.model_validate_json(line) for line in raw]

    # what callers ask of a job

    async def cancel(self, job_id: str, caller: str, *, may_others: bool) -> Job:
        """Withdraw a caller's wish: a joiner leaves, an owner hands over to a joiner, the last one cancels the job.

        Raises `UnknownJob`, `JobEnded`, and `Forbidden` for somebody else's job unless `may_others`.
        """
        key = self.keys.job(job_id)
        with store_errors():
            while True:
                async with self.redis.pipeline() as pipe:
                    await pipe.watch(key)
                    job = _open(parse(await pipe.hgetall(key)), job_id)
                    now = await redis_time(pipe)
                    pipe.multi()
                    self._withdraw(pipe, job, caller, now, may_others=may_others)
                    self._call(pipe, job_id, now)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return await self.get(job_id)

    def _call(self, pipe: Any, job_id: str, now: float) -> None:
        """Wake a job to hear what is asked of it; should that be lost, the watcher finds it in `asked`."""
        pipe.sadd(self.keys.asked, job_id)
        schedule.wake(pipe, self.keys.arq_queue, [job_id], now)

    def _withdraw(self, pipe: Any, job: Job, caller: str, now: float, *, may_others: bool) -> None:
        key = self.keys.job(job.id)
        others = tuple(joiner for joiner in job.joiners if joiner.name != caller)
        if len(others) < len(job.joiners):
            pipe.hset(key, "joiners", dump_joiners(others))
        elif job.owner == caller and others:
            pipe.hset(key, mapping={"owner": others[0].name, "joiners": dump_joiners(others[1:])})
        elif job.owner == caller or may_others:
            pipe.hset(key, "cancel", Wished(by=caller, at=now).model_dump_json())
        else:
            raise Forbidden(f"job {job.id} belongs to {job.owner}", next_step=f"Ask {job.owner} to cancel it.")

    async def answer(self, job_id: str, caller: str, *, yes: bool, question: str | None = None) -> Job:
        """Answer a job's question, with `question` only the one of this key.

        Raises `UnknownJob`, `JobEnded`, `InvalidArgument` where it is not asked now.
        """
        key = self.keys.job(job_id)
        with store_errors():
            while True:
                async with self.redis.pipeline() as pipe:
                    await pipe.watch(key)
                    job = _open(parse(await pipe.hgetall(key)), job_id)
                    asked = job.asks
                    if asked is None or question not in {None, asked.key}:
                        told = f"job {job_id} asks {'nothing' if asked is None else 'something else'} now"
                        raise InvalidArgument(told, next_step="get_job shows what it does.")
                    now = await redis_time(pipe)
                    given = {"asked_at": asked.asked_at, "yes": yes, "by": caller, "at": now}
                    pipe.multi()
                    pipe.hset(key, "answer", orjson.dumps(given))
                    self._call(pipe, job_id, now)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return await self.get(job_id)

    # what steps do

    async def hold(self, job_id: str) -> Held | None:
        """Take the next fence of a job and read it; None where there is nothing to do for it any more.

        Raises `NewerRecord` and leaves such a job as it is: a worker of its own version carries it out.
        """
        key = self.keys.job(job_id)
        with store_errors():
            known = parse(await self.redis.hgetall(key))
            if known is None or known.state.final:
                return None
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.hincrby(key, "fence", 1)
                pipe.hgetall(key)
                pipe.srem(self.keys.asked, job_id)
                fence, fields, _ = await pipe.execute()
        job = parse(fields)
        return None if job is None or job.state.final else Held(job, fence, _asked(fields))

    async def turn(self, job: Job) -> str | None:
        """Return the open job that goes first on the object, None where it is this one's turn."""
        queue = self.keys.target_queue(job.target.ref)
        with store_errors():
            while (first := await self.redis.lindex(queue, 0)) is not None and first.decode() != job.id:
                if await kept(self.redis, self.keys, [first.decode()]):
                    return str(first.decode())
                await self.redis.lrem(queue, 0, first)  # its record is gone: Redis came back from an older copy
        return None

    async def save(
        self,
        held: Held,
        job: Job,
        *,
        watch: Watch | None = None,
        tell: bool = True,
        acts: bool = False,
        mends: bool = False,
        calls: Sequence[UpstreamCall] = (),
    ) -> Held:
        """Save what a step made of a job, with the `calls` to VergeOS that it cost; with `tell` it is an event.

        Raises `Fenced` where another step holds the job. With `acts` (the intent of an act) it must be
        the job's turn and nobody may have asked anything meanwhile, nor frozen all changes unless the act `mends`,
        else `Moved`.
        """
        key, queue = self.keys.job(job.id), self.keys.target_queue(job.target.ref)
        forbidding = [self.keys.frozen] if acts and not mends else []
        with store_errors():
            while True:
                async with self.redis.pipeline() as pipe:
                    await pipe.watch(key, queue, *forbidding)
                    fields = await pipe.hgetall(key)
                    if int(fields.get(b"fence", -1)) != held.fence:
                        raise Fenced(job.id)
                    if acts and (_asked(fields) != held.asked or await pipe.lindex(queue, 0) != job.id.encode()):
                        raise Moved(job.id)
                    if forbidding and await pipe.exists(*forbidding):
                        raise Moved(job.id)
                    now = await redis_time(pipe)
                    saved = job.model_copy(update={"updated_at": now, "seq": job.seq + 1 if tell else job.seq})
                    after = await pipe.lrange(queue, 0, 1) if saved.state.final else []
                    pipe.multi()
                    self._write(pipe, saved, watch, tell=tell)
                    self._add_calls(pipe, job.id, calls)
                    if saved.state.final:
                        self._end(pipe, saved, fields, [raw.decode() for raw in after], now)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return Held(saved, held.fence, held.asked)

    async def note_calls(self, job_id: str, calls: Sequence[UpstreamCall]) -> None:
        """Add requests to VergeOS that no save has told of: the step was cut off, or the job is another's by now."""
        if not calls:
            return
        with store_errors():
            life = await self.redis.ttl(self.keys.job(job_id))
            async with self.redis.pipeline(transaction=True) as pipe:
                self._add_calls(pipe, job_id, calls)
                if life != -1:  # the job has ended
                    pipe.expire(self.keys.job_calls(job_id), max(life, 1))
                await pipe.execute()

    # what the watcher and the sweeper do

    async def wake(self, job_ids: Iterable[str]) -> None:
        """Pull the next steps of these jobs forward to now."""
        ids = list(job_ids)
        with store_errors():
            pipe = self.redis.pipeline(transaction=False)
            schedule.wake(pipe, self.keys.arq_queue, ids, await redis_time(self.redis))
            await pipe.execute()

    async def rescue(self) -> int:
        """Queue a step for each open job that has none; return how many there were."""
        with store_errors():
            ids = [raw.decode() for raw in await self.redis.zrange(self.keys.active, 0, -1)]
            lost = await schedule.lost(self.redis, self.keys.arq_queue, ids)
            known = await kept(self.redis, self.keys, lost)
            now = await redis_time(self.redis)
            pipe = self.redis.pipeline(transaction=True)
            for job_id in lost:
                if job_id in known:
                    schedule.arm(pipe, self.keys.arq_queue, job_id, now)
                else:  # its record is gone: Redis came back from an older copy
                    pipe.zrem(self.keys.active, job_id)
                    pipe.hdel(self.keys.waits, job_id)
                    pipe.srem(self.keys.asked, job_id)
            await pipe.execute()
        return len(known)

    async def forget_old(self) -> None:
        """Drop from the list the jobs whose record's time is over."""
        with store_errors():
            oldest = await redis_time(self.redis) - self.record_seconds
            await self.redis.zremrangebyscore(self.keys.jobs, "-inf", oldest)

    async def open(self) -> list[Job]:
        """Return all jobs that have not ended."""
        with store_errors():
            ids = [raw.decode() for raw in await self.redis.zrange(self.keys.active, 0, -1)]
            return await read_many(self.redis, self.keys, ids)

    async def due(self, now: float) -> tuple[int, float]:
        """Return how many steps are due, and the age in seconds of the oldest of them."""
        with store_errors():
            queue, now_ms = self.keys.arq_queue, now * 1000
            ready = await self.redis.zcount(queue, "-inf", now_ms)
            first = await self.redis.zrange(queue, 0, 0, withscores=True)
        return int(ready), max((now_ms - first[0][1]) / 1000, 0.0) if first else 0.0

    async def due_later(self, now: float) -> int:
        """Return how many steps are due after `now`."""
        with store_errors():
            return int(await self.redis.zcount(self.keys.arq_queue, f"({now * 1000}", "+inf"))

    def _write(self, pipe: Any, job: Job, watch: Watch | None, *, tell: bool) -> None:
        pipe.hset(self.keys.job(job.id), "record", dump(job))
        pipe.zadd(self.keys.active, {job.id: job.progress_at})
        if watch is None:
            pipe.hdel(self.keys.waits, job.id)
        else:
            pipe.hset(self.keys.waits, job.id, orjson.dumps([watch.target, watch.since, watch.wake_when]))
        if tell:
            write_event(pipe, self.keys, job)

    def _add_calls(self, pipe: Any, job_id: str, calls: Sequence[UpstreamCall]) -> None:
        if calls:
            pipe.rpush(self.keys.job_calls(job_id), *(call.model_dump_json() for call in calls))
            pipe.ltrim(self.keys.job_calls(job_id), -JOB_CALLS_KEPT, -1)

    def _end(self, pipe: Any, job: Job, fields: dict[bytes, bytes], queue: list[str], now: float) -> None:
        """Close an ended job: it leaves the queue, its successor wakes, its keys begin to run out."""
        pipe.zrem(self.keys.active, job.id)
        pipe.srem(self.keys.asked, job.id)
        pipe.lrem(self.keys.target_queue(job.target.ref), 0, job.id)
        schedule.wake(pipe, self.keys.arq_queue, [other for other in queue if other != job.id], now)
        for key in (self.keys.job(job.id), self.keys.job_events(job.id), self.keys.job_calls(job.id)):
            pipe.expire(key, self.record_seconds)
        for idempotency_key in orjson.loads(fields.get(b"idem", b"[]")):
            pipe.expire(idempotency_key, IDEMPOTENCY_SECONDS)


def write_event(pipe: Any, keys: Keys, job: Job) -> None:
    """Add the commands that append the job's present state to its own events and to the fan-out stream."""
    event = JobEvent.of(job).model_dump_json(exclude_none=True)
    pipe.rpush(keys.job_events(job.id), event)
    pipe.ltrim(keys.job_events(job.id), -JOB_EVENTS_KEPT, -1)
    pipe.xadd(keys.events, {"job": event}, maxlen=EVENT_STREAM_LENGTH, approximate=True)


def _open(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise UnknownJob(f"there is no job {job_id[:64]!r}")
    if job.state.final:
        raise JobEnded(f"job {job_id} has ended: {job.state}")
    return job


def _asked(fields: dict[bytes, bytes]) -> tuple[bytes | None, ...]:
    return tuple(fields.get(name) for name in ASKED)
