"""A worker dies at every line that matters, another goes on: each effect comes exactly once, each job ends right."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize
from gateway.store.jobs import Jobs
from worker import acts

LINES_PER_ACT = 6  # around the save of its intent, itself, and the save of its answer
AT_ONCE = 16  # jobs driven at the same time


class Crash(BaseException):
    """The process dies here."""


class Lines:
    """Counts, for each job, the lines at which its worker may die, and kills it at the one that is set."""

    def __init__(self) -> None:
        self.die_at: dict[str, int] = {}
        self.crossed: Counter[str] = Counter()

    def cross(self, job_id: str) -> None:
        self.crossed[job_id] += 1
        if self.crossed[job_id] == self.die_at.get(job_id):
            raise Crash

    def around(self, function: Callable[..., Any], job_of: Callable[..., str]) -> Callable[..., Any]:
        """Return the function with a line before and one after it."""

        async def lined(*args, **kwargs):
            self.cross(job_of(*args))
            result = await function(*args, **kwargs)
            self.cross(job_of(*args))
            return result

        return lined


@pytest.fixture
def lines(monkeypatch):
    """A line before and after each save and each request that changes VergeOS; what lies between changes nothing."""
    counted = Lines()
    monkeypatch.setattr(Jobs, "save", counted.around(Jobs.save, lambda _jobs, _held, job: job.id))
    monkeypatch.setattr(acts, "perform", counted.around(acts.perform, lambda _services, job, _act: job.id))
    return counted


@dataclass(frozen=True)
class Story:
    """What is wished for, of which VM, and which requests it must come to."""

    tool: str
    wish: Callable[[Any], Any]
    actions: list[str]
    runs_before: bool = True
    runs_after: bool = False
    ignores: bool = False
    ends: set[tuple[str, str | None]] = field(default_factory=lambda: {("completed", None)})


OUTCOME_UNKNOWN = {("completed", None), ("failed", "outcome_unknown")}
STORIES = {
    "power off": Story("power_off_vm", lambda vm: PowerOff(wait_seconds=60), ["poweroff"]),
    "power off, ignored, forced": Story(
        "power_off_vm", lambda vm: PowerOff(wait_seconds=1, force=True), ["poweroff", "kill"], ignores=True
    ),
    "power off, ignored": Story(
        *("power_off_vm", lambda vm: PowerOff(wait_seconds=1, force=False), ["poweroff"]),
        ignores=True,
        runs_after=True,
        ends={("failed", "still_running")},
    ),
    "force off": Story("force_off_vm", lambda vm: ForceOff(), ["kill"]),
    "power on": Story("power_on_vm", lambda vm: PowerOn(), ["poweron"], runs_before=False, runs_after=True),
    "reset": Story("reset_vm", lambda vm: Reset(hard=True), ["reset"], runs_after=True, ends=OUTCOME_UNKNOWN),
    "reboot": Story("reset_vm", lambda vm: Reset(), ["reset"], runs_after=True, ends=OUTCOME_UNKNOWN),
    "resize, off": Story("modify_vm", lambda vm: Resize(cpu_cores=vm.cpu_cores + 1), ["update"], runs_before=False),
    "resize, running": Story(
        "modify_vm",
        lambda vm: Resize(cpu_cores=vm.cpu_cores + 1, may_stop=True, wait_seconds=60),
        ["update", "poweroff", "poweron"],
        runs_after=True,
    ),
    "resize, ignored, forced": Story(
        "modify_vm",
        lambda vm: Resize(cpu_cores=vm.cpu_cores + 1, may_stop=True, wait_seconds=1, force=True),
        ["update", "poweroff", "kill", "poweron"],
        ignores=True,
        runs_after=True,
    ),
    "resize, ignored": Story(
        "modify_vm",
        lambda vm: Resize(cpu_cores=vm.cpu_cores + 1, may_stop=True, wait_seconds=1),
        ["update", "poweroff", "update"],
        ignores=True,
        runs_after=True,
        ends={("failed", "still_running")},
    ),
}


def prepared(sim, story):
    """Return all VMs, made ready for a story."""
    vms = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
    for vm in vms:
        vm.start() if story.runs_before else vm.stop()
        vm.ignore_acpi(story.ignores).guest_seconds = 2
    sim.reset_counts()
    return vms


async def told(crew, lines, story, vm, line):
    """Run a story on a VM with a crash at this line; return whether it crashed, and how the story ended."""
    job = await crew.submit(vm, story.wish(vm), story.tool)
    lines.die_at[job.id] = line
    crashed = False
    try:
        job = await crew.drive(job.id)
    except Crash:
        crashed = True
        job = await crew.drive(job.id, crew.second)
    problem = job.trouble.code if job.trouble is not None else None
    return crashed, (job.state.value, problem), crew.actions(vm), vm.running


LONG = {"resize, off", "resize, ignored, forced", "resize, ignored", "power off, ignored", "reboot"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in STORIES])
async def test_wherever_a_worker_dies_the_effect_comes_once_and_the_job_ends_right(big_crew, lines, name):
    story, sim = STORIES[name], big_crew.sim
    vms = prepared(sim, story)
    places = asyncio.Semaphore(AT_ONCE)

    async def tell(line):
        async with places:
            return await told(big_crew, lines, story, vms[line], line)

    async with big_crew.watching():
        job = await big_crew.submit(vms[0], story.wish(vms[0]), story.tool)
        await big_crew.drive(job.id)
        assert big_crew.actions(vms[0]) == story.actions
        most = min(lines.crossed[job.id], len(vms) - 1)
        stories = await asyncio.gather(*(tell(line) for line in range(1, most + 1)))
    wrong = {}
    for line, (crashed, end, actions, running) in enumerate(stories, 1):
        not_sent = story.ends == OUTCOME_UNKNOWN and end[0] == "failed"
        wanted = [] if not_sent else story.actions
        if end not in story.ends or actions != wanted or running is not story.runs_after:
            wrong[line] = (crashed, end, actions, running)
    assert wrong == {}
    surely = LINES_PER_ACT * len(story.actions)  # what lies behind may not be reached in each run
    assert all(crashed for crashed, *_ in stories[:surely])
