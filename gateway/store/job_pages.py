"""Lists of jobs, newest first, page by page: so many records are read for one page and no more."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.errors import InvalidArgument
from gateway.core.job import Job
from gateway.store.connection import store_errors
from gateway.store.jobs import Jobs
from gateway.store.records import read_many

MOST_READ = 1_000  # records for one page, whatever is looked for
CHUNK = 100
EVER = float("inf")

Keep = Callable[[Job], bool]


@dataclass(frozen=True)
class Wanted:
    """Which jobs: of one object (`Target.ref`), open ones only, made between two moments, and what `keep` accepts."""

    target: str | None = None
    open_only: bool = False
    since: float | None = None
    until: float | None = None
    keep: Keep | None = None


@dataclass(frozen=True)
class Found:
    """A page of jobs. `next` is the cursor of the next one, None at the end.

    `total` counts what matches from the page's beginning on; where records must be read to tell, among those read.
    """

    jobs: tuple[Job, ...]
    total: int
    next: str | None = None


async def page_of_jobs(jobs: Jobs, wanted: Wanted, *, limit: int, offset: int = 0, cursor: str | None = None) -> Found:
    """Return the jobs that are wanted, newest first: `limit` of them after `offset` more, from `cursor` on.

    A page may hold fewer although there are more: then as many records were read as one page may cost.
    Raises `InvalidArgument` for a cursor that no page gave, `StoreError`.
    """
    with store_errors():
        ids, total = await _candidates(jobs, wanted, cursor, offset + MOST_READ)
        if wanted.keep is None:
            chosen = ids[offset : offset + limit]
            found = await read_many(jobs.redis, jobs.keys, chosen)
            return Found(tuple(found), total, chosen[-1] if chosen and offset + limit < total else None)
        return await _filtered(jobs, ids, wanted.keep, limit=limit, offset=offset, all_read=total <= len(ids))


def unknown_cursor() -> InvalidArgument:
    """Return what is said of a cursor that no page gave to this caller."""
    return InvalidArgument("cursor: no list of jobs gave this one, or it has run out", next_step="Start anew.")


async def _filtered(jobs: Jobs, ids: list[str], keep: Keep, *, limit: int, offset: int, all_read: bool) -> Found:
    kept: list[Job] = []
    for start in range(0, len(ids), CHUNK):
        kept += filter(keep, await read_many(jobs.redis, jobs.keys, ids[start : start + CHUNK]))
    taken = tuple(kept[offset : offset + limit])
    if len(kept) > offset + limit:
        return Found(taken, len(kept), taken[-1].id)
    return Found(taken, len(kept), None if all_read or not ids else ids[-1])


async def _candidates(jobs: Jobs, wanted: Wanted, cursor: str | None, most: int) -> tuple[list[str], int]:
    """Return the first ids in question, newest first, those after the cursor; and how many there are in all."""
    keys, redis = jobs.keys, jobs.redis
    since = -EVER if wanted.since is None else wanted.since
    until = EVER if wanted.until is None else wanted.until
    if cursor is not None:
        made_at = await redis.zscore(keys.jobs, cursor)
        if made_at is None:
            raise unknown_cursor()
        until = min(until, made_at)
    if wanted.open_only:
        scored = await redis.zinter({keys.jobs: 1, keys.active: 0}, withscores=True)
        ids = [raw.decode() for raw, at in reversed(scored) if since <= at <= until]
        ids = _after(cursor, ids)
        return ids[:most], len(ids)
    index = keys.jobs if wanted.target is None else keys.jobs_of(wanted.target)
    total = await redis.zcount(index, since, until)
    raw_ids = await redis.zrevrangebyscore(index, until, since, start=0, num=most + (cursor is not None))
    ids = _after(cursor, [raw.decode() for raw in raw_ids])
    return ids, total - (len(raw_ids) - len(ids))


def _after(cursor: str | None, ids: list[str]) -> list[str]:
    """Return the ids that come after the cursor; where it is not among them, it went away and all of them do."""
    return ids[ids.index(cursor) + 1 :] if cursor is not None and cursor in ids else ids
