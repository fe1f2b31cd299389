"""Looks at all VMs that jobs wait for, few requests a tick, and wakes the jobs whose VM changed."""

import math
from collections.abc import Collection, Mapping

from gateway.core.errors import BudgetSpent, UpstreamError
from gateway.core.ids import MachineKey, TenantKey
from gateway.core.spender import Kind, Spender
from gateway.core.times import EngineTimes
from gateway.services import Services
from gateway.store.jobs import Watch
from gateway.store.watching import Observation
from gateway.vergeos import spending, tenants, vms

WATCHING = Spender(Kind.WATCH)
UNWATCHED_SHARE = 0.6  # of `fallback`, after which a job looks by itself and costs more


class Watcher:
    """The observations of one process while it leads; state is only when it looked last."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looked_at = -math.inf
        self._tenants_turn = False

    async def tick(self) -> None:
        """Look if it is time, and wake whom it concerns. Raises `StoreError`."""
        watching, jobs = self._services.watching, self._services.jobs
        await jobs.wake(await watching.asked())
        waits = await watching.waits()
        now = await jobs.now()
        times, hour = self._services.settings.times, self._services.vergeos.governor.hour
        if not waits or now - self._looked_at < stretched(interval(waits, now, times), hour.watch_stretch, times):
            return
        self._looked_at = now
        try:
            with spending.bound(WATCHING):
                seen = await self._look({watch.target for watch in waits.values()}, now)
        except BudgetSpent:
            return
        except UpstreamError:
            await watching.lost_sight(now)
            return
        back = await watching.saw()
        observed = await watching.observe(seen)
        await jobs.wake([job_id for job_id, watch in waits.items() if back or concerns(watch, observed)])

    async def _look(self, targets: Collection[str], at: float) -> dict[str, Observation]:
        """Return what VergeOS tells of these objects: one request for up to 200 machines, one for the tenants.

        Where the machines take two, the tenants have every other look to themselves.
        """
        client = self._services.vergeos
        machines = {MachineKey(int(key)) for kind, key in map(_parts, targets) if kind == "machine"}
        tenant_keys = {TenantKey(int(key)) for kind, key in map(_parts, targets) if kind == "tenant"}
        if tenant_keys and len(machines) > vms.MACHINES_A_REQUEST:
            self._tenants_turn = not self._tenants_turn
            machines, tenant_keys = (set(), tenant_keys) if self._tenants_turn else (machines, set())
        seen: dict[str, Observation] = {}
        for machine, state in (await vms.machine_states(client, machines) if machines else {}).items():
            seen[f"machine:{machine}"] = Observation(at, state.running, state.status, state.started_at)
        for tenant, told in (await tenants.tenant_states(client, tenant_keys) if tenant_keys else {}).items():
            seen[f"tenant:{tenant}"] = Observation(at, told.running, told.status, told.started_at)
        return seen


def _parts(target: str) -> tuple[str, str]:
    kind, _, key = target.partition(":")
    return kind, key


def interval(waits: Mapping[str, Watch], now: float, times: EngineTimes) -> float:
    """Return the seconds between looks: short while a wait is young, longer as the youngest grows old."""
    youngest = now - max(watch.since for watch in waits.values())
    if youngest < times.watch_fast_until:
        return times.watch_fast
    return times.watch_medium if youngest < times.watch_medium_until else times.watch_slow


def stretched(seconds: float, stretch: float, times: EngineTimes) -> float:
    """Return the interval that the budget leaves, short of that at which waiting jobs begin to look by themselves."""
    return max(seconds, min(seconds * stretch, times.fallback * UNWATCHED_SHARE))


def concerns(watch: Watch, observed: Mapping[str, tuple[Observation, bool]]) -> bool:
    """Tell whether a wait's object changed, or is already as the wait wants it: a lost wake costs one tick."""
    if watch.target not in observed:
        return False
    seen, changed = observed[watch.target]
    return changed or (watch.wake_when is not None and seen.running == (watch.wake_when == "on"))
