"""The stored rows of views: filled by refills, patched by jobs and single reads; and who may refill now.

Each change raises a view's generation: Redis' time in microseconds, or one more than the last, so that it never
goes back, not even when Redis has lost everything. A patch is remembered until the next fill, since a refill that
was begun before it may have read what it corrects: the newer patches are laid over such a refill. Refusing it
whole would let a busy hour of jobs keep a long list from ever being read.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import orjson
from redis.exceptions import WatchError

from gateway.core.errors import StoreError
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import EVENT_STREAM_LENGTH, STAGED_SECONDS, VIEW_SECONDS, Keys
from gateway.store.patches import Patch, RowChange

Result = TypeVar("Result")

RACES: Final = 50  # each lost one means that another process got its change through
MICROSECONDS: Final = 1_000_000
DIGEST: Final = "digest"  # of the rows of the last fill, until a patch: it tells whether the next fill differs
ROWS_A_PART: Final = 200  # sent to Redis at a time: about a millisecond
PATCH: Final = "patch:"  # before the row key, in the view's hash


@dataclass(frozen=True)
class Head:
    """What is known of a view without its rows.

    `as_of` (Unix seconds) is when VergeOS was asked for them, None where there are none; `now` is Redis' time
    of this look, so that `now - as_of` is their age whatever the local clock says.
    """

    generation: int
    as_of: float | None
    now: float


@dataclass(frozen=True)
class Stored:
    """A view's rows (JSON) by their keys, in no order; `as_of` in Unix seconds."""

    generation: int
    as_of: float
    rows: dict[str, bytes]


@dataclass(frozen=True)
class Patched:
    """What was patched of a view's rows: the rows (JSON) by their keys, None = gone."""

    generation: int
    as_of: float
    rows: dict[str, bytes | None]


@dataclass(frozen=True)
class _State:
    """A view's own fields; `filled` is the generation of its last fill or drop, `count` the number of its rows."""

    generation: int
    filled: int
    as_of: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Self:
        generation, filled, as_of, count = values
        return cls(int(generation or 0), int(filled or 0), None if as_of is None else float(as_of), int(count or 0))


_STATE: Final = ("generation", "filled", "as_of", "count")


