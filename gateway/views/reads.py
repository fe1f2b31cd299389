"""Who reads views: a process as a whole, or one call, which sees what its caller may see, no older than it wants."""

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Protocol

from gateway.core.answer import Reading, Source
from gateway.core.ids import VmKey
from gateway.core.vm import Vm, VmRow, VmStatus
from gateway.vergeos.client import VergeClient
from gateway.views.declared import VMS, T, View, vm_status_view, vm_view
from gateway.views.rows import Rows

ANY_AGE = math.inf  # as old as the view's lifetime lets rows be, whatever the call wants

Find = Callable[[VergeClient, str], Awaitable[Sequence[T]]]
"""Asks VergeOS for the objects of exactly this name, in one request."""


class Sight(Hashable, Protocol):
    """What a caller may see; equal sights see the same."""

    def of(self, kind: str) -> Callable[[Any], bool] | None:
        """Return what tells which rows of views of this `kind` are seen; None = all of them."""


class Reads(ABC):
    """Cached reads of VergeOS.

    `max_age` is in seconds, 0 = asked for after the call. Every read that may ask VergeOS raises an UpstreamError
    where VergeOS cannot be asked and no rows that may still be shown are left.
    """

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
        self.noted: list[tuple[View[Any], Rows[Any]]] = []
        self.repeatable = True

    @property
    def older_because(self) -> str:
        """Why an answer made of these reads is older than it was wanted to be; empty where it is not."""
        return next((rows.older_because for _, rows in self.noted if rows.older_because), "")

    @property
    def fresh_until(self) -> float | None:
        """Until when (Unix seconds) all that was read is served without asking VergeOS; None where some is not."""
        if any(rows.source is Source.STALE for _, rows in self.noted):
            return None
        return min((rows.as_of + view.lifetime_seconds for view, rows in self.noted), default=None)

    async def rows(self, view: View[T], *, max_age: float | None = None) -> Rows[T]:
        """Return the rows of a view that the caller may see, no older than the call wants."""
        return self._noted(view, await self._reads.rows(view, max_age=self._max_age if max_age is None else max_age))

    async def known(self, view: View[T], *, max_age: float | None = None) -> Rows[T] | None:
        """Return what the caller may see of a view that is known; never asks VergeOS."""
        rows = await self._reads.known(view, max_age=max_age)
        return None if rows is None else self._noted(view, rows)

    async def known_row(self, view: View[T], key: int | str, *, max_age: float | None = None) -> T | None:
        """Return one row that the caller may see, if it is known; never asks VergeOS."""
        found = self.at_hand(view) if max_age is None else None
        if found is not None:
            return found.by_key.get(key)
        row = await self._reads.known_row(view, key, max_age=max_age)
        self.repeatable &= row is None
        keep = self._keep(view)
        return row if row is None or keep is None or keep(row) else None

    def at_hand(self, view: View[T]) -> Rows[T] | None:
        """Return what the caller may see of a view that is in memory; asks nobody."""
        rows = self._reads.at_hand(view)
        return None if rows is None else self._noted(view, rows)

    async def named(self, view: View[T], find: Find[T], name: str) -> Sequence[T]:
        """Return the objects of this name that the caller may see."""
        self.repeatable = False
        keep = self._keep(view)
        return [row for row in await self._reads.named(view, find, name) if keep is None or keep(row)]

    def crowded(self, view: View[T], wanted: Hashable) -> bool:
        """Tell as the process does, for all calls together."""
        return self._reads.crowded(view, wanted)

    def _keep(self, view: View[T]) -> Callable[[T], bool] | None:
        return None if self._sight is None else self._sight.of(view.kind)

    def _noted(self, view: View[T], rows: Rows[T]) -> Rows[T]:
        seen = seen_by(self._sight, view, rows)
        self.noted.append((view, seen))
        return seen


def seen_by(sight: Sight | None, view: View[T], rows: Rows[T]) -> Rows[T]:
    """Return what a caller of this sight may see of a view's rows: the same object each time while the rows stand."""
    keep = None if sight is None else sight.of(view.kind)
    return rows if keep is None else rows.only(sight, keep)
