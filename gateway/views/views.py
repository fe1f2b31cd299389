"""The views of one process: read them, patch them with what a job saw, forget what others changed."""

import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.core.answer import Reading
from gateway.core.ids import VmKey
from gateway.core.pace import UNHURRIED, Pace
from gateway.core.vm import Vm, VmLook, VmRow, VmStatus
from gateway.store.rows import ViewStore
from gateway.telemetry.metrics import Metrics
from gateway.vergeos.client import VergeClient
from gateway.views.declared import VMS, T, View, seen_in_look, vm_status_view, vm_view
from gateway.views.reader import Reader, Surroundings
from gateway.views.rows import Rows

SINGLE_VIEWS: tuple[Callable[[VmKey], View[Any]], ...] = (vm_view, vm_status_view)
READERS_KEPT = 2_000  # some KB each; a view that was let go is read from Redis again


class Views:
    """Cached reads of VergeOS, the same for all processes of a site (VergeOS API notes 2.8 say why they are cached).

    Every read takes `max_age` in seconds, 0 = asked for after the call, and raises an UpstreamError where VergeOS
    cannot be asked and no rows of the last ten minutes are left. `clock` measures ages, `wall` is Unix time.
    """

    def __init__(
        self,
        vergeos: VergeClient,
        store: ViewStore,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        pace: Pace = UNHURRIED,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._around = Surroundings(vergeos, store, uuid.uuid4().hex, clock, wall, pace)
        self._vms = Reader(VMS, self._around)
        self._readers: dict[str, Reader[Any]] = {}

    async def vms(self, *, max_age: float | None = None) -> Rows[VmRow]:
        """Return every VM, by name; at most 30 s old. A hit asks neither VergeOS nor Redis."""
        rows = await self._vms.read(max_age)
        self._count(VMS, rows)
        return rows

    async def vm(self, vm_key: VmKey, *, max_age: float | None = None) -> Reading[Vm]:
        """Return one VM; at most 5 s old. Raises VergeOSNotFound."""
        return await self.one(vm_view(vm_key), max_age=max_age)

    async def vm_status(self, vm_key: VmKey, *, max_age: float | None = None) -> Reading[VmStatus]:
        """Return the power state of one VM; at most 5 s old. Raises VergeOSNotFound."""
        return await self.one(vm_status_view(vm_key), max_age=max_age)

    async def known(self, view: View[T], *, max_age: float | None = None) -> Rows[T] | None:
        """Return a view's rows from memory or Redis, None where neither has any this fresh; never asks VergeOS."""
        return await self._reader(view).known(view.lifetime_seconds if max_age is None else max_age)

    async def known_row(self, view: View[T], key: int | str, *, max_age: float | None = None) -> T | None:
        """Return one row of a view from memory or Redis; never asks VergeOS."""
        return await self._reader(view).known_row(key, view.lifetime_seconds if max_age is None else max_age)

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
        self._count(view, rows)
        return rows

    async def one(self, view: View[T], *, max_age: float | None = None) -> Reading[T]:
        """Return the only row of a view that is about one object. Raises VergeOSNotFound."""
        rows = await self.rows(view, max_age=max_age)
        return Reading(value=rows.rows[0], as_of=rows.as_of, source=rows.source)

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

    def _count(self, view: View[T], rows: Rows[T]) -> None:
        self._metrics.reads.labels(view.kind, rows.source.value).inc()
