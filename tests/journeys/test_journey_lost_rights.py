"""Rights that are lost while a job waits: it stops before any act, and whoever shares it has it by his own right."""

from dataclasses import replace

import pytest
from inprocess import engine_settings, house

from gateway.calls import Call, Face, run
from gateway.core.access import CallerKind
from gateway.rights.directory import Directory
from gateway.rights.issuing import issue, revoke
from gateway.store.api_keys import NewKey
from gateway.tools import CATALOG
from tests.conftest import eventually
from worker.advancing import advance

POLICY = "people:\n  ann: engineer\n"
OPEN = ("working", "input_required")


@pytest.fixture
async def gateway(sim, redis_url, tmp_path):
    """A gateway with a worker that looks after waiting jobs twice a second."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    settings = engine_settings(sim, redis_url, fallback=5.0)
    async with house(sim, settings.model_copy(update={"policy_file": tmp_path / "policy.yaml"})) as built:
        yield built


class Holder:
    """Whoever holds a key: an engineer by it, or an agent of `ann`, whose right stands in the policy."""

    def __init__(self, gateway, key, token):
        self.gateway, self.key, self.token = gateway, key, token
        self.headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    async def of(cls, gateway, name, kind=CallerKind.PERSON, owner=None):
        key, token = await issue(gateway.services.directory, NewKey(name, owner or name, kind, ("engineer",)))
        gateway.services.directory.look_again()
        return cls(gateway, key, token)

    async def powers_off(self, vm):
        """Power a VM off that does not react; the job is open for as long as a test lasts."""
        return await self.gateway.power_off(vm.ignore_acpi(), self.headers, wait_timeout=600, reason="asked")

    async def resizes(self, vm):
        body = {"cpu_cores": vm.cpu_cores + 1, "reason": "asked"}
        return await self.gateway.accepted("PATCH", f"/vms/{vm.key}", body, self.headers)

    async def sees(self, job):
        return (await self.gateway.call("GET", f"/jobs/{job['id']}", headers=self.headers)).body

    async def cancels(self, job):
        return await self.gateway.call("POST", f"/jobs/{job['id']}/cancel", {}, self.headers)

    async def revoked(self):
        await revoke(self.gateway.services.directory, self.key.id)


@pytest.fixture
async def people(gateway):
    """Ann, her agent, bob and cid."""
    named = [await Holder.of(gateway, name) for name in ("ann", "bob", "cid")]
    return (*named, await Holder.of(gateway, "claude", CallerKind.AGENT, "ann"))


async def refused(holder, job):
    """Return a job, as this holder sees it, once it was ended for want of a right."""

    async def ended():
        seen = await holder.sees(job)
        return seen if seen["state"] not in OPEN else None

    seen = await eventually(ended)
    assert (seen["state"], seen["problem"]["code"]) == ("failed", "forbidden"), seen
    return seen


async def belongs(holder, job, owner):
    async def his():
        return (await holder.sees(job))["owner"] == owner

    await eventually(his)


@pytest.mark.parametrize("lost", ["key", "policy"])
async def test_a_job_in_line_stops_within_seconds_of_the_loss_of_its_right(gateway, people, tmp_path, lost):
    ann, bob, _, agent = people
    vm = gateway.sim.vm("web-1")
    cores, first, asking = vm.cpu_cores, await bob.powers_off(vm), ann if lost == "key" else agent
    waiting = await asking.resizes(vm)
    if lost == "key":
        await ann.revoked()
    else:
        (tmp_path / "policy.yaml").write_text("people:\n  ann: viewer\n")
        await ann.revoked()  # her own key gave her as much
    seen = await refused(bob, waiting)
    assert "has no longer the right to do this; nothing was done" in seen["problem"]["detail"]
    assert ((await bob.sees(first))["state"], vm.cpu_cores) == ("working", cores)


async def test_a_worker_that_does_not_know_a_new_key_yet_fails_no_job_of_its(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url), workers=0) as gateway:
        directory = Directory(gateway.working.directory.keys, clock=lambda: 0.0)  # all that it knows is fresh for ever
        await directory.refresh()
        ann, vm = await Holder.of(gateway, "ann"), sim.vm("web-1")
        job = await ann.powers_off(vm)
        await advance(replace(gateway.working, directory=directory), job["id"])
        assert vm.power_actions() == ["poweroff"]
        assert (await ann.sees(job))["state"] == "working"


async def test_who_joins_while_a_step_finds_the_owner_s_right_gone_has_the_job(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url), workers=0) as gateway:
        ann, bob, vm = await Holder.of(gateway, "ann"), await Holder.of(gateway, "bob"), sim.vm("web-1")
        job = await ann.resizes(vm)
        await ann.revoked()

        class Late(Directory):
            async def refresh(self, within=0.0):
                await bob.resizes(vm)
                await super().refresh(within)

        await advance(replace(gateway.working, directory=Late(gateway.working.directory.keys)), job["id"])
        assert (await bob.sees(job))["owner"] == "bob"


async def test_a_job_under_way_does_nothing_more_once_its_right_is_lost(gateway, people):
    ann, bob, *_ = people
    vm, other = gateway.sim.vm("web-1").ignore_acpi(), gateway.sim.vm("web-2")
    caller = await gateway.services.directory.by_key(ann.token, "")
    call = Call(gateway.services, caller, Face.MCP, may_ask=True)
    asking = (await run(CATALOG["power_off_vm"], {"id": vm.name, "wait_timeout": 1}, call)).value.model_dump()
    await bob.powers_off(other)
    in_line = await ann.resizes(other)

    async def asks():
        return (await bob.sees(asking))["state"] == "input_required"

    await eventually(asks)
    await ann.revoked()
    await refused(bob, in_line)  # the worker knows
    answered = await gateway.call("POST", f"/jobs/{asking['id']}/input", {"answer": True}, bob.headers)
    assert answered.status == 200, answered.text
    assert "was not asked for" in (await refused(bob, asking))["problem"]["detail"]
    assert [action.action for action in gateway.sim.actions if action.key == vm.key] == ["poweroff"]


async def test_a_job_that_was_handed_over_goes_by_the_right_of_whom_it_was_handed_to(gateway, people):
    ann, bob, cid, _ = people
    vm, other = gateway.sim.vm("web-1"), gateway.sim.vm("web-2")
    await cid.powers_off(vm)
    await cid.powers_off(other)
    shared, anns = await ann.resizes(vm), await ann.resizes(other)
    assert (await bob.resizes(vm))["id"] == shared["id"]
    await ann.cancels(shared)
    await belongs(cid, shared, "bob")
    await ann.revoked()
    await refused(cid, anns)  # the worker knows
    seen = await cid.sees(shared)
    assert (seen["state"], seen["owner"]) == ("working", "bob")
    await bob.revoked()
    assert "bob has no longer the right" in (await refused(cid, shared))["problem"]["detail"]


async def test_a_job_whose_owner_lost_his_right_goes_to_who_shares_it(gateway, people):
    ann, bob, cid, _ = people
    vm = gateway.sim.vm("web-1")
    first, cores = await cid.powers_off(vm), vm.cpu_cores
    shared = await ann.resizes(vm)
    await bob.resizes(vm)
    await ann.revoked()
    await belongs(cid, shared, "bob")
    await cid.cancels(first)

    async def done():
        return (await cid.sees(shared))["state"] == "completed"

    await eventually(done)
    assert vm.cpu_cores == cores + 1
