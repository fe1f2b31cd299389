"""How much one caller may ask over all gateways: so many calls in a minute, so many waits at once.

Calls are admitted from a share of the caller's minute that the process has taken for itself, so that nobody waits
for Redis at each call; the less is left of the minute, the smaller the shares. Never more is admitted than the limit.
A wait is held in Redis for a while and renewed; those of a process that was killed run out.

Whoever need not prove who he is (stdio, loopback without keys) is not told from others, and not limited.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from gateway.core.access import Caller
from gateway.core.errors import StoreError, TooManyCalls, TooManyWaits
from gateway.store.connection import RedisClient, redis_time, within
from gateway.store.keys import MINUTE_SECONDS, WAITING_SECONDS, Keys

SHARES = 50  # of what is left of a minute, one process takes this part at once
ANSWER_SECONDS = 0.5  # a call must not wait long for a Redis that is away
UNCOUNTED_SECONDS = 5.0  # so long a share is good that nobody could count, for Redis is away
CALLERS_KEPT = 2_000
RENEWALS = 3  # of a wait in the time that it is held


@dataclass
class _Minute:
    """One caller's minute: what this process may still admit until `until`, and what all have taken of it.

    It is over at `over_at` at the latest; `told` is True once somebody was refused in it.
    """

    left: int = 0
    taken: int = 0
    until: float = float("-inf")
    over_at: float = float("-inf")
    told: bool = False
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class CallerLimits:
    """The limits of every caller; 0 = none. `refused` hears "calls" or "waits" at each refusal.

    `clock` measures ages, `held_seconds` is how long a wait is held at once.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        *,
        calls_per_minute: int = 0,
        waits: int = 0,
        refused: Callable[[str], object] = str,
        clock: Callable[[], float] = time.monotonic,
        held_seconds: float = WAITING_SECONDS,
    ) -> None:
        self._redis, self._keys, self._clock, self._refused = redis, keys, clock, refused
        self._most, self._most_waits, self._held_seconds = calls_per_minute, waits, held_seconds
        self._minutes: dict[str, _Minute] = {}
        self._held: dict[str, str] = {}
        self._renewing: asyncio.Task[None] | None = None

    # calls

    def has_room(self, caller: Caller) -> bool:
        """Count a call against what this process has at hand; False where `count` must be asked."""
        if not self._most or caller.standing is None:
            return True
        minute = self._minutes.get(caller.name)
        if minute is None or minute.left <= 0 or self._clock() >= minute.until:
            return False
        minute.left -= 1
        return True

    async def count(self, caller: Caller) -> None:
        """Count a call. Raises `TooManyCalls` until the caller's minute is over; while Redis is away nobody counts."""
        if self.has_room(caller):
            return
        minute = self._minute_of(caller.name)
        async with minute.asking:
            if self._clock() >= minute.until:
                minute.left, minute.taken, minute.told = 0, 0, False
            if minute.left <= 0 and minute.taken < self._most:
                await self._take(minute, caller.name)
            if minute.left <= 0:
                raise self._refusal(minute, caller)
            minute.left -= 1

    def _minute_of(self, name: str) -> _Minute:
        if name not in self._minutes and len(self._minutes) >= CALLERS_KEPT:
            self._minutes.clear()  # what was at hand is taken anew
        return self._minutes.setdefault(name, _Minute())

    async def _take(self, minute: _Minute, name: str) -> None:
        """Take a share of the caller's minute, which begins with the first call in it."""
        share, key = max((self._most - minute.taken) // SHARES, 1), self._keys.calls_of(name)
        began = self._clock()
        try:
            async with within(ANSWER_SECONDS), self._redis.pipeline(transaction=True) as pipe:
                pipe.set(key, 0, nx=True, ex=MINUTE_SECONDS)
                pipe.incrby(key, share)
                pipe.pttl(key)
                _, taken, left_ms = await pipe.execute()
        except StoreError:
            minute.left, minute.taken, minute.until = share, 0, self._clock() + UNCOUNTED_SECONDS
            return
        minute.left, minute.taken = max(share - max(taken - self._most, 0), 0), taken
        minute.until, minute.over_at = began + left_ms / 1000, self._clock() + left_ms / 1000

    def _refusal(self, minute: _Minute, caller: Caller) -> TooManyCalls:
        self._refused("calls")
        wait = max(minute.over_at - self._clock(), 0.0)
        refusal = TooManyCalls(f"{caller.name} may make {self._most} calls in a minute", retry_after=wait)
        refusal.told_before, minute.told = minute.told, True
        return refusal

    # waits

    @asynccontextmanager
    async def waiting(self, caller: Caller, seconds: float | None = None) -> AsyncIterator[None]:
        """Count a wait of at most so many seconds (None: as long as its client likes) while the block lasts.

        Raises `TooManyWaits`; while Redis is away nobody counts.
        """
        if not self._most_waits or caller.standing is None:
            yield
            return
        key, wait = self._keys.waiting(caller.name), secrets.token_hex(8)
        with suppress(StoreError):
            await self._begin(caller, key, wait, self._held_seconds if seconds is None else seconds)
        try:
            yield
        finally:
            self._held.pop(wait, None)
            with suppress(StoreError):
                await asyncio.shield(self._end(key, wait))

    async def _begin(self, caller: Caller, key: str, wait: str, seconds: float) -> None:
        async with within(ANSWER_SECONDS):
            now = await redis_time(self._redis)
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zremrangebyscore(key, "-inf", now)
                pipe.zadd(key, {wait: now + min(seconds, self._held_seconds)})
                pipe.expire(key, WAITING_SECONDS)
                pipe.zcard(key)
                pipe.zrange(key, 0, 1, withscores=True)
                *_, count, first = await pipe.execute()
        if count > self._most_waits:
            await self._end(key, wait)
            told = f"{caller.name} has {self._most_waits} waits and streams under way, which is the most"
            self._refused("waits")
            ends = min(until for held, until in first if held.decode() != wait)
            raise TooManyWaits(told, retry_after=max(ends - now, 1.0))
        if seconds >= self._held_seconds:
            self._held[wait] = key
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew_for_ever(), name="waits")

    async def _end(self, key: str, wait: str) -> None:
        async with within(ANSWER_SECONDS):
            await self._redis.zrem(key, wait)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._held_seconds / RENEWALS)
            with suppress(StoreError):
                await self._renew()

    async def _renew(self) -> None:
        async with within(ANSWER_SECONDS):
            until = await redis_time(self._redis) + self._held_seconds
            async with self._redis.pipeline(transaction=False) as pipe:
                for wait, key in self._held.items():
                    pipe.zadd(key, {wait: until}, xx=True)  # it may have ended meanwhile
                    pipe.expire(key, WAITING_SECONDS)
                await pipe.execute()

    async def close(self) -> None:
        """Renew nothing more; what is still held runs out."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
