"""A worker may die at any line: the next one carries on, and no act happens twice."""

import asyncio
from collections import Counter

import pytest

from gateway.calls import Call, Face, run
from gateway.core.access import LOCAL
from gateway.services import open_services
from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.backend import open_backend
from gateway.store.jobs import Fenced, Jobs
from gateway.tools import CATALOG
from tests.conftest import fast_settings
from worker import acts
from worker.steps import advance

SPEED = 25.0
LINES = ("before_intent", "before_request", "after_request", "after_answer")
WISHES = {  # tool: arguments, the acts in their order, what the VM is in the end
    "power_on_vm": ({"id": "test-vm"}, ["poweron"], True),
    "power_off_vm": ({"id": "web-1", "wait_timeout": 1, "force_after_timeout": True}, ["poweroff", "kill"], False),
    "force_off_vm": ({"id": "web-1"}, ["kill"], False),
    "reset_vm": ({"id": "web-1", "hard": True}, ["reset"], True),
    "modify_vm": (
        {"id": "web-1", "ram_mb": 6000, "shutdown_if_running": True, "wait_timeout": 1, "force_after_timeout": True},
        ["update", "poweroff", "kill", "poweron"],
        True,
    ),
}
CASES = [(name, line, act) for name, (_, names, _) in WISHES.items() for line in LINES for act in range(len(names))]


class Crash(BaseException):
    """The process dies here."""


class Dies:
    """Lets the `act`-th act of a job die at one line, once."""

    def __init__(self, monkeypatch, line: str, act: int) -> None:
        self.line, self.left, self.died = line, act, False
        self.save, self.perform = Jobs.save, acts.perform
        monkeypatch.setattr(Jobs, "save", self.saving())
        monkeypatch.setattr(acts, "perform", self.performing)

    def at(self, line: str) -> None:
        if line != self.line or self.died:
            return
        self.left -= 1
        if self.left < 0:
            self.died = True
            raise Crash

    def saving(self):
        async def save(jobs, held, job, *, acts=False, **how):
            if acts:
                self.at("before_intent")
            saved = await self.save(jobs, held, job, acts=acts, **how)
            if answers(job) > answers(held.job):
                self.at("after_answer")
            return saved

        return save

    async def performing(self, services, job, act):
        self.at("before_request")
        made = await self.perform(services, job, act)
        self.at("after_request")
        return made


def answers(job):
    return sum(act.answered_at is not None for act in job.acts)


@pytest.fixture
async def world(redis_url):
    async with Simulator(SimulatorSettings(vms=12, seed=7, time_scale=SPEED)) as sim:
        sim.vm("web-1").ignore_acpi()
        settings = fast_settings(sim.url, redis_url, engine_speed=SPEED)
        async with (
            open_backend(settings) as backend,
            open_services(settings, backend) as gateway,
            open_services(settings, backend, worker=True) as first,
            open_services(settings, backend, worker=True) as second,
        ):
            yield sim, gateway, first, second


async def submitted(gateway, tool, arguments):
    return (await run(CATALOG[tool], arguments, Call(gateway, LOCAL, Face.REST))).job.id


async def to_the_end(services, job_id):
    """Take steps as a worker does until the job has ended."""
    async with asyncio.timeout(20):
        while (due := await advance(services, job_id)) is not None:  # noqa: ASYNC110  arq's part
            await asyncio.sleep(min(due, 0.05))


@pytest.mark.parametrize(("tool", "line", "act"), CASES)
async def test_the_next_worker_carries_on_and_no_act_happens_twice(world, monkeypatch, tool, line, act):
    sim, gateway, first, second = world
    arguments, expected, runs = WISHES[tool]
    vm = sim.vm(arguments["id"])
    job_id = await submitted(gateway, tool, arguments)
    dies = Dies(monkeypatch, line, act)
    with pytest.raises(Crash):
        await to_the_end(first, job_id)
    assert dies.died
    await to_the_end(second, job_id)
    job = await gateway.jobs.get(job_id)
    done = [action.action for action in sim.actions if action.key == vm.key and action.ok]
    if tool == "reset_vm" and line == "before_request":  # cannot be told from a reset that happened and left no trace
        assert (job.state, job.trouble.code) == ("failed", "outcome_unknown")
        assert done == []
        return
    assert job.state == "completed", job.trouble
    assert Counter(done) == Counter(expected)
    assert done == expected
    assert vm.running is runs


async def test_a_worker_that_was_overtaken_cannot_save(world):
    _, gateway, first, second = world
    job_id = await submitted(gateway, "power_off_vm", {"id": "web-1"})
    stale = await first.jobs.hold(job_id)
    await second.jobs.hold(job_id)
    with pytest.raises(Fenced):
        await first.jobs.save(stale, stale.job)


async def test_a_job_whose_step_was_lost_is_queued_again(world):
    _, gateway, first, _ = world
    job_id = await submitted(gateway, "power_off_vm", {"id": "web-1"})
    assert await first.jobs.rescue() == 0
    await first.jobs.redis.delete(first.keys.arq_queue)
    assert await first.jobs.rescue() == 1
    assert await first.jobs.redis.zscore(first.keys.arq_queue, job_id) is not None
