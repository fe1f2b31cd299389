"""The views of one process: read them, patch them with what a job saw, forget what others changed."""

import time
import uuid
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from gateway.core.answer import Source
from gateway.core.errors import UpstreamError
from gateway.core.ids import VmKey
from gateway.core.pace import UNHURRIED, Pace
from gateway.core.vm import VmLook
from gateway.store.rows import ViewStore
from gateway.telemetry.metrics import Metrics
from gateway.vergeos.client import VergeClient
from gateway.views.declared import VMS, T, View, seen_in_look, vm_status_view, vm_view
from gateway.views.kept import Kept
from gateway.views.lookups import Lookups
from gateway.views.reader import Reader
from gateway.views.reads import Find, Reads
from gateway.views.remembered import STALE_SECONDS, Surroundings, cannot_be_asked
from gateway.views.rows import Rows

SINGLE_VIEWS: tuple[Callable[[VmKey], View[Any]], ...] = (vm_view, vm_status_view)
KEPT = Source.CACHE.value  # from where a kept answer comes
READERS_KEPT = 2_000  # some KB each; a view that was let go is read from Redis again


class Views(Reads):
    """Cached reads of VergeOS, the same for all processes of a site (VergeOS API notes 2.8 say why they are cached).

    `stale_seconds` is how old rows may be while VergeOS cannot be asked. `clock` measures ages, `wall` is Unix time.
    `kept` are whole answers made of views.
    """

    def __init__(
        self,
        vergeos: VergeClient,
        store: ViewStore,
        metrics: Metrics,
        *,
        stale_seconds: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        pace: Pace = UNHURRIED,
    ) -> None:
        self._vergeos = vergeos
        self._store = store
        self._metrics = metrics
        self._around = Surroundings(
            *(vergeos, store, uuid.uuid4().hex, clock, wall, pace, stale_seconds),
            shared=metrics.shared,
            changed=self.forget,
        )
        self._vms = Reader(VMS, self._around)
        self._readers: dict[str, Reader[Any]] = {}
        self._lookups = Lookups(clock)
        self.kept = Kept(self._standing, lambda view: metrics.reads.labels(view.kind, KEPT))

    async def known(self, view: View[T], *, max_age: float | None = None) -> Rows[T] | None:
        """Return a view's rows from memory or Redis, None where neither has any this fresh; never asks VergeOS."""
        return await self._reader(view).known(max_age)

    async def known_row(self, view: View[T], key: int | str, *, max_age: float | None = None) -> T | None:
        """Return one row of a view from memory or Redis; never asks VergeOS."""
        return await self._reader(view).known_row(key, max_age)

    async def latest(self, view: View[T]) -> Rows[T] | None:
        """Return the last rows of a view that there are in memory or Redis, however old; never asks VergeOS."""
        return await self._reader(view).latest()

    def at_hand(self, view: View[T]) -> Rows[T] | None:
        """Return a view's rows from this process' memory, None where it has none that are fresh; asks nobody."""
        return self._standing(view, None)

    async def named(self, view: View[T], find: Find[T], name: str) -> Sequence[T]:
        """Return the objects of exactly this name that VergeOS finds, or found within the last seconds."""
        return await self._lookups.found(view.name, name, lambda: self._find(find, name))

    async def _find(self, find: Find[T], name: str) -> Sequence[T]:
        outage = self._around.outage
        try:
            found = await find(self._vergeos, name)
        except UpstreamError as error:
            if not cannot_be_asked(error):
                raise
            outage.seen(error, self._around.wall())
            raise outage.told(error, "no list that is known has this name") from None
        outage.over()
        return found

    def crowded(self, view: View[T], wanted: Hashable) -> bool:
        """Note that one row of a list is wanted that is not known; tell whether the whole list is the cheaper read."""
        return self._lookups.crowded(view.name, wanted)

    async def patch_vm(self, look: VmLook) -> dict[str, int]:
        """Let every process see what a job's live look saw; return the changed views with their generations.

        Raises StoreError.
        """
        return await self._patch_vm(look.key, seen_in_look(look))

    async def patch_power(self, vm_key: int, running: bool, status: str) -> dict[str, int]:
        """Let every process see a power state that the watcher saw; otherwise as `patch_vm`."""
        seen: dict[str, Any] = {"running": running, "status": status}
        return await self._patch_vm(VmKey(vm_key), seen if running else {**seen, "node": None})

    async def patch(
        self, view: View[Any], key: int, members: Mapping[str, Any], *, drop: Collection[str]
    ) -> dict[str, int]:
        """Let every process see new `members` of one row of a list, and read the views named in `drop` anew.

        Returns the changed views with their generations. Raises StoreError.
        """
        generation = await self._store.patch(view.name, {str(key): members}, drop=drop)
        touched = dict.fromkeys((view.name, *drop), generation)
        for name in touched:
            self.forget(name, generation)
        return touched

    def forget(self, name: str, generation: int) -> None:
        """Serve nothing older than `generation` of this view any more: some process changed it then."""
        self._lookups.forget(name)
        reader = self._vms if name == VMS.name else self._readers.get(name)
        if reader is not None:
            reader.forget(generation)

    async def close(self) -> None:
        """End every read that is under way."""
        for reader in (self._vms, *self._readers.values()):
            await reader.close()

    async def rows(self, view: View[T], *, max_age: float | None = None) -> Rows[T]:
        """Return the rows of any declared view, no older than its lifetime."""
        rows = await self._reader(view).read(max_age)
        self._metrics.read(view.kind, rows.source.value)
        return rows

    def _reader(self, view: View[T]) -> Reader[T]:
        reader: Reader[Any] | None = self._vms if view.name == VMS.name else self._readers.get(view.name)
        if reader is None:
            self._make_room()
            reader = self._readers[view.name] = Reader(view, self._around)
        return reader

    def _make_room(self) -> None:
        """Let the older half of the views go when there are too many, but for those that are being read."""
        if len(self._readers) >= READERS_KEPT:
            for name in list(self._readers)[: READERS_KEPT // 2]:
                if self._readers[name].idle:
                    del self._readers[name]

    async def _patch_vm(self, vm_key: VmKey, members: Mapping[str, Any]) -> dict[str, int]:
        return await self.patch(VMS, vm_key, members, drop=[declare(vm_key).name for declare in SINGLE_VIEWS])

    def _standing(self, view: View[T], max_age: float | None) -> Rows[T] | None:
        reader: Reader[Any] | None = self._vms if view.name == VMS.name else self._readers.get(view.name)
        return None if reader is None else reader.at_hand(max_age)
