"""Looks at all VMs that jobs wait for, few requests a tick, and wakes the jobs whose VM changed."""

import math
from collections.abc import Mapping

from gateway.core.errors import BudgetSpent, UpstreamError
from gateway.core.ids import MachineKey
from gateway.core.times import EngineTimes
from gateway.services import Services
from gateway.store.jobs import Watch
from gateway.store.watching import Observation
from gateway.vergeos import vms


class Watcher:
    """The observations of one process while it leads; state is only when it looked last."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looked_at = -math.inf

    async def tick(self) -> None:
        """Look if it is time, and wake whom it concerns. Raises `StoreError`."""
        watching, jobs = self._services.watching, self._services.jobs
        await jobs.wake(await watching.asked())
        waits = await watching.waits()
        now = await jobs.now()
        if not waits or now - self._looked_at < interval(waits, now, self._services.settings.times):
            return
        self._looked_at = now
        try:
            states = await vms.machine_states(
                self._services.vergeos, {MachineKey(watch.machine_key) for watch in waits.values()}
            )
        except BudgetSpent:
            return
        except UpstreamError:
            await watching.lost_sight(now)
            return
        await watching.saw()
        observed = await watching.observe(states, now)
        await jobs.wake([job_id for job_id, watch in waits.items() if concerns(watch, observed)])


def interval(waits: Mapping[str, Watch], now: float, times: EngineTimes) -> float:
    """Return the seconds between looks: short while a wait is young, longer as the youngest grows old."""
    youngest = now - max(watch.since for watch in waits.values())
    if youngest < times.watch_fast_until:
        return times.watch_fast
    return times.watch_medium if youngest < times.watch_medium_until else times.watch_slow


def concerns(watch: Watch, observed: Mapping[int, tuple[Observation, bool]]) -> bool:
    """Tell whether a wait's machine changed, or is already as the wait wants it: a lost wake costs one tick."""
    if watch.machine_key not in observed:
        return False
    seen, changed = observed[watch.machine_key]
    return changed or (watch.wake_when is not None and seen.running == (watch.wake_when == "on"))
