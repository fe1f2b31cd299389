"""Plans that dwell on one safeguard: what seldom happens by chance happens in them again and again."""

import random
from collections.abc import Callable

from tests.chaos.plan import CALLERS, QUIET_SECONDS, WRITES, Call, Event, Plan

VMS = 16
DEAF = {"ignore_acpi": True, "power": "start"}  # who runs, whatever its guest is asked: only the log tells of it
KILLS, SECONDS_PER_KILL = 8, 2.0
CALLS_PER_KILL = 8
GRACE_SECONDS = 5


def focused(name: str, seed: int) -> Plan:
    """Return the plan of this name."""
    rng = random.Random(f"{name}/{seed}")
    calls, events = FOCUSES[name](rng)
    calls, events = (tuple(sorted(moments, key=lambda moment: moment.at)) for moments in (calls, events))
    last = max(moment.at for moment in (*calls, *events))
    return Plan(seed, VMS, last, dict.fromkeys(range(VMS), DEAF), calls, events)


def _slow_writes(rng: random.Random) -> tuple[list[Call], list[Event]]:
    """Every write is answered late, and the workers die by turns with many of them under way."""
    seconds = KILLS * SECONDS_PER_KILL
    slow = {"kind": "latency", "method": "POST|PUT", "path": WRITES, "count": None, "share": 1.0}
    kills = [
        Event(QUIET_SECONDS + (number + 1) * SECONDS_PER_KILL, "kill", f"worker{number % 2}") for number in range(KILLS)
    ]
    return _busy(rng, seconds), [Event(0.0, "fault", options=slow), *kills]


def _two_runs(rng: random.Random) -> tuple[list[Call], list[Event]]:
    """Every look takes a while, and Redis loses the leases meanwhile: two workers run the same step side by side."""
    seconds = KILLS * SECONDS_PER_KILL
    slow = {"kind": "latency", "method": "GET", "count": None, "share": 0.6}
    losses = [Event(QUIET_SECONDS + 0.2 * number, "lose_leases") for number in range(round(seconds / 0.2))]
    return _busy(rng, seconds), [Event(0.0, "fault", options=slow), *losses]


def _busy(rng: random.Random, seconds: float) -> list[Call]:
    """Return resets and power-offs in a steady stream for so many seconds."""
    calls = []
    for number in range(KILLS * CALLS_PER_KILL):
        at = QUIET_SECONDS + seconds * number / (KILLS * CALLS_PER_KILL)
        tool, arguments = rng.choice(
            (("reset_vm", {"hard": True}), ("power_off_vm", {"wait_timeout": 1, "force_after_timeout": False}))
        )
        calls.append(Call(round(at, 3), f"c{number}", rng.choice(CALLERS), "rest", tool, number % VMS, arguments))
    return calls


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
}
