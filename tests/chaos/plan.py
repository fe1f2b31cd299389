"""What a run will do, drawn from its seed alone: calls, kills, faults and what people do in VergeOS' own UI."""

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

CALLERS = ("ann", "ben", "cron", "agent-7")
SECONDS_PER_CALL, SECONDS_PER_KILL = 0.15, 2.0  # how fast the plan goes on two cores
QUIET_SECONDS = 3.0  # at its begin: whoever is killed has worked before
BY_HAND = "by=person"  # in the query of what people do in VergeOS' own UI: faults leave that alone
WRITES = f"^(?!.*{BY_HAND}).*(vm_actions|vnet_actions|tenant_actions|machine_snapshots|machine_drives|/vms/)"
NETWORKS, TENANTS = (3, 4, 5, 7), (1, 2, 3)  # keys that each simulation has; core and dmz are guarded


@dataclass(frozen=True)
class Call:
    """One call of a tool. `vm` counts the simulation's VMs from 0; `after` queues it behind the VM's last job.

    `hangs_up` is when the caller gives up on the answer and calls again; `repeats` and `cancel` count seconds from
    the acceptance. `misuse` sends the key once more with another argument. `says_yes` is a person's answer.
    """

    at: float
    name: str
    caller: str
    face: str
    tool: str
    vm: int
    arguments: dict[str, Any]
    key: str | None = None
    hangs_up: float | None = None
    repeats: tuple[float, ...] = ()
    cancel: float | None = None
    after: bool = False
    misuse: bool = False
    says_yes: bool = True


