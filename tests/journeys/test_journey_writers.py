"""With whose VergeOS key changes are made: enrolled by people, shown by the worker, never replaced in silence."""

import argparse
import asyncio
import io

import pytest
from inprocess import engine_settings, house
from pydantic import SecretStr

from gateway import enroll_command
from gateway.calls import Call, Face, run
from gateway.core.access import Caller, CallerKind, Permission
from gateway.core.errors import Forbidden, InvalidArgument, NotEnrolled
from gateway.remote import Refused
from gateway.tools import CATALOG
from tests.conftest import eventually

ALL = frozenset(Permission)
ANN = Caller("ann", ALL)
AGENT = Caller("claude", ALL, CallerKind.AGENT, "ann")
ROBOT = Caller("backup-robot", ALL, CallerKind.MACHINE)
KEY, OTHER_KEY = "anns-own-vergeos-key-1", "anns-own-vergeos-key-2"
SECRET = SecretStr("a secret of thirty-two characters")


def served(sim, redis_url, tmp_path=None, *, workers=1, **more):
    update = {"write_as": "caller", "gateway_secret_key": SECRET, "service_writers": ("backup-*",), **more}
    if tmp_path is not None:
        update["audit_log"] = str(tmp_path / "audit.log")
    return house(sim, engine_settings(sim, redis_url).model_copy(update=update), workers=workers)


@pytest.fixture
async def gateway(sim, redis_url, tmp_path):
    sim.add_account("ann", "pass", KEY)
    async with served(sim, redis_url, tmp_path) as house:
        yield house


async def call(gateway, tool, caller=ANN, face=Face.REST, **arguments):
    if caller.kind is CallerKind.AGENT and CATALOG[tool].makes_job:
        arguments["reason"] = "asked"
    return (await run(CATALOG[tool], arguments, Call(gateway.services, caller, face))).value


async def enrolled(gateway, key=KEY, **more):
    return await call(gateway, "enroll_key", api_key=key, **more)


def users(sim, vm):
    """Return as whom each act on a VM was done, in order."""
    return [(action.action, action.user) for action in sim.actions if action.key == vm.key]


async def test_who_enrolled_no_key_changes_nothing_and_reads_all(gateway):
    with pytest.raises(NotEnrolled, match="ann enrolled none"):
        await call(gateway, "power_off_vm", id="web-1")
    assert (await call(gateway, "list_vms")).total > 0
    assert gateway.sim.actions == []
    assert await gateway.services.jobs.open() == []


async def test_changes_show_the_key_of_their_caller_and_those_of_an_agent_its_owners(gateway):
    shown = await enrolled(gateway)
    assert (shown.person, shown.vergeos_user) == ("ann", "ann")
    for caller, name in ((ANN, "web-1"), (AGENT, "web-2")):
        vm = gateway.sim.vm(name)
        job = await call(gateway, "force_off_vm", caller, id=name)
        assert (await gateway.ended(job.id))["state"] == "completed"
        assert users(gateway.sim, vm) == [("kill", "ann")]


async def test_the_gateway_itself_writes_for_those_whom_a_rule_names(gateway):
    vm = gateway.sim.vm("web-1")
    job = await call(gateway, "force_off_vm", ROBOT, id="web-1")
    await gateway.ended(job.id)
    ((_, user),) = users(gateway.sim, vm)
    assert user not in ("ann", "")


async def test_a_key_that_vergeos_refuses_or_that_is_not_that_users_is_not_enrolled(gateway):
    with pytest.raises(InvalidArgument, match="VergeOS refuses this key"):
        await enrolled(gateway, "no such key")
    with pytest.raises(InvalidArgument, match="sees no VergeOS user 'nobody'"):
        await enrolled(gateway, user="nobody")
    with pytest.raises(NotEnrolled):
        await call(gateway, "power_off_vm", id="web-1")


@pytest.mark.parametrize("face", [Face.MCP, Face.PLAIN, Face.STDIO])
async def test_a_key_said_in_a_conversation_is_refused(gateway, face):
    with pytest.raises(Forbidden, match="conversation"):
        await call(gateway, "enroll_key", face=face, api_key=KEY)


async def test_an_agent_enrols_nothing(gateway):
    for tool, arguments in (("enroll_key", {"api_key": KEY}), ("forget_key", {})):
        with pytest.raises(Forbidden, match="ann"):
            await call(gateway, tool, AGENT, **arguments)


