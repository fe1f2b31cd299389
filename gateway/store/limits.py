"""What every request to VergeOS asks Redis first: is there room in this second, and are the credentials refused?"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.core.errors import StoreError
from gateway.store.connection import store_errors
from gateway.store.keys import Keys

WINDOW_SECONDS = 5  # a second's counter lives this long: more than any clock's error, less than clutter
ANSWER_SECONDS = 0.5  # a read must not wait long for a Redis that is away


@dataclass(frozen=True)
class Taken:
    """The answer: which request of its second this is, when the second ends, since when credentials are refused."""

    count: int
    seconds_left: float
    refused_at: float | None


class RequestLimits:
    """The counters that all processes of a site share; the seconds are those of Redis' clock."""

    def __init__(self, redis: Redis, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._ahead: float | None = None  # of Redis' time before our clock; each answer corrects it

    async def take(self, fingerprint: str) -> Taken:
        """Count one request in the present second; one round trip. Raises StoreError within half a second."""
        async with within(ANSWER_SECONDS), self._redis.pipeline(transaction=False) as pipe:
            if self._ahead is None:
                self._ahead = _seconds(await self._redis.time()) - self._clock()
            window = self._keys.window(int(self._clock() + self._ahead))
            pipe.incr(window)
            pipe.expire(window, WINDOW_SECONDS)
            pipe.get(self._keys.latch(fingerprint))
            pipe.time()
            count, _, refused, told = await pipe.execute()
        now = _seconds(told)
        self._ahead = now - self._clock()
        return Taken(count, 1.0 - now % 1.0, None if refused is None else float(refused))


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Give Redis at most `seconds`, whatever the patience of its pool; raises StoreError."""
    with store_errors():
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise StoreError(f"Redis does not answer within {seconds:g} s") from None


def _seconds(told: Any) -> float:
    """Redis tells its time as seconds and microseconds."""
    seconds, microseconds = told
    return float(seconds) + float(microseconds) / 1_000_000