@dataclass(frozen=True)
class Event:
    """Something that happens: `what` is a method of `trouble.Trouble`, `to` names a process or counts a VM."""

    at: float
    what: str
    to: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All of a run; times are seconds from its begin."""

    seed: int
    vms: int
    seconds: float
    characters: dict[int, dict[str, Any]]
    calls: tuple[Call, ...]
    events: tuple[Event, ...]

    @property
    def kills(self) -> int:
        """How many times a process is killed with -9."""
        return sum(event.what == "kill" for event in self.events)

    def lines(self) -> Iterator[str]:
        """Yield the plan for people, in the order of time."""
        for moment in sorted((*self.calls, *self.events), key=lambda moment: moment.at):
            told = {name: value for name, value in asdict(moment).items() if value not in (None, "", False, (), {})}
            yield f"{told.pop('at'):8.2f}  {' '.join(f'{name}={value}' for name, value in told.items())}"


def make_plan(seed: int, *, jobs: int, vms: int, kills: int) -> Plan:
    """Return the plan of a seed: the same for the same numbers, on any machine."""
    rng = random.Random(f"{seed}/{jobs}/{vms}/{kills}")
    seconds = QUIET_SECONDS + max(jobs * SECONDS_PER_CALL, kills * SECONDS_PER_KILL)
    calls = tuple(_call(rng, number, rng.uniform(0, seconds), vms) for number in range(jobs))
    events = [*_kills(rng, kills, seconds), *_freezes(rng, kills, seconds), *_people(rng, jobs, vms, seconds)]
    events += [*_faults(rng, jobs, seconds), *_store(rng, jobs, kills, seconds)]
    return Plan(
        seed,
        vms,
        seconds,
        {vm: _character(rng) for vm in range(vms)},
        tuple(sorted(calls, key=lambda call: call.at)),
        tuple(sorted(events, key=lambda event: event.at)),
    )


def _character(rng: random.Random) -> dict[str, Any]:
    character: dict[str, Any] = {"guest_seconds": round(rng.uniform(1, 8), 2)}
    nature = rng.random()
    if nature < 0.2:
        character["ignore_acpi"] = True
    elif nature < 0.25:
        character["hang_in_stopping"] = True
    elif nature < 0.3:
        character["refuse_cpu_change"] = True
    return character


def _off(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return "power_off_vm", {
        "wait_timeout": rng.choice((0, 1, 2, 3)),
        "force_after_timeout": rng.choice((True, False, None)),
    }


def _resize(rng: random.Random) -> tuple[str, dict[str, Any]]:
    size = rng.choice(({"cpu_cores": rng.randint(1, 6)}, {"ram_mb": 512 * rng.randint(1, 4)}))
    more = {"wait_timeout": rng.choice((1, 2, 3)), "force_after_timeout": rng.random() < 0.6}
    return "modify_vm", {**size, "shutdown_if_running": rng.random() < 0.75, **more}


def _restore(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return "restore_vm_snapshot", {"shutdown_if_running": True, "wait_timeout": 2, "force_after_timeout": True}


KINDS: dict[Callable[[random.Random], tuple[str, dict[str, Any]]], int] = {
    _off: 22,
    (lambda rng: ("power_on_vm", {})): 20,
    (lambda rng: ("force_off_vm", {})): 7,
    (lambda rng: ("reset_vm", {"hard": rng.random() < 0.5})): 8,
    _resize: 14,
    (lambda rng: ("create_vm_snapshot", {"description": "chaos"})): 8,
    (lambda rng: ("delete_vm_snapshot", {})): 4,
    _restore: 3,
    (lambda rng: ("add_drive", {"name": f"d{rng.randrange(10**9)}", "size_gb": 1})): 4,
    (lambda rng: ("resize_drive", {})): 4,
    (lambda rng: ("network_action", {"action": rng.choice(("poweron", "poweroff", "reset", "apply"))})): 4,
    (lambda rng: ("tenant_action", {"action": rng.choice(("poweron", "poweroff", "reset"))})): 2,
}


def _call(rng: random.Random, number: int, at: float, vms: int) -> Call:
    tool, arguments = rng.choices(list(KINDS), list(KINDS.values()))[0](rng)
    face = rng.choices(("rest", "mcp", "person"), (60, 35, 5))[0]
    key = f"key-{number}" if face == "rest" and rng.random() < 0.6 else None
    if tool in {"network_action", "tenant_action"}:
        arguments["id"] = rng.choice(NETWORKS if tool == "network_action" else TENANTS)
    return Call(
        at=round(at, 3),
        name=f"c{number}",
        caller=rng.choice(CALLERS),
        face=face,
        tool=tool,
        vm=rng.randrange(vms),
        arguments=arguments,
        key=key,
        hangs_up=round(rng.uniform(0.005, 0.3), 3) if rng.random() < 0.15 else None,
        repeats=tuple(round(rng.uniform(0.2, 20), 2) for _ in range(rng.choice((0, 0, 0, 1, 2)))) if key else (),
        cancel=round(rng.uniform(0.0, 4.0), 2) if rng.random() < 0.1 else None,
        after=rng.random() < 0.3,
        misuse=key is not None and tool == "power_off_vm" and rng.random() < 0.2,
        says_yes=rng.random() < 0.5,
    )


def _moments(rng: random.Random, count: int, seconds: float) -> list[float]:
    return sorted(round(rng.uniform(QUIET_SECONDS, seconds), 3) for _ in range(count))


def _kills(rng: random.Random, kills: int, seconds: float) -> Iterator[Event]:
    """Workers die most often; whoever is started again may go by a clock that is off."""
    for at in _moments(rng, kills, seconds):
        who = rng.choices(("worker0", "worker1", "gateway0", "gateway1", "redis"), (37, 37, 10, 10, 6))[0]
        skew = round(rng.uniform(-40, 40), 1) if who.startswith("worker") and rng.random() < 0.3 else 0.0
        yield Event(at, "kill", who, {"away": round(rng.uniform(0, 1.5), 2), "skew": skew})


def _freezes(rng: random.Random, kills: int, seconds: float) -> Iterator[Event]:
    everybody = ("worker0", "worker1", "gateway0", "gateway1", "redis", "vergeos")
    for at in _moments(rng, max(kills // 3, 3), seconds):
        who = rng.choices(everybody, (30, 30, 10, 10, 10, 10))[0]
        yield Event(at, "freeze", who, {"seconds": round(rng.uniform(0.2, 6), 2)})


def _people(rng: random.Random, jobs: int, vms: int, seconds: float) -> Iterator[Event]:
    """People in VergeOS' own UI: they start, stop, rename and change VMs, and now and then replace one."""
    deeds = ("kill", "poweron", "poweroff", "rename", "cores", "replace")
    for number, at in enumerate(_moments(rng, jobs // 10, seconds)):
        deed = rng.choices(deeds, (20, 20, 15, 15, 20, 4))[0]
        yield Event(at, "meddle", str(rng.randrange(vms)), {"deed": deed, "number": number})


def _faults(rng: random.Random, jobs: int, seconds: float) -> Iterator[Event]:
    for at in _moments(rng, jobs // 3, seconds):
        kind = rng.choices(
            ("status", "reset_before", "reset_after", "late", "hang", "latency", "malformed", "reads", "slow reads"),
            (16, 8, 20, 16, 10, 18, 6, 6, 8),
        )[0]
        yield Event(at, "fault", options=_fault(rng, kind))
    for at in _moments(rng, max(jobs // 150, 1), seconds):
        yield Event(at, "blackout", options={"seconds": round(rng.uniform(0.5, 5), 2)})
    for at in _moments(rng, max(jobs // 500, 1), seconds):
        yield Event(at, "revoke", options={"seconds": round(rng.uniform(0.5, 3), 2)})


def _fault(rng: random.Random, kind: str) -> dict[str, Any]:
    """Return a fault of the simulation; shares of a step stand for seconds, for engines run at different speeds."""
    if kind == "slow reads":
        return {"kind": "latency", "share": round(rng.uniform(0.2, 0.7), 2), "method": "GET", "count": 60}
    if kind == "reads":
        return {"kind": "status", "status": rng.choice((500, 503)), "method": "GET", "count": rng.randint(1, 4)}
    fault: dict[str, Any] = {"kind": kind, "method": "POST|PUT", "path": WRITES, "count": rng.choice((1, 1, 2))}
    if kind == "status":
        fault |= {"status": rng.choice((500, 502, 503, 504)), "effect": rng.random() < 0.6}
    elif kind == "hang":
        fault |= {"effect": rng.random() < 0.6}
    elif kind == "late":
        fault |= {"share": round(rng.uniform(0.05, 0.8), 2), "answer": rng.choice(("reset", "504"))}
    elif kind == "latency":
        fault |= {"share": round(rng.uniform(0.1, 0.9), 2), "count": rng.randint(2, 8)}
    elif kind == "malformed":
        fault |= {"body": rng.choice(("html", "truncated", "empty"))}
    return fault


def _store(rng: random.Random, jobs: int, kills: int, seconds: float) -> Iterator[Event]:
    """What befalls Redis: keys that are lost, and the copy of some seconds ago in place of the data."""
    for at in _moments(rng, max(kills // 2, 4), seconds):
        yield Event(at, "evict", options={"number": rng.randrange(10**6)})
    for at in _moments(rng, max(jobs // 15, 4), seconds):
        yield Event(at, "fault", options=_fault(rng, "slow reads"))
        for later in (0.1, 0.3, 0.5, 0.7):  # steps that take long lose their leases, and two workers run the same one
            yield Event(round(at + later, 3), "lose_leases")
    for number in range(kills // 50 + (kills >= 10)):
        at = seconds * (number + 0.6) / (kills // 50 + 1)
        yield Event(round(at, 3), "go_back", "redis", {"seconds": round(rng.uniform(0.5, 3), 2)})
