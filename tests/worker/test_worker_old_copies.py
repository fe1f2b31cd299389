"""Redis comes back from an older copy, which knows nothing of the act: it is not sent again."""

import shutil
import signal

import pytest
from stepping import crew_on

from gateway.core.job import Target
from gateway.core.wishes import NetworkAction, Reset, RestoreSnapshot, TenantAction
from gateway.store.submission import Draft
from tests.conftest import eventually


@pytest.fixture
async def crew(sim, own_redis):
    async with crew_on(sim, own_redis.url) as opened:
        yield opened


def a_vm(sim):
    vm = sim.vm("web-1")
    return Target(key=vm.key, machine_key=vm.machine_key, name=vm.name, uuid=vm.uuid)


def a_network(sim):
    row = next(row for row in sim.world.db["vnets"] if row["type"] == "internal")
    return Target(kind="network", key=row["$key"], machine_key=row["machine"], name=row["name"], uuid="")


def a_tenant(sim):
    row = next(row for row in sim.world.db["tenants"] if row["name"] == "acme")
    return Target(kind="tenant", key=row["$key"], machine_key=None, name=row["name"], uuid=row["uuid"])


ACTS = {
    "hard reset": (a_vm, lambda _: Reset(hard=True), "reset"),
    "graceful reset": (a_vm, lambda _: Reset(), "reset"),
    "reset of a network": (a_network, lambda _: NetworkAction(action="reset"), "reset"),
    "reset of a tenant": (a_tenant, lambda _: TenantAction(action="reset"), "reset"),
    "restore": (
        a_vm,
        lambda sim: RestoreSnapshot(snapshot_key=sim.vm("web-1").snapshot("before"), may_stop=True, wait_seconds=60),
        "restore",
    ),
}


SOON = {"graceful reset", "restore"}  # the others tell the same of other objects, and take a while
NAMES = [name if name in SOON else pytest.param(name, marks=pytest.mark.slow) for name in ACTS]


async def accepted(crew, name):
    """Submit the job of this name; return it."""
    target, wish, action = ACTS[name]
    if target is a_vm:
        crew.sim.vm("web-1").start()
    draft = Draft(
        tool="a_tool", arguments={}, wish=wish(crew.sim), target=target(crew.sim), owner="tester", face="rest"
    )
    return await crew.first.submit(draft), action


async def old_enough(crew, job):
    """Return when the job may have acted in a history that Redis forgot."""

    async def old():
        return await crew.jobs.now() >= job.created_at + crew.settings.times.settle

    await eventually(old)


@pytest.mark.parametrize("name", NAMES)
async def test_what_redis_forgot_is_not_sent_again(crew, own_redis, name):
    job, action = await accepted(crew, name)
    kept, copy = own_redis.folder / "appendonlydir", own_redis.folder / "copy"
    shutil.copytree(kept, copy)
    async with crew.watching():
        await crew.drive(job.id, until=lambda job: job.act(action) is not None)
    own_redis.stop(signal.SIGKILL)
    shutil.rmtree(kept)
    copy.rename(kept)
    own_redis.start()
    assert (await crew.jobs.get(job.id)).act(action) is None
    await old_enough(crew, job)
    async with crew.watching():
        ended = await crew.drive(job.id, crew.second)
    assert [sent.action for sent in crew.sim.actions].count(action) == 1
    assert ended.act(action) is not None
    assert ended.state == "completed" or ended.trouble.code == "outcome_unknown"


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTS)
async def test_a_job_that_only_waited_for_long_acts_all_the_same(crew, name):
    job, action = await accepted(crew, name)
    await old_enough(crew, job)
    async with crew.watching():
        ended = await crew.drive(job.id)
    assert ended.state == "completed"
    assert [sent.action for sent in crew.sim.actions].count(action) == 1


@pytest.mark.slow
async def test_the_reset_of_a_job_before_is_not_taken_for_ones_own(crew):
    first, _ = await accepted(crew, "graceful reset")
    second, _ = await accepted(crew, "hard reset")
    async with crew.watching():
        await crew.drive(first.id)
        await old_enough(crew, second)
        ended = await crew.drive(second.id)
    assert ended.state == "completed"
    assert crew.actions(crew.sim.vm("web-1")) == ["reset", "reset"]