class ViewStore:
    """The views of one site in Redis. Every method raises StoreError where Redis does not serve."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._turn = asyncio.Lock()

    async def head(self, name: str) -> Head:
        """Return generation and time of a view; every refill begins with it."""
        with store_errors():
            async with self._redis.pipeline() as pipe:
                values, told = await pipe.hmget(self._keys.view(name), _STATE).time().execute()
        return _head(values, told)

    async def row(self, name: str, row_key: str) -> tuple[Head, bytes | None]:
        """Return one row (JSON) with its view's head, without reading the others; None where it is not stored."""
        with store_errors():
            async with self._redis.pipeline() as pipe:
                pipe.hmget(self._keys.view(name), _STATE).time().hget(self._keys.view_rows(name), row_key)
                values, told, row = await pipe.execute()
        return _head(values, told), row

    async def load(self, name: str) -> Stored | None:
        """Return a view's rows; None where they are not stored, or not all: Redis evicts its keys one by one."""
        with store_errors():
            async with self._redis.pipeline() as pipe:
                values, rows = (
                    await pipe.hmget(self._keys.view(name), _STATE).hgetall(self._keys.view_rows(name)).execute()
                )
        state = _State.of(values)
        if state.as_of is None or state.count != len(rows):
            return None
        return Stored(state.generation, state.as_of, {key.decode(): row for key, row in rows.items()})

    async def patched(self, name: str, since: int) -> Patched | None:
        """Return the rows that were patched after the generation `since`.

        None where that does not tell all: the view was filled or dropped since, or changes just now.
        """
        with store_errors():
            async with self._redis.pipeline() as pipe:
                await pipe.watch(self._keys.view(name))
                fields = await pipe.hgetall(self._keys.view(name))
                state = _State.of([fields.get(field.encode()) for field in _STATE])
                keys = [key for key, patch in _patches(fields) if patch.latest > since]
                if state.as_of is None or state.filled > since or not keys:
                    return None
                pipe.multi()
                pipe.hmget(self._keys.view_rows(name), keys)
                try:
                    (rows,) = await pipe.execute()
                except WatchError:
                    return None
        return Patched(state.generation, state.as_of, dict(zip(keys, rows, strict=True)))

    async def replace(
        self, name: str, rows: Mapping[str, bytes], *, as_of: float, begun_generation: int
    ) -> Stored | None:
        """Store the rows of a refill; return them as they stand now, with what was patched since it began.

        `as_of` and `begun_generation` are `now` and `generation` of the head that the refill began with. None
        means refused, nothing stored: another fill or a drop came between; begin anew. The rows are sent in parts
        beforehand, so that nobody waits for thousands of them.
        """
        staged = self._keys.view_staged(name, secrets.token_hex(8))

        async def change(pipe: RedisClient) -> Stored | None:
            fields = await pipe.hgetall(self._keys.view(name))
            state = _State.of([fields.get(field.encode()) for field in _STATE])
            if state.filled > begun_generation:
                return None
            now, known = await redis_time(pipe), fields.get(DIGEST.encode())
            changed = _overlaid(rows, fields, begun_generation)
            standing = {key: row for key, row in {**rows, **changed}.items() if row is not None}
            stored = Stored(_next(now, state.generation), as_of, standing)
            digest = await asyncio.to_thread(_digest, stored.rows)
            pipe.multi()
            self._clear(pipe, name, stored.generation)
            pipe.hset(self._keys.view(name), mapping={"as_of": repr(as_of), "count": len(stored.rows), DIGEST: digest})
            if rows:
                pipe.rename(staged, self._keys.view_rows(name))
            for key, row in changed.items():
                self._put(pipe, name, key, row)
            self._tell(pipe, name, stored.generation, same=digest == known)
            return stored

        try:
            await self._stage(staged, rows)
            return await self._change([name], change)
        finally:
            with suppress(StoreError), store_errors():
                await self._redis.unlink(staged)

    async def patch(self, name: str, changes: Mapping[str, RowChange], *, drop: Collection[str] = ()) -> int:
        """Change single rows of a view, throw away the views in `drop`, and return the generation of all since.

        A row that is not stored takes a whole row only. What is patched while nothing is stored counts too: a
        refill that was begun before will not undo it.
        """

        async def change(pipe: RedisClient) -> int:
            meta, row_keys = self._keys.view(name), list(changes)
            values = await pipe.hmget(meta, [*_STATE, *(PATCH + key for key in row_keys)])
            rows = await pipe.hmget(self._keys.view_rows(name), row_keys)
            others = [int(await pipe.hget(self._keys.view(other), "generation") or 0) for other in drop]
            state = _State.of(values[: len(_STATE)])
            generation = _next(await redis_time(pipe), state.generation, *others)
            pipe.multi()
            for key, row, known in zip(row_keys, rows, values[len(_STATE) :], strict=True):
                patch = Patch.from_json(known).then(changes[key], generation)
                pipe.hset(meta, PATCH + key, patch.as_json())
                if state.as_of is not None:
                    self._put_row(pipe, name, key, row, patch.over(row, generation - 1))
            self._tell_patched(pipe, name, generation)
            for other in drop:
                self._clear(pipe, other, generation)
                self._tell(pipe, other, generation)
            return generation

        return await self._change([name, *drop], change)

    async def amend(self, name: str, row_key: str, members: Mapping[str, Any], *, seen_at: float) -> int | None:
        """Change members of a stored row that VergeOS told when it was asked at `seen_at` (Redis' time).

        Returns the generation since which they stand; None where the row has them already, is not stored, or where
        what is stored or was patched of it may be newer.
        """
        moment = int(seen_at * MICROSECONDS)

        async def change(pipe: RedisClient) -> int | None:
            meta = self._keys.view(name)
            *values, known = await pipe.hmget(meta, [*_STATE, PATCH + row_key])
            row = await pipe.hget(self._keys.view_rows(name), row_key)
            state, patch = _State.of(values), Patch.from_json(known)
            if row is None or state.as_of is None or state.as_of > seen_at or patch.latest > moment:
                return None
            stored = orjson.loads(row)
            if stored | members == stored:
                return None
            generation = _next(await redis_time(pipe), state.generation)
            pipe.multi()
            pipe.hset(meta, PATCH + row_key, patch.then(members, generation).as_json())
            self._put(pipe, name, row_key, orjson.dumps(stored | members))
            self._tell_patched(pipe, name, generation)
            return generation

        return await self._change([name], change)

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Return whether `owner` alone of all processes may refill the view now; the claim ends after `seconds`."""
        with store_errors():
            milliseconds = max(int(seconds * 1_000), 1)
            return bool(await self._redis.set(self._keys.view_refresh(name), owner, nx=True, px=milliseconds))

    async def release(self, name: str, owner: str) -> None:
        """Give the claim back, unless its time was over and it is somebody else's now."""
        key = self._keys.view_refresh(name)
        with store_errors():
            async with self._redis.pipeline() as pipe:
                await pipe.watch(key)
                if await pipe.get(key) == owner.encode():
                    pipe.multi()
                    pipe.delete(key)
                    with suppress(WatchError):
                        await pipe.execute()

    async def _stage(self, staged: str, rows: Mapping[str, bytes]) -> None:
        """Send the rows of a refill in parts, under a name of their own."""
        items = list(rows.items())
        with store_errors():
            for start in range(0, len(items), ROWS_A_PART):
                async with self._redis.pipeline() as pipe:
                    pipe.hset(staged, mapping=dict(items[start : start + ROWS_A_PART]))
                    pipe.expire(staged, STAGED_SECONDS)
                    await pipe.execute()

    async def _change(self, names: Sequence[str], change: Callable[[RedisClient], Awaitable[Result]]) -> Result:
        """Carry out `change`, which reads and then queues its writes, as one; anew when another came between.

        Those of this process that lost a race go one by one: all at once, most would lose again.
        """
        with store_errors():
            for lost in range(RACES):
                async with self._turn if lost else nullcontext(), self._redis.pipeline() as pipe:
                    await pipe.watch(*map(self._keys.view, names))
                    outcome = await change(pipe)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return outcome
        raise StoreError(f"the view {names[0]} is changed by too many at once")

    def _clear(self, pipe: RedisClient, name: str, generation: int) -> None:
        """Leave nothing of a view but its generation, by which refills that were begun before are refused."""
        pipe.delete(self._keys.view(name), self._keys.view_rows(name))
        pipe.hset(self._keys.view(name), mapping={"generation": generation, "filled": generation})

    def _tell_patched(self, pipe: RedisClient, name: str, generation: int) -> None:
        pipe.hset(self._keys.view(name), "generation", generation)
        pipe.hdel(self._keys.view(name), DIGEST)
        self._tell(pipe, name, generation)

    def _put_row(self, pipe: RedisClient, name: str, key: str, old: bytes | None, new: bytes | None) -> None:
        self._put(pipe, name, key, new)
        pipe.hincrby(self._keys.view(name), "count", (new is not None) - (old is not None))

    def _put(self, pipe: RedisClient, name: str, key: str, row: bytes | None) -> None:
        if row is None:
            pipe.hdel(self._keys.view_rows(name), key)
        else:
            pipe.hset(self._keys.view_rows(name), key, row)

    def _tell(self, pipe: RedisClient, name: str, generation: int, *, same: bool = False) -> None:
        """Let the view live on, and every process drop what it remembers of it unless its rows are the `same`."""
        pipe.expire(self._keys.view(name), VIEW_SECONDS)
        pipe.expire(self._keys.view_rows(name), VIEW_SECONDS)
        event = orjson.dumps({"view": name, "generation": generation} | ({"same": True} if same else {}))
        pipe.xadd(self._keys.events, {"view": event}, maxlen=EVENT_STREAM_LENGTH, approximate=True)


