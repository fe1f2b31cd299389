"""Somebody leaves: one command takes back keys, sessions, streams, the VergeOS key and open jobs, on all replicas."""

import argparse
import asyncio
from contextlib import suppress

import aiohttp
import pytest
from inprocess import engine_settings, house
from pydantic import SecretStr

from gateway import guard_commands
from gateway.core.access import CallerKind
from gateway.rights.issuing import issue
from gateway.store.api_keys import NewKey
from tests.conftest import AT_ONCE_SECONDS, eventually

KEY = "anns-own-vergeos-key"


@pytest.fixture
async def replicas(sim, redis_url):
    """Two gateways with one worker, writing as their callers."""
    sim.add_account("ann", "pass", KEY)
    sim.add_account("bob", "pass", "bobs-own-vergeos-key")
    secret = {"write_as": "caller", "gateway_secret_key": SecretStr("a secret of thirty-two characters")}
    settings = engine_settings(sim, redis_url).model_copy(update=secret)
    async with house(sim, settings) as first, house(sim, settings, workers=0) as second:
        yield first, second


async def key_of(gateway, name, owner, role="engineer", kind=CallerKind.PERSON):
    """Make a key; return the header that shows it."""
    _, token = await issue(gateway.services.directory, NewKey(name, owner, kind, (role,)))
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def team(replicas):
    """The headers of ann, of her agent, of bob and of an administrator; ann and bob have enrolled their keys."""
    first, _ = replicas
    headers = {
        "ann": await key_of(first, "ann-laptop", "ann"),
        "agent": await key_of(first, "claude", "ann", kind=CallerKind.AGENT),
        "bob": await key_of(first, "bob-laptop", "bob"),
        "admin": await key_of(first, "root", "root", "admin"),
    }
    for name, key in (("ann", KEY), ("bob", "bobs-own-vergeos-key")):
        answered = await first.call("PUT", "/me/vergeos-key", {"api_key": key}, headers[name])
        assert answered.status == 200, answered.text
    return headers


async def offboard(gateway, team, name="ann"):
    answered = await gateway.call("POST", f"/people/{name}/offboard", headers=team["admin"])
    assert answered.status == 200, answered.text
    return answered.body


async def ended(gateway, job_id, headers):
    async def final():
        job = (await gateway.call("GET", f"/jobs/{job_id}", headers=headers)).body
        return job if job["state"] in {"completed", "failed", "cancelled"} else None

    return await eventually(final)


async def test_keys_and_streams_end_on_every_replica_at_once(replicas, team):
    first, second = replicas
    assert (await second.call("GET", "/vms", headers=team["ann"])).status == 200
    assert (await second.call("GET", "/vms", headers=team["agent"])).status == 200
    job = await first.accepted("POST", "/vms/web-1/poweroff", {"wait_timeout": 600}, team["bob"])
    async with second.http.get(f"{second.url}/jobs/{job['id']}/events", headers=team["ann"]) as stream:
        assert stream.status == 200
        told = await offboard(first, team)
        assert sorted(told["keys"]) == ["ann-laptop", "claude"]
        async with asyncio.timeout(AT_ONCE_SECONDS):
            await cut(stream)

        async def refused():  # 429: whoever asks as often as this test is told to wait
            return {
                (await replica.call("GET", "/vms", headers=team[who])).status
                for replica in replicas
                for who in ("ann", "agent")
            } <= {401, 429}

        await eventually(refused, AT_ONCE_SECONDS)
    assert (await second.call("GET", "/vms", headers=team["bob"])).status == 200


async def cut(stream):
    """Read a stream until it ends, by whatever end."""
    with suppress(aiohttp.ClientError, OSError):
        while await stream.content.read(4096):
            pass


async def test_the_vergeos_key_is_forgotten_and_its_clients_change_nothing(replicas, team):
    first, _ = replicas
    told = await offboard(first, team)
    assert told["vergeos_key"] == "ann"
    assert await first.services.writers.client("ann") is None


async def test_open_jobs_are_withdrawn_handed_over_or_must_finish_because_a_vm_is_off(replicas, team):
    first, _ = replicas
    stopping, waiting = first.sim.vm("web-1"), first.sim.vm("web-2").ignore_acpi()
    first.sim.vm("db-1").ignore_acpi()
    stopping.guest_seconds, cores = 60, stopping.cpu_cores
    stopping.refuse_cpu_change()
    body = {"cpu_cores": cores + 1, "shutdown_if_running": True, "wait_timeout": 600}
    resizing = await first.accepted("PATCH", "/vms/web-1", body, team["ann"])
    shared = await first.accepted("POST", "/vms/web-2/poweroff", {"wait_timeout": 600}, team["ann"])
    await first.accepted("POST", "/vms/web-2/poweroff", {"wait_timeout": 600}, team["bob"])
    agents = {"wait_timeout": 600, "reason": "asked"}
    behind = await first.accepted("POST", "/vms/db-1/poweroff", agents, team["agent"])
    await eventually(lambda: "poweroff" in [a.action for a in first.sim.actions if a.key == stopping.key])
    told = await offboard(first, team)
    assert [line.split()[0] for line in told["must_finish"]] == [resizing["id"]]
    assert [line.split()[0] for line in told["handed_over"]] == [shared["id"]]
    assert [line.split()[0] for line in told["cancelled"]] == [behind["id"]]
    assert (await ended(first, resizing["id"], team["bob"]))["state"] == "cancelled"
    assert (stopping.running, stopping.cpu_cores) == (True, cores)
    assert (await ended(first, behind["id"], team["bob"]))["state"] == "cancelled"
    bobs = (await first.call("GET", f"/jobs/{shared['id']}", headers=team["bob"])).body
    assert (bobs["owner"], bobs["state"]) == ("bob", "working")
    assert (await first.services.jobs.get(shared["id"])).writes_as == "bob", "with his key, for hers is gone"
    assert waiting.running


