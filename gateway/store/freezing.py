"""The freeze: one record that every replica and worker reads before it begins anything."""

import time
from typing import Any

from gateway.core.errors import InvalidArgument
from gateway.core.guard import READ_ONLY, Freeze
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import Keys

RECENT_SECONDS = 0.5  # so old may be what many calls at once are refused by; what accepts looks again in any case


class Freezing:
    """The freeze of one site; with `read_only` it never ends for this process. Every method raises `StoreError`."""

    def __init__(self, redis: RedisClient, keys: Keys, *, read_only: bool = False) -> None:
        self._redis, self._keys = redis, keys
        self._read_only = read_only
        self._seen: Freeze | None = None
        self._seen_at = float("-inf")

    async def present(self) -> Freeze | None:
        """Return the freeze that holds now."""
        if self._read_only:
            return READ_ONLY
        with store_errors():
            return await read_freeze(self._redis, self._keys)

    async def require_none(self) -> None:
        """Raise `Frozen` while changes are stopped; what is known of it may be half a second old."""
        if time.monotonic() - self._seen_at >= RECENT_SECONDS:
            self._seen, self._seen_at = await self.present(), time.monotonic()
        if self._seen is not None:
            raise self._seen.refusal()

    async def begin(self, by: str, why: str, until: float | None = None) -> Freeze:
        """Stop all changes from now on, in place of an earlier freeze. Raises `InvalidArgument` for a past `until`."""
        with store_errors():
            now = await redis_time(self._redis)
            if until is not None and until <= now:
                raise InvalidArgument("until: lies in the past", next_step="Name a time to come, in UTC.")
            freeze = Freeze(by=by, why=why, at=round(now, 3), until=until)
            ends = None if until is None else int(until * 1000)
            await self._redis.set(self._keys.frozen, freeze.model_dump_json(), pxat=ends)
        self._seen_at = float("-inf")
        return freeze

    async def end(self) -> Freeze | None:
        """Let changes go on; return the freeze that held until now. One by the setting READ_ONLY stays."""
        with store_errors():
            raw = await self._redis.getdel(self._keys.frozen)
        self._seen_at = float("-inf")
        return None if raw is None else Freeze.model_validate_json(raw)


async def read_freeze(redis: Any, keys: Keys) -> Freeze | None:
    """Return the freeze that holds now; `redis` may be a pipeline that watches its key."""
    raw = await redis.get(keys.frozen)
    return None if raw is None else parse_freeze(raw)


def parse_freeze(raw: bytes) -> Freeze:
    """Return a freeze as it is kept."""
    return Freeze.model_validate_json(raw)
