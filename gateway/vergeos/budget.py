"""The hard limits of requests to VergeOS: so many a second over all processes, so many at once in this one.

VergeOS shows that it is pressed by dropping connections, not by an answer (VergeOS API notes 2.8), so the
limits are kept on this side.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.core.errors import BudgetSpent, StoreError
from gateway.store.limits import RequestLimits, Taken
from gateway.vergeos.latch import Latch

WITHOUT_REDIS_SECONDS = 2.0  # after Redis gave no answer, it is not asked for this long
PLACE_SECONDS = 0.25  # when to ask again for a place among the concurrent requests
SPREAD_SECONDS = 0.05  # so that those who wait for the same second do not come at the same moment


class _OwnWindow:
    """Counts the requests of a second in this process, while Redis cannot count for all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._count = 0

    def take(self) -> tuple[int, float]:
        now = self._clock()
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        return self._count, 1.0 - now % 1.0


class Budget:
    """One turn per upstream attempt. 0 for a limit = none; the latch is asked in the same round trip."""

    def __init__(
        self,
        limits: RequestLimits,
        latch: Latch,
        fingerprint: str,
        *,
        per_second: int,
        concurrent: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._latch = latch
        self._fingerprint = fingerprint
        self._per_second = per_second
        self._places = asyncio.Semaphore(concurrent) if concurrent else None
        self._own = _OwnWindow(clock)
        self._clock = clock
        self._without_redis_until = 0.0

    @asynccontextmanager
    async def turn(self, *, wait_seconds: float) -> AsyncIterator[None]:
        """Hold one place for one request.

        Raises VergeOSUnauthorized while the credentials are refused, and BudgetSpent, with when to come
        again, if there is no room within `wait_seconds` (0 = at once).
        """
        async with AsyncExitStack() as stack:
            deadline = self._clock() + wait_seconds
            if self._places is not None:
                await self._place(self._places, wait_seconds)
                stack.callback(self._places.release)
            await self._second(deadline)
            yield

    async def _place(self, places: asyncio.Semaphore, wait_seconds: float) -> None:
        if places.locked() and wait_seconds <= 0:
            raise BudgetSpent("all places for requests to VergeOS are taken", retry_after=PLACE_SECONDS)
        try:
            async with asyncio.timeout(wait_seconds if wait_seconds > 0 else None):
                await places.acquire()
        except TimeoutError:
            raise BudgetSpent(
                f"no place for a request to VergeOS within {wait_seconds:g} s", retry_after=PLACE_SECONDS
            ) from None

    async def _second(self, deadline: float) -> None:
        while True:
            taken = await self._ask_redis()
            await self._latch.check(taken)
            count, left = self._own.take() if taken is None else (taken.count, taken.seconds_left)
            if not self._per_second or count <= self._per_second:
                return
            pause = left + random.uniform(0, SPREAD_SECONDS)
            if self._clock() + pause > deadline:
                raise BudgetSpent(f"{self._per_second} requests to VergeOS were made in this second", retry_after=pause)
            await asyncio.sleep(pause)

    async def _ask_redis(self) -> Taken | None:
        if self._clock() < self._without_redis_until:
            return None
        try:
            return await self._limits.take(self._fingerprint)
        except StoreError:
            self._without_redis_until = self._clock() + WITHOUT_REDIS_SECONDS
            return None