async def test_without_a_secret_key_nothing_is_enrolled_and_with_one_redis_opens_nothing(sim, redis, redis_url):
    sim.add_account("ann", "pass", KEY)
    async with served(sim, redis_url, workers=0, gateway_secret_key=None) as bare:
        with pytest.raises(InvalidArgument, match="GATEWAY_SECRET_KEY"):
            await enrolled(bare)
    async with served(sim, redis_url, workers=0) as house:
        await enrolled(house)
        (stored,) = (await redis.hgetall(house.services.keys.enrolled)).values()
    assert KEY.encode() not in stored
    another = SecretStr("another secret of the same length")
    async with served(sim, redis_url, workers=0, gateway_secret_key=another) as house:
        assert await house.services.writers.client("ann") is None


async def test_a_key_taken_back_changes_nothing_any_more(sim, redis_url):
    sim.add_account("ann", "pass", KEY)
    async with served(sim, redis_url, workers=0) as gateway:
        await enrolled(gateway)
        job = await call(gateway, "power_off_vm", id="web-1")
        told = await call(gateway, "forget_key")
        assert "the key of ann is forgotten" in told.detail
        await gateway.start_worker()
        ended = await gateway.ended(job.id)
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "not_enrolled")
    assert sim.actions == []


@pytest.mark.parametrize("how", ["forgotten", "refused"])
async def test_a_vm_that_is_off_in_between_is_started_by_the_gateway_itself_and_the_audit_says_so(gateway, how):
    await enrolled(gateway)
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds, cores = 30, vm.cpu_cores + 1
    stopping = {"cpu_cores": cores, "shutdown_if_running": True, "wait_timeout": 600}
    job = await call(gateway, "modify_vm", id="web-1", **stopping)
    await eventually(lambda: ("poweroff", "ann") in users(gateway.sim, vm))
    if how == "forgotten":
        await call(gateway, "forget_key")
    else:
        gateway.sim.world.accounts.accounts["ann"].api_keys.clear()
    ended = await gateway.ended(job.id)
    assert vm.running, ended
    assert users(gateway.sim, vm)[-1][0] == "poweron"
    assert users(gateway.sim, vm)[-1][1] != "ann"
    await eventually(lambda: last_act_was(gateway, "poweron", "service"))


async def last_act_was(gateway, action, written_as):
    """Tell whether the window shows this act last; a worker's entries come to it in a moment."""
    acts = [entry for entry in await gateway.services.audit.newest(50) if entry["event"] == "act"]
    return (acts[-1]["action"], acts[-1]["written_as"]) == (action, written_as)


async def test_a_key_that_vergeos_takes_no_more_fails_its_job_and_nobody_elses(gateway):
    await enrolled(gateway)
    gateway.sim.world.accounts.accounts["ann"].api_keys.clear()
    job = await call(gateway, "force_off_vm", id="web-1")
    ended = await gateway.ended(job.id)
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "refused")
    assert "the VergeOS key of ann" in ended["detail"]
    assert (await gateway.get("/health")).body["vergeos"] == "no trouble known"
    robots = await call(gateway, "force_off_vm", ROBOT, id="web-2")
    assert (await gateway.ended(robots.id))["state"] == "completed"


async def test_a_new_key_takes_the_place_of_the_old_one_at_once(gateway):
    await enrolled(gateway)
    await gateway.ended((await call(gateway, "force_off_vm", id="web-1")).id)
    gateway.sim.add_account("ann2", "pass", OTHER_KEY)
    await enrolled(gateway, OTHER_KEY, user="ann2")
    await gateway.ended((await call(gateway, "force_off_vm", id="web-2")).id)
    assert users(gateway.sim, gateway.sim.vm("web-2")) == [("kill", "ann2")]


async def test_what_is_created_carries_the_name_of_its_caller(gateway):
    await enrolled(gateway)
    job = await call(gateway, "create_vm_snapshot", vm_id="web-1", description="before", allow_tight=True)
    assert (await gateway.ended(job.id))["state"] == "completed"
    taken = [row for row in gateway.sim.world.db["machine_snapshots"] if f"[job {job.id}]" in row["description"]]
    assert [row["description"] for row in taken] == [f"before (by ann) [job {job.id}]"]


async def test_the_command_line_hands_the_key_over_unseen(sim, redis_url, monkeypatch, capsys):
    sim.add_account("ann", "pass", KEY)
    async with served(sim, redis_url, workers=0) as gateway:
        environment = {"VERGEOS_MCP_URL": gateway.url}
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
        enrol, forget = argparse.Namespace(forget=False, user="ann"), argparse.Namespace(forget=True, user="")
        await asyncio.to_thread(enroll_command.run, enrol, environment)
        await asyncio.to_thread(enroll_command.run, forget, environment)
        monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
        with pytest.raises(Refused, match="VergeOS refuses this key"):
            await asyncio.to_thread(enroll_command.run, enrol, environment)
    told = capsys.readouterr().out
    assert "changes by local are made as VergeOS user ann" in told
    assert KEY not in told
