"""Accepting a wish: one WATCH/MULTI over idempotency key, record, queue, event and arq's keys."""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import WatchError

from gateway.core.access import CallerKind, Permission, Standing
from gateway.core.admission import Join, admit
from gateway.core.errors import KeyReused, TooManyJobs, UnknownJob
from gateway.core.job import Job, JobState, Joiner, Target
from gateway.core.wishes import AnyWish
from gateway.store import schedule
from gateway.store.agent_stops import ANY_NUMBER, AgentStops
from gateway.store.connection import store_errors
from gateway.store.freezing import parse_freeze
from gateway.store.jobs import Jobs
from gateway.store.keys import DAY_SECONDS, IDEMPOTENCY_SECONDS
from gateway.store.records import dump, dump_joiners, parse, read_open
from gateway.store.writes import write_event, write_standing

AT_ONCE = 200  # more calls of one caller than are under way at the same moment, over all gateways
RETRY_SECONDS = 30.0  # until a caller with too many open jobs may find one ended


@dataclass(frozen=True)
class Draft:
    """A wish as its caller brought it: arguments validated, object resolved.

    `key` is the caller's own idempotency key; without one the call itself is the key, which holds
    while its job is open and `same_call_seconds` past its success, unless `again` is said. `agent` is the agent
    that asks, and whose it is.
    """

    tool: str
    arguments: dict[str, Any]
    wish: AnyWish
    target: Target
    owner: str
    face: str
    kind: CallerKind = CallerKind.PERSON
    client: str = ""
    may_ask: bool = False
    key: str | None = None
    again: bool = False
    after: str | None = None
    reason: str = ""
    agent: str | None = None
    writes_as: str = ""
    traceparent: str = ""
    standing: Standing | None = None
    needs: tuple[Permission, ...] = ()

    @property
    def digest(self) -> str:
        """A digest of what is asked: tool, wish and object."""
        asked = [self.tool, self.wish.model_dump(), self.target.ref, self.after]
        return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class Submitted:
    """The job that stands for a call, and what the caller should know about it."""

    job: Job
    note: str | None = None


@dataclass(frozen=True)
class Rules:
    """How many seconds a call stands for its repetitions, what an agent may stop without a person, and how many jobs
    a caller may have open (0 = any number)."""

    same_call_seconds: float
    agent_stops: AgentStops = ANY_NUMBER
    most_open: int = 0


async def submit(jobs: Jobs, draft: Draft, rules: Rules) -> Submitted:
    """Make a job of a wish, or return the one that stands for it already.

    Raises `Frozen`, `TargetBusy`, `TooManyJobs`, `KeyReused`, `UnknownJob` (for `after`), `AgentLimit`, `StoreError`
    (`NewerRecord` where the job that stands for the call is not understood); then nothing was written.
    """
    async with jobs.submitting:
        with store_errors():
            while True:
                try:
                    return await _attempt(jobs, draft, rules)
                except WatchError:
                    continue


async def _attempt(jobs: Jobs, draft: Draft, rules: Rules) -> Submitted:
    keys = jobs.keys
    name = f"key:{draft.key}" if draft.key is not None else f"call:{draft.digest}"
    idem = keys.idempotency(draft.owner, hashlib.sha256(name.encode()).hexdigest())
    queue = keys.target_queue(draft.target.ref)
    async with jobs.redis.pipeline() as pipe:
        await pipe.watch(idem, queue, keys.frozen)
        found = await _found(jobs, idem, queue, draft.owner)
        now = found.now
        if found.frozen is not None:
            raise parse_freeze(found.frozen).refusal()
        known = await _known(pipe, jobs, draft, found, rules.same_call_seconds)
        if known is not None:
            return known
        open_jobs = await read_open(jobs.redis, keys, found.queue)
        await _check_after(jobs, draft)
        verdict = admit(draft.wish, open_jobs, again=draft.again, after=draft.after)
        if isinstance(verdict, Join):
            return await _join(pipe, jobs, draft, verdict.job, idem, now, rules.agent_stops)
        backlog = await _backlog(pipe, jobs, draft.owner, found.own, rules.most_open)
        counted = await rules.agent_stops.watch(pipe, keys, draft.wish, draft.agent, now)
        job = _job(draft, keys.site, now, overtakes=verdict.before.id if verdict.before else None)
        pipe.multi()
        _write(pipe, jobs, job, idem, draft)
        schedule.arm(pipe, keys.arq_queue, job.id, schedule.turn(now, backlog, draft.kind))
        if counted is not None:
            AgentStops.count(pipe, counted, job.id, now)
        await pipe.execute()
        return Submitted(job)


