"""Reading one view: from this process' memory, else from Redis, else from VergeOS, in one flight for all who wait."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.core.answer import Source
from gateway.core.errors import StoreError, UpstreamError, VergeOSBusy
from gateway.vergeos import spending
from gateway.vergeos.slices import in_slices
from gateway.views.arranging import arranged, parsed, rearranged, written
from gateway.views.declared import View
from gateway.views.remembered import Flight, Memo, Moment, Surroundings, cannot_be_asked
from gateway.views.rows import Rows

T = TypeVar("T", bound=BaseModel)

CLAIM_SECONDS = 10.0  # one process refills for all this long; then another tries
PAUSE_SECONDS = 0.02  # between looks at whether the process that refills has done it
REFILLS = 5  # refused one after the other: something is wrong, and the reader is told to come back
HOT_READS_A_SECOND = 3.0  # a view read as often as this is refilled before its life is over
LEAST_LEAD_SECONDS, MOST_LEAD = 0.25, 0.2  # how long before; the most is a part of its life


class Reader(Generic[T]):
    """Reads one view for all callers of a process."""

    def __init__(self, view: View[T], around: Surroundings) -> None:
        self._view = view
        self._around = around
        self._memo: Memo[T] | None = None
        self._flight: Flight[T] | None = None
        self._least_generation = 0  # what is older has been changed since
        self._refill_seconds = 0.0  # that the last flight took

    @property
    def _lifetime(self) -> float:
        """How many seconds its rows may be served."""
        return self._around.pace.lifetime(self._view.lifetime_seconds)

    @property
    def _parsed(self) -> Mapping[bytes, T]:
        """The rows that are remembered, by what is stored of each."""
        return {} if self._memo is None else self._memo.parsed

    @property
    def idle(self) -> bool:
        """Whether nobody waits for it."""
        return self._flight is None or self._flight.task.done()

    async def read(self, max_age: float | None = None) -> Rows[T]:
        """Return rows that VergeOS was asked for at most `max_age` seconds ago, nor longer than the view's lifetime.

        With 0 they were asked for after this call. `source` is LIVE where VergeOS was asked meanwhile, STALE
        where it cannot be asked: up to the bound of stale rows old then, else the UpstreamError. A Redis that is
        away is done without.
        """
        rows = self.at_hand(max_age)
        if rows is not None:
            return rows
        not_before = self._around.clock() - self._age(max_age)
        while True:
            memo = self._remembered(not_before)
            if memo is not None:
                return memo.rows
            why = "" if max_age is None else self._around.pace.older_because()
            if why:
                rows = await self.read()
                return rows if rows.source is Source.LIVE else rows.told_as(rows.source, why)
            flight = self._flight
            if flight is None or flight.task.done():
                flight = self._flight = self._take_off(not_before)
            else:
                self._around.shared(self._view.kind)
            await asyncio.wait((flight.task,))  # a caller who goes away leaves the flight to the others
            if flight.serves(not_before):
                return flight.task.result()

    def at_hand(self, max_age: float | None = None) -> Rows[T] | None:
        """Return rows of at most this age, nor older than the view's lifetime, from memory; asks nobody.

        A view that is read often is refilled before its life is over.
        """
        memo = self._memo
        if memo is None or memo.outdated:
            return None
        age, lifetime = self._around.clock() - memo.asked_at, self._lifetime
        if age > lifetime or (max_age is not None and age > max_age):
            return None
        memo.reads += 1
        if not memo.renewing and memo.reads >= HOT_READS_A_SECOND * lifetime and self.idle:
            self._renew_in_time(memo, lifetime - age, lifetime)
        return memo.rows

    async def known(self, max_age: float | None = None) -> Rows[T] | None:
        """Return rows of at most this age (None: the view's lifetime) from memory or Redis; never asks VergeOS."""
        return await self._since(self._around.clock() - self._known_age(max_age))

    async def latest(self) -> Rows[T] | None:
        """Return the last rows there are in memory or Redis, however old; never asks VergeOS."""
        return await self._since(-math.inf)

    async def _since(self, not_before: float) -> Rows[T] | None:
        memo = self._remembered(not_before)
        if memo is not None:
            return memo.rows
        try:
            return await self._adopted(await self._moment(), not_before)
        except StoreError:
            memo = self._left(not_before)
            return None if memo is None else memo.rows

    async def known_row(self, key: int | str, max_age: float | None = None) -> T | None:
        """Return one row of at most this age from memory or Redis, without reading the others."""
        not_before = self._around.clock() - self._known_age(max_age)
        memo = self._remembered(not_before)
        if memo is not None:
            return memo.rows.by_key.get(key)
        at = self._around.clock()
        try:
            head, row = await self._around.store.row(self._view.name, str(key))
        except StoreError:
            memo = self._left(not_before)
            return None if memo is None else memo.rows.by_key.get(key)
        asked_at = Moment(head, at).asked_at
        if row is None or asked_at is None or asked_at < not_before or head.generation < self._least_generation:
            return None
        with suppress(ValidationError):
            return self._view.parse(row)
        return None

    def forget(self, generation: int) -> None:
        """Serve no more what is older than `generation`: the view was changed then."""
        self._least_generation = max(self._least_generation, generation)
        if self._memo is not None and self._memo.rows.generation < generation:
            self._memo.outdated = True

    async def close(self) -> None:
        """End a flight that is under way, with those who wait for it."""
        if self._flight is not None:
            self._flight.task.cancel()
            await asyncio.wait((self._flight.task,))

    def _age(self, wanted: float | None) -> float:
        """Return how old rows may be for somebody who wants them at most this old."""
        return self._lifetime if wanted is None else min(max(wanted, 0.0), self._lifetime)

    def _known_age(self, wanted: float | None) -> float:
        """Return how old rows may be that somebody wants without asking VergeOS."""
        return self._lifetime if wanted is None else min(wanted, self._around.stale_seconds)

    def _renew_in_time(self, memo: Memo[T], left: float, lifetime: float) -> None:
        """Begin the refill of a view with so many seconds of its life left; nobody waits for it."""
        if left < min(max(2 * self._refill_seconds, LEAST_LEAD_SECONDS), MOST_LEAD * lifetime):
            memo.renewing = True
            self._flight = self._take_off(self._around.clock() - lifetime / 2)  # or what another process has renewed

    def _remembered(self, not_before: float) -> Memo[T] | None:
        memo = self._memo
        return None if memo is None or memo.outdated or memo.asked_at < not_before else memo

    def _left(self, not_before: float) -> Memo[T] | None:
        """Return what is remembered even if it was changed since: with Redis away it is the last there is."""
        memo = self._memo
        return None if memo is None or memo.asked_at < not_before else memo

    def _take_off(self, not_before: float) -> Flight[T]:
        begun_at = self._around.clock()
        task = asyncio.create_task(self._land(not_before), name=f"view {self._view.name}")
        task.add_done_callback(_heard)
        return Flight(task, begun_at, not_before)

    async def _land(self, not_before: float) -> Rows[T]:
        """Fly once; where VergeOS cannot be asked, fall back on rows that were not thrown away yet."""
        around, begun_at = self._around, self._around.clock()
        try:
            rows = await self._fly(not_before)
        except UpstreamError as error:
            if not cannot_be_asked(error):
                around.outage.over()
                raise
            around.outage.seen(error, around.wall())
            latest = await self.known(math.inf)
            if latest is None:
                raise around.outage.told(error, f"nothing younger than {around.stale_seconds:g} s is known") from None
            fresh = self._remembered(around.clock() - self._lifetime) is not None
            return latest.told_as(Source.CACHE if fresh else Source.STALE, error.detail)
        if rows.source is Source.LIVE:
            around.outage.over()
            self._refill_seconds = around.clock() - begun_at
        return rows

    async def _fly(self, not_before: float) -> Rows[T]:
        try:
            found = await self._adopted(await self._moment(), not_before)
            return await self._filled(not_before) if found is None else found
        except StoreError:
            return await self._unstored()

    async def _filled(self, not_before: float) -> Rows[T]:
        """Refill the view as the one process that does, or take what that one stored."""
        async with self._turn(not_before) as found:
            for _ in range(REFILLS):
                if found is not None:
                    return found
                moment = await self._moment()
                found = await self._adopted(moment, not_before)
                if found is None:
                    found = await self._refill(moment)
        if found is not None:
            return found
        raise VergeOSBusy(f"the view {self._view.name} changes faster than it can be read", retry_after=1.0)

    @asynccontextmanager
    async def _turn(self, not_before: float) -> AsyncIterator[Rows[T] | None]:
        """Yield None once this process may refill, or the rows of the process that did meanwhile."""
        name, around = self._view.name, self._around
        until = around.clock() + CLAIM_SECONDS
        while not await around.store.claim(name, around.owner, CLAIM_SECONDS):
            await asyncio.sleep(PAUSE_SECONDS)
            found = await self._adopted(await self._moment(), not_before)
            if found is not None or around.clock() >= until:
                yield found
                return
        try:
            yield None
        finally:
            with suppress(StoreError):
                await around.store.release(name, around.owner)

    async def _moment(self) -> Moment:
        at = self._around.clock()
        return Moment(await self._around.store.head(self._view.name), at)

    async def _adopted(self, moment: Moment, not_before: float) -> Rows[T] | None:
        """Return the stored rows and remember them; None where they are too old, or not to be used."""
        head, asked_at = moment.head, moment.asked_at
        if asked_at is None or asked_at < not_before or head.generation < self._least_generation:
            return None
        memo = self._memo
        if memo is not None and (memo.rows.generation, memo.rows.as_of) == (head.generation, head.as_of):
            memo.asked_at = asked_at
            return memo.rows
        try:
            return await self._changed(moment) or await self._loaded(moment)
        except ValidationError:  # another version of the gateway wrote them
            return None

    async def _changed(self, moment: Moment) -> Rows[T] | None:
        """Return the remembered rows with the few that were patched since; None where more has changed than that."""
        memo, store = self._memo, self._around.store
        if memo is None or memo.rows.as_of != moment.head.as_of:
            return None
        stored = await store.patched(self._view.name, memo.rows.generation)
        if stored is None or stored.as_of != memo.rows.as_of:
            return None
        texts = [text for text in stored.rows.values() if text is not None]
        rows = await parsed(self._view, texts, memo.parsed)
        changed = {key: None if text is None else rows[text] for key, text in stored.rows.items()}
        news = await rearranged(self._view, memo.rows, changed, generation=stored.generation)
        return self._keep(news, {**memo.parsed, **rows}, memo.asked_at)

    async def _loaded(self, moment: Moment) -> Rows[T] | None:
        """Return the stored rows; None where they are not there, or not to be used."""
        stored = await self._around.store.load(self._view.name)
        if stored is None:
            return None
        rows = await parsed(self._view, stored.rows.values(), self._parsed)
        return await self._remember(rows, stored.generation, stored.as_of, moment.at - (moment.head.now - stored.as_of))

    async def _refill(self, moment: Moment) -> Rows[T] | None:
        """Ask VergeOS and store what it says; None where that is refused, or was changed again already."""
        name, head = self._view.name, moment.head
        found = await self._asked()
        keys = await in_slices(list(found.values()), lambda row: str(self._view.key(row)))
        rows = dict(zip(keys, found, strict=True))
        try:
            stored = await self._around.store.replace(name, rows, as_of=head.now, begun_generation=head.generation)
        except StoreError:
            return (await self._remember_alone(found, head.now, moment.at)).told_as(Source.LIVE)
        if stored is None:
            return None
        found = await parsed(self._view, stored.rows.values(), found)
        remembered = await self._remember(found, stored.generation, head.now, moment.at)
        if self._view.listed is not None:
            await self._put_right(self._view.listed, found.values(), head.now)
        return None if remembered is None else remembered.told_as(Source.LIVE)

    async def _put_right(self, listed: View[Any], rows: Iterable[T], seen_at: float) -> None:
        """Let the list that shows these rows too show what VergeOS told of them when it was asked at `seen_at`."""
        for row in rows:
            told = self._view.told_to(listed, row)
            with suppress(StoreError):  # it is put right by its next refill
                generation = await self._around.store.amend(listed.name, str(listed.key(row)), told, seen_at=seen_at)
                if generation is not None:
                    self._around.changed(listed.name, generation)

    async def _unstored(self) -> Rows[T]:
        """Ask VergeOS and keep what it says in this process alone: Redis is away."""
        at, as_of = self._around.clock(), self._around.wall()
        return (await self._remember_alone(await self._asked(), as_of, at)).told_as(Source.LIVE)

    async def _asked(self) -> dict[bytes, T]:
        """Ask VergeOS; return the rows by what is stored of each."""
        with spending.refilling(self._view.name, self._lifetime):
            return await written(await self._view.query(self._around.vergeos), self._parsed)

    async def _remember(
        self, found: Mapping[bytes, T], generation: int, as_of: float, asked_at: float
    ) -> Rows[T] | None:
        """Keep and return rows; None where a later change is known."""
        if self._memo is not None and self._parsed.keys() == found.keys():
            rows = self._memo.rows.read_again(generation, as_of)
        else:
            rows = await arranged(self._view, found.values(), generation=generation, as_of=as_of)
        return self._keep(rows, found, asked_at)

    async def _remember_alone(self, found: Mapping[bytes, T], as_of: float, asked_at: float) -> Rows[T]:
        """Keep and return rows that Redis does not have; any change that is heard of puts them out of use."""
        generation = self._least_generation
        rows = await arranged(self._view, found.values(), generation=generation, as_of=as_of)
        self._put(Memo(rows, found, asked_at, outdated=generation < self._least_generation))
        return rows

    def _keep(self, rows: Rows[T], found: Mapping[bytes, T], asked_at: float) -> Rows[T] | None:
        if rows.generation < self._least_generation:
            return None
        self._put(Memo(rows, found, asked_at))
        return rows

    def _put(self, memo: Memo[T]) -> None:
        """Remember rows; what was seen of those before helps to see these."""
        if self._memo is not None:
            memo.rows.looked.update(self._memo.rows.looked)
        self._memo = memo


def _heard(task: asyncio.Task[Rows[T]]) -> None:
    """Take note of a failure that no caller is left to hear of, or asyncio would log it."""
    if not task.cancelled():
        task.exception()
