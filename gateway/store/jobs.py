"""Job records: read them, take their fence, save them, ask something of them. All under WATCH/MULTI."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from redis.exceptions import WatchError

from gateway.core.errors import Forbidden, InvalidArgument, JobEnded, UnknownJob
from gateway.core.events import JobEvent
from gateway.core.job import Job, JobState, Wished
from gateway.core.trail import UpstreamCall
from gateway.store import schedule
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import DAY_SECONDS, Keys
from gateway.store.records import dump_joiners, kept, parse, read_many, read_queue
from gateway.store.writes import add_calls, close_job, write_job, write_standing

ASKED = (b"cancel", b"answer", b"heir")  # what must be heard before an act


STEPS_AT_THE_FRONT = 200  # of the queue: more of them than run at once
SUBMITS_AT_ONCE = 16  # each reads on a second connection while it holds one: all of a pool's would wait for ever


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

    def dump(self) -> bytes:
        """Return it as it is kept."""
        return orjson.dumps([self.target, self.since, self.wake_when])


class Jobs:
    """The job records of one site."""

    def __init__(self, redis: RedisClient, keys: Keys, *, days: int) -> None:
        self.redis = redis
        self.keys = keys
        self.record_seconds = days * DAY_SECONDS
        self.submitting = asyncio.Semaphore(SUBMITS_AT_ONCE)

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
            raise unknown_job(job_id)
        return job

    async def many(self, job_ids: Iterable[str]) -> list[Job]:
        """Return the jobs of these ids that have a record, in the order asked for."""
        with store_errors():
            return await read_many(self.redis, self.keys, job_ids)

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
            heir = others[0].model_dump_json(exclude_unset=True)
            pipe.hset(key, mapping={"owner": others[0].name, "heir": heir, "joiners": dump_joiners(others[1:])})
            pipe.smove(self.keys.open_of(caller), self.keys.open_of(others[0].name), job.id)
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
                    write_standing(pipe, self.keys, job.model_copy(update={"state": JobState.WORKING}))
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
                    write_job(pipe, self.keys, saved, None if watch is None else watch.dump(), tell=tell)
                    add_calls(pipe, self.keys, job.id, calls)
                    if saved.state.final:
                        close_job(pipe, self.keys, saved, fields, now, self.record_seconds)
                        others = [raw.decode() for raw in after if raw.decode() != job.id]
                        schedule.wake(pipe, self.keys.arq_queue, others, now)
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
                add_calls(pipe, self.keys, job_id, calls)
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

    async def rescue(self, within: float) -> int:
        """Queue a step for each open job that has none within so many seconds; return how many there were."""
        with store_errors():
            ids = [raw.decode() for raw in await self.redis.zrange(self.keys.active, 0, -1)]
            now = await redis_time(self.redis)
            lost = await schedule.lost(self.redis, self.keys.arq_queue, ids, now + within)
            known = await kept(self.redis, self.keys, lost)
            pipe = self.redis.pipeline(transaction=True)
            for job_id in lost:
                if job_id in known:
                    schedule.arm(pipe, self.keys.arq_queue, job_id, now)
                    schedule.wake(pipe, self.keys.arq_queue, [job_id], now)
                else:  # its record is gone: Redis came back from an older copy
                    pipe.zrem(self.keys.active, job_id)
                    pipe.zrem(self.keys.unbegun, job_id)
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
        """Return how many steps are due, and for how many seconds the one that has waited longest is.

        A new job's place is that of its turn, not of a time; how long it has waited tells its creation. Where it has
        begun, its first step still runs and waits for nobody.
        """
        queue, newest = self.keys.arq_queue, (now - schedule.HEAD_START_SECONDS / 2) * 1000
        with store_errors():
            pipe = self.redis.pipeline(transaction=False)
            pipe.zcount(queue, "-inf", now * 1000)
            pipe.zrangebyscore(queue, newest, now * 1000, start=0, num=1, withscores=True)
            pipe.zrangebyscore(queue, "-inf", newest, start=0, num=STEPS_AT_THE_FRONT)
            ready, woken, new = await pipe.execute()
            made_at = await self.redis.zmscore(self.keys.unbegun, new) if new else []
            since = [score / 1000 for _, score in woken] + [at for at in made_at if at is not None]
        return int(ready), max((now - at for at in since), default=0.0)

    async def due_later(self, now: float) -> int:
        """Return how many steps are due after `now`."""
        with store_errors():
            return int(await self.redis.zcount(self.keys.arq_queue, f"({now * 1000}", "+inf"))


def _open(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise unknown_job(job_id)
    if job.state.final:
        raise JobEnded(f"job {job_id} has ended: {job.state}")
    return job


def _asked(fields: dict[bytes, bytes]) -> tuple[bytes | None, ...]:
    return tuple(fields.get(name) for name in ASKED)


def unknown_job(job_id: str) -> UnknownJob:
    """Return the error for a job that there is not, or not for this caller."""
    return UnknownJob(f"there is no job {job_id[:64]!r}")
