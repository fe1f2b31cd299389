"""One turn per request to VergeOS: who waits for it, in which order, and what is learned from how it ends."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.core.breaker import ANSWERED, News
from gateway.core.errors import (
    BudgetSpent,
    CircuitOpen,
    UpstreamError,
    VergeOSBusy,
    VergeOSCertificate,
    VergeOSDropped,
    VergeOSTimeout,
    VergeOSUnreachable,
)
from gateway.core.leases import Wants
from gateway.core.spender import RANK_COUNT, Spender
from gateway.core.text import clean
from gateway.core.turns import next_turn
from gateway.vergeos import spending
from gateway.vergeos.exchange import REASON_LIMIT, CutOff
from gateway.vergeos.governor import Governor
from gateway.vergeos.latch import Latch
from gateway.vergeos.spending import Refill

PLACE_SECONDS = 0.25  # when to ask again where nobody can tell
PRESSED = (VergeOSDropped, CutOff, VergeOSBusy)
NOT_SENT = (BudgetSpent, CircuitOpen, VergeOSCertificate)
FAILED = (*PRESSED, VergeOSTimeout, VergeOSUnreachable)


@dataclass(eq=False)
class _Waiter:
    spender: Spender
    refill: Refill | None
    trying: bool  # whether it is the one request that VergeOS is asked while the breaker is open
    turn: asyncio.Future[None]


class Budget:
    """The requests of one process, in the order of their ranks and callers; the latch is asked before each."""

    def __init__(self, governor: Governor, latch: Latch) -> None:
        self._governor = governor
        self._latch = latch
        self._waiting: list[_Waiter] = []
        self._served: Counter[Spender] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        governor.changed, governor.waiting = self._dispatch, self._wants

    @asynccontextmanager
    async def turn(self, *, wait_seconds: float, seconds: float, fresh: bool = False) -> AsyncIterator[None]:
        """Hold one place for one request of so many seconds; `fresh` asks Redis first whether its credentials are good.

        Raises VergeOSUnauthorized while they are, CircuitOpen while nobody asks VergeOS, and BudgetSpent, with when
        to come again, if there is no room within `wait_seconds` (0 = at once).
        """
        governor, spender = self._governor, spending.spender()
        await governor.ready(fresh=fresh)
        self._latch.check()
        trying = governor.health.open_since is not None
        if trying and not await governor.may_try(wait_seconds + seconds):
            raise self._broken()
        try:
            await self._admitted(spender, wait_seconds, trying=trying)
            try:
                yield
            finally:
                governor.slice.leave(spender.rank)
                self._dispatch()
        except BaseException as error:
            news = _learned(error, trying=trying)
            if news is not None:
                governor.heard(news)
            raise
        governor.heard(ANSWERED)

    async def _admitted(self, spender: Spender, wait_seconds: float, *, trying: bool) -> None:
        """Return once the request may be sent."""
        governor, refill = self._governor, spending.refill()
        if not self._waiting and self._room_in() <= 0:
            return governor.spend(spender, refill)
        if governor.health.pause_until - governor.now > wait_seconds:
            raise self._spent(wait_seconds)
        waiter = _Waiter(spender, refill, trying, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            await self._waited(waiter, wait_seconds)
        except BaseException:
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                governor.slice.leave(spender.rank)
                self._dispatch()
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return None

    async def _waited(self, waiter: _Waiter, wait_seconds: float) -> None:
        self._dispatch()
        if wait_seconds > 0:
            self._governor.soon()
            await asyncio.wait({waiter.turn}, timeout=wait_seconds)
        elif not waiter.turn.done() and self._governor.could_gain:
            await self._governor.settle()
        if not waiter.turn.done():
            raise self._spent(wait_seconds)
        waiter.turn.result()

    def _dispatch(self) -> None:
        """Let those go whose turn it is, and come back when there is room for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._governor.health.open_since is not None:
            for waiter in [one for one in self._waiting if not one.trying]:
                self._waiting.remove(waiter)
                waiter.turn.set_exception(self._broken())
        while self._waiting and self._room_in() <= 0:
            waiter = self._waiting.pop(next_turn([one.spender for one in self._waiting], self._served))
            self._governor.spend(waiter.spender, waiter.refill)
            self._served[waiter.spender] += 1
            waiter.turn.set_result(None)
        if not self._waiting:
            self._served.clear()
        elif math.isfinite(room_in := self._room_in()):
            self._timer = asyncio.get_running_loop().call_later(room_in, self._dispatch)

    def _room_in(self) -> float:
        """Return in how many seconds a request may be sent, as far as it is known; not above 0 = now."""
        governor = self._governor
        return max(governor.health.pause_until - governor.now, governor.slice.room_in(governor.clock()))

    def _wants(self) -> Wants:
        ranks = Counter(waiter.spender.rank for waiter in self._waiting)
        return tuple(ranks[rank] for rank in range(RANK_COUNT))

    def _spent(self, wait_seconds: float) -> BudgetSpent:
        governor, limits = self._governor, self._governor.limits
        pause, room_in = governor.health.pause_until - governor.now, self._room_in()
        if pause > 0:
            why = f"VergeOS is pressed ({governor.health.why}): a pause of {pause:.1f} s"
        elif math.isinf(room_in):
            why = f"no place for a request to VergeOS ({limits.concurrent} at once)"
        else:
            why = f"no room in this second ({limits.per_second} requests to VergeOS)"
        within = f" within {wait_seconds:g} s" if wait_seconds > 0 else ""
        return BudgetSpent(f"{why}{within}", retry_after=room_in if 0 < room_in < math.inf else PLACE_SECONDS)

    def _broken(self) -> CircuitOpen:
        health, now = self._governor.health, self._governor.now
        left = min(max(health.try_at - now, 0.1), self._governor.limits.rests.last)
        return CircuitOpen(
            f"VergeOS failed {health.failures} times in a row, last: {health.why}; it is asked again in {left:.1f} s",
            retry_after=left,
        )


def _learned(error: BaseException, *, trying: bool) -> News | None:
    """Return what the end of a request tells of VergeOS, None where it tells nothing."""
    if isinstance(error, NOT_SENT) or not isinstance(error, UpstreamError):
        return News(failures=1, why="a try was given up") if trying else None
    if not isinstance(error, FAILED):
        return ANSWERED
    why = clean(error.detail, REASON_LIMIT)
    return News(failures=1, pressed=isinstance(error, PRESSED), pause=error.retry_after or 0.0, why=why)