@dataclass(frozen=True)
class _Found:
    """What stands in Redis when a wish arrives; all of it is read at once, after the watch has begun."""

    now: float
    frozen: bytes | None
    stands_for: bytes | None
    queue: list[str]
    own: int


async def _found(jobs: Jobs, idem: str, queue: str, owner: str) -> _Found:
    pipe = jobs.redis.pipeline(transaction=False)
    pipe.time()
    pipe.get(jobs.keys.frozen)
    pipe.get(idem)
    pipe.lrange(queue, 0, -1)
    pipe.scard(jobs.keys.open_of(owner))
    (seconds, micros), frozen, stands_for, ids, own = await pipe.execute()
    return _Found(float(seconds) + float(micros) / 1e6, frozen, stands_for, [raw.decode() for raw in ids], own)


async def _known(pipe: Any, jobs: Jobs, draft: Draft, found: _Found, same_call_seconds: float) -> Submitted | None:
    """Return the job that this very call made before, where it still stands for the call."""
    now = found.now
    if found.stands_for is None:
        return None
    stored = orjson.loads(found.stands_for)
    if draft.key is not None and stored["digest"] != draft.digest:
        raise KeyReused("this idempotency key was used for another call", job=stored["job"])
    job = parse(await pipe.hgetall(jobs.keys.job(stored["job"])))
    if job is None or (draft.key is None and not await _still_same(pipe, jobs, draft, job, now, same_call_seconds)):
        return None
    return Submitted(job, note=f"same call as {max(round(now - job.created_at), 0)} s ago")


async def _still_same(pipe: Any, jobs: Jobs, draft: Draft, job: Job, now: float, same_call_seconds: float) -> bool:
    if draft.again or job.cancel is not None:
        return False
    if not job.state.final:
        return True
    last = await pipe.get(jobs.keys.last_job(job.target.ref))
    nothing_followed = last is not None and last.decode() == job.id
    recent = job.ended_at is not None and now - job.ended_at <= same_call_seconds
    return job.state is JobState.COMPLETED and recent and nothing_followed


async def _backlog(pipe: Any, jobs: Jobs, owner: str, count: int, most: int) -> int:
    """Return how many jobs the caller has open; raise `TooManyJobs` where one more is too many.

    Only near the limit is the set watched: far below it one caller's calls do not hold each other up.
    """
    own = jobs.keys.open_of(owner)
    if not most or count + AT_ONCE < most:
        return count
    await pipe.watch(own)
    ids = list(await pipe.smembers(own))
    scores = await pipe.zmscore(jobs.keys.active, ids) if ids else []
    gone = [job_id for job_id, score in zip(ids, scores, strict=True) if score is None]
    if gone:  # their records were lost with Redis' memory
        await jobs.redis.srem(own, *gone)
        raise WatchError
    if len(ids) >= most:
        raise TooManyJobs(f"{owner} has {len(ids)} open jobs, and {most} is the most", retry_after=RETRY_SECONDS)
    return len(ids)


async def _check_after(jobs: Jobs, draft: Draft) -> None:
    if draft.after is None:
        return
    with suppress(UnknownJob):
        if (await jobs.get(draft.after)).target.ref == draft.target.ref:
            return
    told = f"there is no job {draft.after[:64]!r} on {draft.target.name}"  # the same for one on another object
    raise UnknownJob(told, next_step="Name a job on this object.")