def _head(values: Sequence[bytes | None], told: tuple[int, int]) -> Head:
    state, (seconds, microseconds) = _State.of(values), told
    return Head(state.generation, state.as_of, seconds + microseconds / MICROSECONDS)


def _next(now: float, *known: int) -> int:
    """Return a generation above all that are known."""
    return max(int(now * MICROSECONDS), *(generation + 1 for generation in known))


def _digest(rows: Mapping[str, bytes]) -> bytes:
    """Return what tells rows from others; in another order they count as others."""
    return hashlib.blake2b(b"".join(rows.values()), digest_size=16).hexdigest().encode()


def _patches(fields: Mapping[bytes, bytes]) -> Iterator[tuple[str, Patch]]:
    """Yield the patches that a view's hash remembers, by the keys of their rows."""
    for field, value in fields.items():
        if field.startswith(PATCH.encode()):
            yield field.decode().removeprefix(PATCH), Patch.from_json(value)


def _overlaid(rows: Mapping[str, bytes], fields: Mapping[bytes, bytes], since: int) -> dict[str, bytes | None]:
    """Return those of `rows` that patches after the generation `since` change, as they are then; None = gone."""
    patched = ((key, patch.over(rows.get(key), since)) for key, patch in _patches(fields))
    return {key: row for key, row in patched if row != rows.get(key)}
