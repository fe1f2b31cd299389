"""A small random VergeOS with one VM: it answers, refuses, loses answers, takes effect late, and may not be seen.

Time is the model's own: nothing sleeps, everything that will happen stands in one list of events.
"""

import heapq
import itertools
from bisect import bisect_right
from dataclasses import dataclass, field

from gateway.core.step import Seen
from gateway.core.times import EngineTimes
from gateway.core.vm import VmLook

TIMES = EngineTimes()
NEVER = float("inf")
OFF, ON = "stopped", "running"


class Refused(Exception):
    """VergeOS says no, in its own words."""


class Unreachable(Exception):
    """The request surely had no effect."""


class Lost(Exception):
    """No answer came: the request may have had its effect, or may have it later."""


@dataclass
class Character:
    """How this run's VM and its host behave; seconds, and chances between 0 and 1."""

    acpi: str = "obeys"  # obeys, ignores, hangs
    guest_seconds: float = 5.0
    start_seconds: float = 0.5
    failing_start: str = "never"  # never, always, sometimes, bigger: with more than it had
    refuses_start: float = 0.0
    refuses_size: str = "never"  # never, running, always
    ignores_size: bool = False
    kill_works: bool = True
    refuses: float = 0.0
    loses: float = 0.0
    unreachable: float = 0.0


@dataclass(frozen=True)
class Sent:
    """One request that was sent: `outcome` is ok, refused, unreachable, lost, or late."""

    at: float
    action: str
    outcome: str


class Clock:
    """The model's time and what is due; equal moments keep their order."""

    def __init__(self, start):
        self.now = start
        self._due = []
        self._order = itertools.count()

    def after(self, seconds, what):
        heapq.heappush(self._due, (self.now + seconds, next(self._order), what))

    def pass_until(self, moment):
        """Let everything happen that is due by `moment`."""
        while self._due and self._due[0][0] <= moment:
            self.now, _, what = heapq.heappop(self._due)
            what()
        self.now = max(self.now, moment)

    def next_due(self):
        return self._due[0][0] if self._due else NEVER


@dataclass
class Vm:
    """What is true of the VM, whoever sees it."""

    running: bool
    status: str
    cpu_cores: int = 2
    ram_mb: int = 2048
    in_force: tuple[int, int] = (2, 2048)
    need_restart: bool = False
    started_at: float | None = None
    plan: int = 0
    planned: bool = False
    logged: list[tuple[float, str]] = field(default_factory=list)


