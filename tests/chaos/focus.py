"""Plans that dwell on one safeguard: what seldom happens by chance happens in them again and again."""

import random
from collections.abc import Callable
from typing import Any

from tests.chaos.plan import CALLERS, QUIET_SECONDS, WRITES, Call, Event, Plan

VMS = 16
DEAF = {"ignore_acpi": True, "power": "start"}  # who runs, whatever its guest is asked: only the log tells of it
BURSTS, SECONDS_PER_BURST = 5, 5.0  # long enough for every VM to be free again before the next
BURST_SECONDS = 0.8  # from its first call to its last, just before both workers die
CALLS, SECONDS_PER_CALL = 64, 0.25
GRACE_SECONDS = 5
POWER_OFF = ("power_off_vm", {"wait_timeout": 1, "force_after_timeout": False})
RESET = ("reset_vm", {"hard": True})


def focused(name: str, seed: int) -> Plan:
    """Return the plan of this name."""
    rng = random.Random(f"{name}/{seed}")
    calls, events = FOCUSES[name](rng)
    calls, events = (tuple(sorted(moments, key=lambda moment: moment.at)) for moments in (calls, events))
    last = max(moment.at for moment in (*calls, *events))
    return Plan(seed, VMS, last, dict.fromkeys(range(VMS), DEAF), calls, events)


def _slow_writes(rng: random.Random) -> tuple[list[Call], list[Event]]:
    """Every write is answered late, and both workers die with a write to nearly every VM under way."""
    slow = {"kind": "latency", "method": "POST|PUT", "path": WRITES, "count": None, "share": 1.0}
    calls, events = [], [Event(0.0, "fault", options=slow)]
    for burst in range(BURSTS):
        dies_at = QUIET_SECONDS + burst * SECONDS_PER_BURST
        events += [Event(dies_at, "kill", worker) for worker in ("worker0", "worker1")]
        for vm in range(VMS):
            at = dies_at - BURST_SECONDS * (vm + 1) / (VMS + 1)
            calls.append(_call(rng, f"b{burst}-{vm}", at, vm, rng.choice((RESET, POWER_OFF, POWER_OFF))))
    return calls, events


def _two_runs(rng: random.Random) -> tuple[list[Call], list[Event]]:
    """Every look takes a while, and Redis loses the leases meanwhile: two workers run the same step side by side."""
    seconds = CALLS * SECONDS_PER_CALL
    slow = {"kind": "latency", "method": "GET", "count": None, "share": 0.6}
    losses = [Event(QUIET_SECONDS + 0.2 * number, "lose_leases") for number in range(round(seconds / 0.2))]
    calls = [
        _call(
            rng, f"c{number}", QUIET_SECONDS + SECONDS_PER_CALL * number, number % VMS, rng.choice((RESET, POWER_OFF))
        )
        for number in range(CALLS)
    ]
    return calls, [Event(0.0, "fault", options=slow), *losses]


def _call(rng: random.Random, name: str, at: float, vm: int, what: tuple[str, dict[str, Any]]) -> Call:
    tool, arguments = what
    return Call(round(at, 3), name, rng.choice(CALLERS), "rest", tool, vm, arguments)


def _lost_steps(rng: random.Random) -> tuple[list[Call], list[Event]]:
    """While every VM's job waits out its grace, Redis loses the queued steps of a quarter of them, again and again."""
    stop = ("power_off_vm", {"wait_timeout": 2 * GRACE_SECONDS, "force_after_timeout": False})
    calls = [_call(rng, f"c{vm}", QUIET_SECONDS + vm * 0.05, vm, stop) for vm in range(VMS)]
    losses = [
        Event(QUIET_SECONDS + 1.5 + number, "evict", options={"number": rng.randrange(10**6)}) for number in range(4)
    ]
    return calls, losses


def _other_objects(rng: random.Random) -> tuple[list[Call], list[Event]]:
    """Each VM is renamed or replaced in VergeOS' own UI while one job waits for its guest and another queues behind."""
    calls, events = [], []
    for vm in range(VMS):
        at, replaced = round(QUIET_SECONDS + vm * 0.25, 3), vm % 4 == 3
        stop = {"wait_timeout": GRACE_SECONDS, "force_after_timeout": True}
        tool, arguments = ("power_on_vm", {}) if replaced else ("reset_vm", {"hard": True})
        deed = {"deed": "replace" if replaced else "rename", "number": vm}
        calls.append(Call(at, f"a{vm}", rng.choice(CALLERS), "rest", "power_off_vm", vm, stop))
        calls.append(Call(at + 0.5, f"b{vm}", rng.choice(CALLERS), "rest", tool, vm, arguments, after=replaced))
        events.append(Event(at + 2.0, "meddle", str(vm), deed))
    return calls, events


FOCUSES: dict[str, Callable[[random.Random], tuple[list[Call], list[Event]]]] = {
    "slow writes": _slow_writes,
    "two runs": _two_runs,
    "other objects": _other_objects,
    "lost steps": _lost_steps,
}