async def _join(pipe: Any, jobs: Jobs, draft: Draft, job: Job, idem: str, now: float, stops: AgentStops) -> Submitted:
    """Let the caller share an open job; that it still stands is checked by watching it.

    An agent that shares a stop stops as well: the job is its own once the others have withdrawn.
    """
    key = jobs.keys.job(job.id)
    await pipe.watch(key)
    fields = await pipe.hgetall(key)
    job = parse(fields) or job
    if job.state.final or job.cancel is not None:
        raise WatchError
    names = {job.owner, *(joiner.name for joiner in job.joiners)}
    joins = draft.owner not in names
    joiners = (*job.joiners, _joiner(draft, now)) if joins else job.joiners
    counted = await stops.watch(pipe, jobs.keys, draft.wish, draft.agent, now) if joins else None
    pipe.multi()
    if counted is not None:
        AgentStops.count(pipe, counted, job.id, now)
    pipe.hset(key, "joiners", dump_joiners(joiners))
    pipe.hset(key, "idem", orjson.dumps([*orjson.loads(fields.get(b"idem", b"[]")), idem]))
    pipe.set(idem, _stands_for(job.id, draft), ex=jobs.record_seconds)
    await pipe.execute()
    since = max(round(now - job.created_at), 0)
    return Submitted(job.model_copy(update={"joiners": joiners}), note=f"joined {job.owner}'s job, begun {since} s ago")


def _joiner(draft: Draft, now: float) -> Joiner:
    return Joiner(
        name=draft.owner,
        at=now,
        standing=draft.standing,
        needs=draft.needs,
        agent=draft.agent,
        writes_as=draft.writes_as,
    )


def _stands_for(job_id: str, draft: Draft) -> bytes:
    return orjson.dumps({"job": job_id, "digest": draft.digest})


def _job(draft: Draft, site: str, now: float, *, overtakes: str | None) -> Job:
    return Job(
        id=secrets.token_hex(8),
        site=site,
        tool=draft.tool,
        arguments=draft.arguments,
        wish=draft.wish,
        target=draft.target,
        owner=draft.owner,
        face=draft.face,
        client=draft.client,
        reason=draft.reason,
        agent=draft.agent,
        writes_as=draft.writes_as,
        may_ask=draft.may_ask,
        after=draft.after,
        traceparent=draft.traceparent,
        standing=draft.standing,
        needs=draft.needs,
        overtakes=overtakes,
        detail="accepted",
        created_at=now,
        progress_at=now,
        updated_at=now,
        seq=1,
    )


def _write(pipe: Any, jobs: Jobs, job: Job, idem: str, draft: Draft) -> None:
    keys = jobs.keys
    queue = keys.target_queue(job.target.ref)
    pipe.hset(
        keys.job(job.id),
        mapping={"record": dump(job), "fence": 0, "idem": orjson.dumps([idem])},
    )
    pipe.zadd(keys.jobs, {job.id: job.created_at})
    pipe.zadd(keys.active, {job.id: job.created_at})
    pipe.zadd(keys.unbegun, {job.id: job.created_at})
    write_standing(pipe, keys, job)
    pipe.sadd(keys.open_of(job.owner), job.id)
    history = keys.jobs_of(job.target.ref)
    pipe.zadd(history, {job.id: job.created_at})
    pipe.zremrangebyscore(history, "-inf", job.created_at - jobs.record_seconds)
    pipe.expire(history, jobs.record_seconds)
    if job.overtakes is None:
        pipe.rpush(queue, job.id)
    else:
        pipe.linsert(queue, "BEFORE", job.overtakes, job.id)
    pipe.set(keys.last_job(job.target.ref), job.id, ex=DAY_SECONDS)
    held_by_key = draft.key is not None
    pipe.set(idem, _stands_for(job.id, draft), ex=jobs.record_seconds if held_by_key else IDEMPOTENCY_SECONDS)
    write_event(pipe, keys, job)