class World:
    """VergeOS, its VM, the people around it, and the times when it cannot be seen."""

    def __init__(self, rng, *, start, running, character):
        self.rng = rng
        self.clock = Clock(start)
        self.is_ = character
        self.vm = Vm(running, ON if running else OFF, started_at=start - 500.0 if running else None)
        self.blind = []
        self.sent = []
        self.stopped_by_others = False
        self.landings = []
        self.seen_states = [(start, self.vm.running, self.vm.status, self.vm.started_at)]

    @property
    def now(self):
        return self.clock.now

    def unseen(self, moment):
        return any(begin <= moment < end for begin, end in self.blind)

    # what happens to the VM

    def _change(self, **changes):
        for name, value in changes.items():
            setattr(self.vm, name, value)
        self.seen_states.append((self.now, self.vm.running, self.vm.status, self.vm.started_at))

    def state_at(self, moment):
        """Return when the state that stood at `moment` began, running, status and start."""
        return self.seen_states[bisect_right(self.seen_states, moment, key=lambda state: state[0]) - 1]

    def _plan(self, *steps):
        """Let the steps follow unless another plan takes their place."""
        self.vm.plan += 1
        self.vm.planned, mine = True, self.vm.plan
        for seconds, what in steps:
            self.clock.after(seconds, lambda what=what: what() if self.vm.plan == mine else None)

    def _stand(self, *, running):
        self.vm.planned = False
        if running:
            self.vm.in_force = (self.vm.cpu_cores, self.vm.ram_mb)
            self._change(running=True, status=ON, started_at=self.now, need_restart=False)
        else:
            self._change(running=False, status=OFF)

    def take_effect(self, action, params):
        """Do what a request asks, or raise `Refused`."""
        getattr(self, f"_{action}")(**params)

    def _poweron(self):
        if self.vm.status != OFF:
            raise Refused(f"Machine is already running with status '{self.vm.status}'")
        if self.rng.random() < self.is_.refuses_start:
            raise Refused("no resources")
        bigger = self.vm.cpu_cores > 2 or self.vm.ram_mb > 2048
        fails = {"never": False, "always": True, "sometimes": self.rng.random() < 0.5, "bigger": bigger}
        self._change(status="initializing")
        works = not fails[self.is_.failing_start]
        self._plan((self.is_.start_seconds, lambda: self._stand(running=works)))

    def _poweroff(self):
        if not self.vm.running:
            raise Refused("Machine is not running")
        self.vm.logged.append((self.now, "poweroff"))
        if self.is_.acpi == "ignores" or self.vm.planned:
            return
        seconds = self.is_.guest_seconds
        steps = [(max(seconds - 0.5, 0.0), lambda: self._change(status="stopping"))]
        if self.is_.acpi == "obeys":
            steps.append((seconds, lambda: self._stand(running=False)))
        self._plan(*steps)

    def _kill(self):
        if self.vm.status == OFF:
            raise Refused("Machine is not running")
        if self.is_.kill_works:
            self._change(status="stopping")
            self._plan((1.0, lambda: self._stand(running=False)))

    def _reset(self, graceful=False):
        if not self.vm.running:
            raise Refused("Machine is not running")
        self.vm.logged.append((self.now, "reset"))
        if graceful and self.is_.acpi != "obeys":
            return
        seconds = self.is_.guest_seconds if graceful else 0.3
        self._plan((seconds, lambda: self._stand(running=True)))

    def _set_size(self, **sizes):
        if self.is_.refuses_size == "always" or (self.is_.refuses_size == "running" and self.vm.running):
            raise Refused("cannot be modified")
        if self.is_.ignores_size or all(getattr(self.vm, name) == value for name, value in sizes.items()):
            return
        self._change(**sizes, need_restart=self.vm.running)

    def meddle(self, action):
        """Somebody outside does this to the VM."""
        try:
            self.take_effect(action, {})
        except Refused:
            return
        self.stopped_by_others |= action in {"poweroff", "kill"}

    # what the gateway does

    def request(self, action, params):
        """Send one act; raise what became of it."""
        begun = self.now
        if (self.unseen(begun) and self.rng.random() < 0.5) or self.rng.random() < self.is_.unreachable:
            self.sent.append(Sent(begun, action, "unreachable"))
            raise Unreachable
        if self.unseen(begun) or self.rng.random() < self.is_.loses:
            self._lose(begun, action, params)
        self.clock.pass_until(begun + self.rng.choice((0.0, 0.01, 0.3, TIMES.request - 0.1)))
        try:
            if self.rng.random() < self.is_.refuses:
                raise Refused("not now")
            self.take_effect(action, params)
        except Refused:
            self.sent.append(Sent(begun, action, "refused"))
            raise
        self.sent.append(Sent(begun, action, "ok"))
        self.landings.append((self.now, action))

    def _lose(self, begun, action, params):
        """The answer is lost; the effect comes never, at once, or late, at the latest before the act is settled."""
        kind = self.rng.choice(("never", "at once", "late"))
        self.sent.append(Sent(begun, action, "lost"))
        if kind != "never":
            seconds = 0.0 if kind == "at once" else self.rng.uniform(0.0, TIMES.settle - 0.05)
            self.clock.after(seconds, lambda: self._land(action, params))
        self.clock.pass_until(begun + self.rng.uniform(0.0, TIMES.request))
        raise Lost

    def _land(self, action, params):
        try:
            self.take_effect(action, params)
        except Refused:
            return
        self.landings.append((self.now, action))

    def look(self, *, log, log_since, rooms):
        """Return a live look, with whether the log tells of the action `log`; raise `Unreachable` when blind."""
        at = self.now
        self.clock.pass_until(at + self.rng.choice((0.0, 0.01, 0.4)))
        if self.unseen(at):
            raise Unreachable
        vm = self.vm
        look = VmLook(
            key=34,
            machine=91,
            name="web-1",
            uuid="u-34",
            is_snapshot=False,
            enabled=True,
            allow_hotplug=True,
            guest_agent=True,
            running=vm.running,
            status=vm.status,
            status_info="",
            started_at=None if vm.started_at is None else int(vm.started_at),
            node="node1" if vm.running else None,
            cpu_cores=vm.cpu_cores,
            ram_mb=vm.ram_mb,
            need_restart=vm.need_restart,
            max_cores_per_vm=64,
            max_ram_mb_per_vm=None,
        )
        in_log = any(action == log and logged >= log_since for logged, action in vm.logged) if log else None
        return Seen(
            at=at,
            running=vm.running,
            status=vm.status,
            started_at=vm.started_at,
            vm=look,
            asked_in_log=in_log,
            rooms=rooms,
            room_mb=65_536 if rooms else None,
        )
