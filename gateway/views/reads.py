"""Who reads views: a process as a whole, or one call, which sees what its caller may see, no older than it wants."""

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Protocol

from gateway.core.answer import Reading, Source
from gateway.core.errors import UnknownObject
from gateway.core.ids import VmKey
from gateway.core.vm import Vm, VmRow, VmStatus
from gateway.vergeos.client import VergeClient
from gateway.views.declared import VMS, T, View, vm_status_view, vm_view
from gateway.views.rows import Rows

ANY_AGE = math.inf  # as old as the view's lifetime lets rows be, whatever the call wants

Find = Callable[[VergeClient, str], Awaitable[Sequence[T]]]
"""Asks VergeOS for the objects of exactly this name, in one request."""


class Sight(Protocol):
    """What a caller may see (see `sight`)."""

    def needs(self, view: View[Any]) -> tuple[View[Any], ...]:
        """Return the views that must be known, all of their rows, before anything of `view` is decided."""

    def knows(self, view: View[Any]) -> bool:
        """Tell whether a view that is needed is known."""

    def learn(self, view: View[Any], rows: Rows[Any]) -> None:
        """Know all rows of a view that is needed."""

    async def look(self, view: View[T], rows: Rows[T]) -> Rows[T]:
        """Return what is seen of the rows of a view, once all that it needs is known."""

    def seen(self, view: View[T], rows: Rows[T]) -> Rows[T] | None:
        """Return what `look` brought for these rows; None where it was not asked yet."""


class Reads(ABC):
    """Cached reads of VergeOS.

    `max_age` is in seconds, 0 = asked for after the call. Every read that may ask VergeOS raises an UpstreamError
    where VergeOS cannot be asked and no rows that may still be shown are left.
    """

    limited = False
    """Whether some rows are left out: then what is not in a list does not exist."""

    @abstractmethod
    async def rows(self, view: View[T], *, max_age: float | None = None) -> Rows[T]:
        """Return the rows of any declared view, no older than its lifetime."""

    @abstractmethod
    async def known(self, view: View[T], *, max_age: float | None = None) -> Rows[T] | None:
        """Return a view's rows from memory or Redis, None where neither has any this fresh; never asks VergeOS."""

    @abstractmethod
    async def known_row(self, view: View[T], key: int | str, *, max_age: float | None = None) -> T | None:
        """Return one row of a view from memory or Redis; never asks VergeOS."""

    @abstractmethod
    def at_hand(self, view: View[T]) -> Rows[T] | None:
        """Return a view's rows from this process' memory, None where it has none that are fresh; asks nobody."""

    @abstractmethod
    async def named(self, view: View[T], find: Find[T], name: str) -> Sequence[T]:
        """Return the objects of exactly this name that VergeOS finds, or found within the last seconds."""

    @abstractmethod
    def crowded(self, view: View[T], wanted: Hashable) -> bool:
        """Note that one row of a list is wanted that is not known; tell whether the whole list is the cheaper read."""

    async def vms(self, *, max_age: float | None = None) -> Rows[VmRow]:
        """Return every VM, by name; at most 30 s old. A hit asks neither VergeOS nor Redis."""
        return await self.rows(VMS, max_age=max_age)

    async def vm(self, vm_key: VmKey, *, max_age: float | None = None) -> Reading[Vm]:
        """Return one VM; at most 5 s old. Raises VergeOSNotFound."""
        return await self.one(vm_view(vm_key), max_age=max_age)

    async def vm_status(self, vm_key: VmKey, *, max_age: float | None = None) -> Reading[VmStatus]:
        """Return the power state of one VM; at most 5 s old. Raises VergeOSNotFound."""
        return await self.one(vm_status_view(vm_key), max_age=max_age)

    async def one(self, view: View[T], *, max_age: float | None = None) -> Reading[T]:
        """Return the only row of a view that is about one object. Raises VergeOSNotFound."""
        rows = await self.rows(view, max_age=max_age)
        if not rows.rows:
            raise UnknownObject("there is no such object")
        return Reading(value=rows.rows[0], as_of=rows.as_of, source=rows.source)


