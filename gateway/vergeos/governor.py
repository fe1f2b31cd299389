"""What one process knows of the shared budget, and how it and Redis tell each other, in the background of requests."""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.core.breaker import Health, News, Rests
from gateway.core.errors import StoreError
from gateway.core.leases import LEASE_SECONDS, SPARE_SECONDS, TOKEN_SECONDS, Lease, Slice, Wants, next_lease
from gateway.core.pace import Hour
from gateway.core.spender import RANK_COUNT, Spender
from gateway.settings import Settings
from gateway.store.limits import Report, RequestLimits, Settlement, Shared, Standing
from gateway.telemetry.logs import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.vergeos import spending
from gateway.vergeos.latch import Latch
from gateway.vergeos.spending import Refill

SETTLE_SECONDS = LEASE_SECONDS / 5
AWAY_SECONDS = 2.0  # after Redis gave no answer, it is not asked for this long
SOON_SECONDS = 0.05  # two settlements are at least so far apart where nobody waits for them
WANTED_SECONDS = 2.0  # what was wanted is asked for this long: others need a moment to give it back
HOT_LIFETIMES = 2.0  # a view that is refilled again within so many lifetimes is asked for all the time

log = get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """What may be asked of VergeOS with one key; 0 = no limit. `rests` are those of the breaker."""

    per_second: int
    concurrent: int
    per_hour: int
    rests: Rests

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits that are set."""
        return cls(
            settings.vergeos_requests_per_second,
            settings.vergeos_max_concurrent,
            settings.vergeos_requests_per_hour,
            Rests(settings.times.backoff_first, settings.times.backoff_last),
        )


class Governor:
    """One process' part of the limits. `changed` is called whenever a request that waits might go."""

    def __init__(
        self,
        store: RequestLimits,
        latch: Latch,
        fingerprint: str,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._latch = latch
        self._fingerprint = fingerprint
        self.limits = limits
        self.clock = clock
        self.slice = Slice(limits.concurrent, limits.per_second)
        self.health = Health()
        self.hour = self._told = Hour(limits.per_hour)  # as it is, and as Redis told it last
        self.others: dict[str, Lease] = {}
        self.changed: Callable[[], None] = lambda: None
        self.waiting: Callable[[], Wants] = lambda: ()
        self._me = uuid.uuid4().hex
        self._ahead = time.time() - clock()  # of Redis' time before our clock, as far as known
        self._ends_at = -math.inf  # of our lease, on our clock
        self._settled_at = -math.inf
        self._steady_since: float | None = None
        self._away_until = -math.inf
        self._in_vain_until = -math.inf
        self._wanted: Wants = ()
        self._wanted_until = -math.inf
        self._spent: Counter[Spender] = Counter()
        self._hot: dict[str, float] = {}
        self._news = News()
        self._try_seconds: float | None = None  # of the request that wants to try
        self._may_try = False
        self._settling: asyncio.Task[None] | None = None
        self._kicked = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Settle in the background during the block; give everything back at its end."""
        keeping = asyncio.create_task(self._keep(), name="governor")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping} if self._settling is None else {keeping, self._settling})
            if self._settled_at > -math.inf and self.clock() >= self._away_until:
                with suppress(StoreError):
                    await self._settled(leaving=True)

    @property
    def now(self) -> float:
        """Return Redis' time, as far as it is known."""
        return self.clock() + self._ahead

    async def ready(self, *, fresh: bool = False) -> None:
        """Return once this process holds a lease that others respect, or Redis is away; `fresh`: settled just now."""
        if fresh or self.clock() >= self._ends_at:
            await self.settle()

    async def settle(self) -> None:
        """Tell Redis what is wanted and spent and hear what the others did, unless it is away; many share one round."""
        if self.clock() < self._away_until:
            return
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle(), name="settle")
        await asyncio.wait({self._settling})

    def soon(self) -> None:
        """Settle in the background, now."""
        self._kicked.set()

    @property
    def could_gain(self) -> bool:
        """Tell whether to settle now may bring more: not if just now it did not bring what was wanted."""
        return self.clock() >= self._in_vain_until

    async def may_try(self, seconds: float) -> bool:
        """Tell whether the request that asks is the one that tries whether VergeOS is back.

        It may take so many seconds; should its process die meanwhile, another may try after that, or after the
        longest rest where that is sooner.
        """
        if self.now < self.health.try_at:
            return False
        self._try_seconds = within = min(seconds, self.limits.rests.last)
        await self.settle()
        if self.clock() < self._away_until:
            tried = self.health.trying(self.now, within)  # each process tries by itself
            self.health, self._may_try = tried or self.health, tried is not None
        may, self._may_try, self._try_seconds = self._may_try, False, None
        return may

    def spend(self, spender: Spender, refill: Refill | None) -> None:
        """Note that a request is sent now, and that a refill takes it."""
        self.slice.take(spender.rank, self.clock())
        self._spent[spender] += 1
        if refill is not None:
            refill.requests += 1
            self._hot[f"{refill.view}#{refill.requests}"] = self.now + HOT_LIFETIMES * refill.lifetime

    def heard(self, news: News) -> None:
        """Note that VergeOS answered, or that it failed; a failure is told to the others at once."""
        before, self._news = self.health, self._news.then(news)
        self.health = before.after(news, self.now, self.limits.rests)
        if self.health is not before:
            self.soon()
            self.changed()

    def lifetime(self, seconds: float) -> float:
        """Return how long a view whose rows live for `seconds` may be served now."""
        return self.hour.lifetime(seconds)

    def older_because(self) -> str:
        """Return why the present caller may not have VergeOS asked for him alone now; empty where he may."""
        if not self.hour.too_much_live(spending.spender()):
            return ""
        return "your share of live reads is spent; it comes back within ten minutes"

    @property
    def requests_left(self) -> int | None:
        """Return what is left of the hour, None where it has no limit."""
        return self.hour.left if self.hour.limit else None

    def headroom(self) -> dict[str, tuple[int, int]]:
        """Return each limit (0 = none) and what is left of it over all processes, as of the last settlement."""
        limits, mine = self.limits, self.slice
        open_now = len(mine.open) + sum(lease.places.busy for lease in self.others.values())
        sent = len(mine.sent) + sum(lease.tokens.busy for lease in self.others.values())
        return {
            "hour": (limits.per_hour, self.hour.left),
            "second": (limits.per_second, max(limits.per_second - sent, 0)),
            "concurrent": (limits.concurrent, max(limits.concurrent - open_now, 0)),
        }

    def measure(self, metrics: Metrics) -> None:
        """Set the gauges of the budget."""
        for name, (limit, left) in self.headroom().items():
            metrics.budget_limit.labels(name).set(limit)
            metrics.budget_left.labels(name).set(left)
        metrics.circuit_open.set(0.0 if self.health.open_since is None else 1.0)

    async def _keep(self) -> None:
        while True:
            await self.settle()
            self._kicked.clear()
            await asyncio.sleep(SOON_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(SETTLE_SECONDS - SOON_SECONDS, self._away_until - self.clock())):
                    await self._kicked.wait()

    async def _settle(self) -> None:
        try:
            await self._settled()
            if self.hour.nearly_spent and await self._store.first_to_warn(self._fingerprint):
                self._warn()
        except Exception as error:
            if not isinstance(error, StoreError):
                log.exception("the budget cannot be settled")
            self._steady_since = None
            self._away_until = self.clock() + AWAY_SECONDS
            self.hour = self._told.plus(self._spent)
        self.changed()

    async def _settled(self, *, leaving: bool = False) -> None:
        """Tell and hear once. Raises StoreError."""
        at, changes = self.clock(), self._latch.changes
        news, report = self._news, Report(self._spent, self._hot)
        self._news, self._spent, self._hot = News(), Counter(), {}
        noted: list[Settlement] = []

        def decide(standing: Standing) -> Settlement:
            noted.append(self._decided(standing, news, leaving=leaving))
            return noted[-1]

        try:
            shared = await self._store.settle(self._fingerprint, self._me, decide, report)
        except BaseException:
            self._news, self._spent = news.then(self._news), Counter(report.spent) + self._spent
            self._hot = {**report.hot, **self._hot}
            raise
        self._hold(noted[-1], shared, at)
        await self._latch.hear(shared.refused_at, changes)

    def _decided(self, standing: Standing, news: News, *, leaving: bool) -> Settlement:
        """Return what this process notes, given what all have noted; what it gives back it gives back now."""
        now, seconds = standing.now, TOKEN_SECONDS if leaving else LEASE_SECONDS
        steady = self._steady_since is not None and self.clock() - self._steady_since >= LEASE_SECONDS + SPARE_SECONDS
        dead = {name for name, lease in standing.leases.items() if lease.lapsed(now, steady=steady)}
        self.others = {name: one for name, one in standing.leases.items() if name not in dead | {self._me}}
        mine = self.slice.lease(
            (0,) * RANK_COUNT if leaving else self._wants(), self.clock(), now + seconds, leaving=leaving
        )
        lease = next_lease(self.others, self._me, mine, self.slice)
        self.slice.give_back(lease)
        health = standing.health.after(news, now, self.limits.rests)
        tried = None if self._try_seconds is None else health.trying(now, self._try_seconds)
        self._may_try = tried is not None
        return Settlement(lease, tuple(dead - {self._me}), tried or health)

    def _hold(self, noted: Settlement, shared: Shared, at: float) -> None:
        """Go on with what Redis has noted and told; it was asked at `at`."""
        if self._steady_since is None or at - self._settled_at > LEASE_SECONDS:
            self._steady_since = at
        self._settled_at, self._ends_at = at, at + LEASE_SECONDS
        self._ahead = shared.now - at
        self.slice.hold(noted.lease)
        if self.slice.lacks(noted.lease):
            self._in_vain_until = at + SOON_SECONDS
        self.health = noted.health.after(self._news, self.now, self.limits.rests)
        self.hour = self._told = Hour(self.limits.per_hour, shared.spent, shared.lately, shared.hot)

    def _wants(self) -> Wants:
        """Return what requests wait for, or lately waited for."""
        now, waiting = self.clock(), self.waiting()
        if now >= self._wanted_until or sum(waiting) >= sum(self._wanted):
            self._wanted, self._wanted_until = waiting, now + WANTED_SECONDS
        return self._wanted

    def _warn(self) -> None:
        hour = self.hour
        spent = {kind.value: count for kind, count in hour.by_kind.items()}
        log.warning("the hour's requests to VergeOS are nearly spent", left=hour.left, limit=hour.limit, spent=spent)