async def test_what_a_worker_ends_or_hands_over_first_is_told_all_the_same(replicas, team, monkeypatch):
    first, _ = replicas
    await first.accepted("POST", "/vms/web-1/poweroff", {"wait_timeout": 600}, team["bob"])
    first.sim.vm("web-1").ignore_acpi()
    cores = {"cpu_cores": 8}
    alone = await first.accepted("PATCH", "/vms/web-1", cores, team["ann"])
    shared = await first.accepted("POST", "/vms/web-1/snapshots", {}, team["ann"])
    await first.accepted("POST", "/vms/web-1/snapshots", {}, team["bob"])
    cancel = first.services.jobs.cancel

    async def late(job_id, *who, **how):
        await first.services.jobs.wake([alone["id"], shared["id"]])
        await ended(first, alone["id"], team["bob"])
        await eventually(lambda: belongs(first, shared["id"], "bob"))
        return await cancel(job_id, *who, **how)

    monkeypatch.setattr(first.services.jobs, "cancel", late)
    told = await offboard(first, team)
    assert [line.split()[0] for line in told["cancelled"]] == [alone["id"]]
    assert [line.split()[0] for line in told["handed_over"]] == [shared["id"]]


async def belongs(gateway, job_id, owner):
    return (await gateway.services.jobs.get(job_id)).owner == owner


async def test_what_her_machines_want_and_enrolled_ends_as_well_and_nobody_else_s_of_a_like_name(replicas, team):
    first, _ = replicas
    machine = await key_of(first, "backup", "ann", kind=CallerKind.MACHINE)
    await key_of(first, "bob", "ann", kind=CallerKind.AGENT)  # named as somebody else is
    enrolled = {"api_key": "bobs-own-vergeos-key", "user": "bob"}
    assert (await first.call("PUT", "/me/vergeos-key", enrolled, machine)).status == 200
    hers = await first.accepted("POST", "/vms/web-1/poweroff", {"wait_timeout": 600}, machine)
    bobs = await first.accepted("POST", "/vms/db-1/poweroff", {"wait_timeout": 600}, team["bob"])
    told = await offboard(first, team)
    assert [line.split()[0] for line in told["cancelled"]] == [hers["id"]]
    assert told["vergeos_key"] == "ann, bob"
    assert (await first.services.jobs.get(bobs["id"])).cancel is None
    assert (await first.call("GET", "/vms", headers=team["bob"])).status == 200


async def test_only_an_administrator_offboards_and_nobody_himself(replicas, team):
    first, _ = replicas
    (await first.call("POST", "/people/bob/offboard", headers=team["ann"])).problem(403, "forbidden")
    (await first.call("POST", "/people/root/offboard", headers=team["admin"])).problem(400, "invalid_argument")
    assert (await first.call("GET", "/vms", headers=team["bob"])).status == 200


async def test_to_offboard_twice_or_whom_nobody_knows_changes_nothing_more(replicas, team):
    first, _ = replicas
    await offboard(first, team)
    for name in ("ann", "nobody"):
        told = await offboard(first, team, name)
        assert [told[kind] for kind in ("keys", "cancelled", "handed_over", "must_finish")] == [[], [], [], []]


async def test_the_command_line_says_what_it_did_and_can_let_somebody_in_again(replicas, team, capsys):
    first, _ = replicas
    settings = first.settings
    await guard_commands.offboard(settings, argparse.Namespace(name="ann", undo=False))
    said = capsys.readouterr().out
    assert "keys revoked: " in said
    assert "ann-laptop" in said
    assert "VergeOS key forgotten: ann" in said
    entry = (await first.services.audit.newest(1))[0]
    assert (entry["tool"], entry["arguments"]["name"], entry["outcome"]) == ("offboard", "ann", "done")
    await guard_commands.offboard(settings, argparse.Namespace(name="ann", undo=True))
    assert "let in again" in capsys.readouterr().out
    new = await key_of(first, "ann-new", "ann")
    assert (await first.call("GET", "/vms", headers=new)).status == 200