class CallReads(Reads):
    """The reads of one call, of which it keeps what they brought.

    `repeatable` turns false once something was answered that no standing rows tell: what was made of it is not
    to be shown again. `older_because` says why an answer is older than it was wanted; empty where it is not.
    """

    def __init__(self, reads: Reads, *, sight: Sight | None = None, max_age: float | None = None) -> None:
        self._reads = reads
        self._sight = sight
        self._max_age = max_age
        self.limited = sight is not None
        self.noted: list[tuple[View[Any], Rows[Any], bool]] = []  # the last: whether shown
        self.repeatable = True

    @property
    def older_because(self) -> str:
        """Why an answer made of these reads is older than it was wanted to be; empty where it is not."""
        return next((rows.older_because for _, rows, _ in self.noted if rows.older_because), "")

    @property
    def fresh_until(self) -> float | None:
        """Until when (Unix seconds) all that was read is served without asking VergeOS; None where some is not."""
        if any(rows.source is Source.STALE for _, rows, _ in self.noted):
            return None
        return min((rows.as_of + view.lifetime_seconds for view, rows, _ in self.noted), default=None)

    async def rows(self, view: View[T], *, max_age: float | None = None) -> Rows[T]:
        """Return the rows of a view that the caller may see, no older than the call wants."""
        await self._prepare(view)
        return await self._shown(
            view, await self._reads.rows(view, max_age=self._max_age if max_age is None else max_age)
        )

    async def known(self, view: View[T], *, max_age: float | None = None) -> Rows[T] | None:
        """Return what the caller may see of a view that is known; never asks VergeOS."""
        await self._prepare(view)
        rows = await self._reads.known(view, max_age=max_age)
        return None if rows is None else await self._shown(view, rows)

    async def known_row(self, view: View[T], key: int | str, *, max_age: float | None = None) -> T | None:
        """Return one row that the caller may see, if it is known; never asks VergeOS."""
        if self.limited:
            return (await self.rows(view, max_age=max_age)).by_key.get(key)
        found = self.at_hand(view) if max_age is None else None
        if found is not None:
            return found.by_key.get(key)
        row = await self._reads.known_row(view, key, max_age=max_age)
        self.repeatable &= row is None
        return row

    def at_hand(self, view: View[T]) -> Rows[T] | None:
        """Return what the caller may see of a view that is in memory; asks nobody."""
        rows = self._reads.at_hand(view)
        if rows is None or not self._prepared(view):
            return None
        seen = rows if self._sight is None else self._sight.seen(view, rows)
        if seen is not None:
            self.noted.append((view, rows, True))
        return seen

    async def named(self, view: View[T], find: Find[T], name: str) -> Sequence[T]:
        """Return the objects of this name that the caller may see."""
        if self.limited:
            return (await self.rows(view)).by_name.get(name, ())
        self.repeatable = False
        return await self._reads.named(view, find, name)

    def crowded(self, view: View[T], wanted: Hashable) -> bool:
        """Tell as the process does, for all calls together."""
        return self._reads.crowded(view, wanted)

    async def _prepare(self, view: View[Any]) -> None:
        """Let the sight know what it needs before it is asked about `view`."""
        for needed in self._needs(view):
            self._learnt(needed, await self._reads.rows(needed))

    def _prepared(self, view: View[Any]) -> bool:
        """Tell whether the sight knows all that it needs, with what is in memory."""
        for needed in self._needs(view):
            rows = self._reads.at_hand(needed)
            if rows is None:
                return False
            self._learnt(needed, rows)
        return True

    def _needs(self, view: View[Any]) -> list[View[Any]]:
        sight = self._sight
        return [] if sight is None else [needed for needed in sight.needs(view) if not sight.knows(needed)]

    def _learnt(self, view: View[Any], rows: Rows[Any]) -> None:
        if self._sight is not None:
            self.noted.append((view, rows, False))
            self._sight.learn(view, rows)

    async def _shown(self, view: View[T], rows: Rows[T]) -> Rows[T]:
        self.noted.append((view, rows, True))
        return rows if self._sight is None else await self._sight.look(view, rows)
