"""The audit: every change and every refusal, who and what came of it, each upstream write once, in chains that hold."""

import argparse
import json
from collections import Counter
from pathlib import Path

import pytest
from inprocess import engine_settings, house
from kinds import ACT_FAULTS, PARTS, SWITCHES, call_of, let_workers_die, quick_settings, running_vms, strike

from gateway import guard_commands
from gateway.audit_command import BrokenAudit, UnreadableAudit, verified
from gateway.calls import Call, Face, answer_question, run
from gateway.core.access import Caller, CallerKind, Permission
from gateway.core.audit import Chain, faults, written
from gateway.core.errors import Forbidden, GatewayError
from gateway.rights.issuing import issue
from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.api_keys import NewKey
from gateway.telemetry.archive import open_archive
from gateway.tools import CATALOG
from tests.conftest import eventually

VIEWER = Caller("vera", frozenset({Permission.READ}))
WRITES = {  # what the acts of jobs are called on VergeOS' side
    "set_size": ("vms", "update"),
    "create_drive": ("machine_drives", "create"),
    "resize_drive": ("machine_drives", "update"),
    "create_snapshot": ("machine_snapshots", "create"),
    "delete_snapshot": ("machine_snapshots", "delete"),
}


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def gateway(sim, redis_url, archive):
    settings = engine_settings(sim, redis_url).model_copy(update={"audit_log": str(archive)})
    async with house(sim, settings) as served:
        yield served


def entries(archive, **wanted):
    """Return the archived entries that have these members."""
    found = [json.loads(line) for line in archive.read_text().splitlines()]
    return [entry for entry in found if wanted.items() <= entry.items()]


async def test_a_change_is_told_from_its_call_to_its_end(gateway, archive):
    vm = gateway.sim.vm("web-1")
    job = await gateway.power_off(vm, {"User-Agent": "backup/2"}, wait_timeout=60, reason="upgrade")
    await gateway.ended(job["id"])
    await eventually(lambda: entries(archive, event="end"))
    call, act, answer, end = entries(archive, job=job["id"])
    arguments = {"id": str(vm.key), "wait_timeout": 60, "reason": "upgrade"}
    who = {"by": "local", "kind": "person", "address": "127.0.0.1", "face": "rest", "client": "backup/2"}
    assert call.items() >= {"event": "call", "tool": "power_off_vm", "outcome": "accepted", **who}.items()
    assert call["arguments"] == arguments
    target = {"kind": "vm", "key": vm.key, "name": "web-1"}
    assert act.items() >= {"event": "act", "action": "poweroff", "by": "local", "target": target}.items()
    assert answer["outcome"] == "ok"
    assert answer["calls"] == [{"method": "POST", "endpoint": "vm_actions", "outcome": "ok"}]
    assert (end["state"], end["before"]["running"], end["after"]["running"]) == ("completed", True, False)
    await eventually(lambda: window_shows(gateway, job["id"], [call, act, answer, end]))


async def window_shows(gateway, job_id, wanted):
    """Tell whether the window holds these entries of a job; a worker's come to it in a moment."""
    window = await gateway.services.audit.newest(100)
    return [entry for entry in window if entry.get("job") == job_id] == wanted


async def test_every_refusal_is_told_and_so_is_its_rule_and_reads_are_not(gateway, archive):
    await gateway.services.freeze("ann", "fire")
    (await gateway.call("POST", "/vms/web-1/poweroff")).problem(423, "frozen")
    call = Call(gateway.services, VIEWER, Face.MCP, client="claude")
    for tool in ("force_off_vm", "freeze"):
        with pytest.raises(Forbidden):
            await run(CATALOG[tool], {"id": "web-1"}, call)
    await run(CATALOG["list_vms"], {}, call)
    with pytest.raises(Forbidden):
        await run(CATALOG["list_vms"], {}, Call(gateway.services, Caller("nobody"), Face.MCP))
    told = [(entry["by"], entry["tool"], entry["outcome"]) for entry in entries(archive)]
    assert told == [
        ("local", "power_off_vm", "frozen"),
        ("vera", "force_off_vm", "forbidden"),
        ("vera", "freeze", "forbidden"),
        ("nobody", "list_vms", "forbidden"),
    ]
    assert "ann" in entries(archive, outcome="frozen")[0]["detail"]


async def test_an_answer_to_a_job_is_told_and_an_agent_gives_none(gateway, archive):
    agent = Caller("claude", frozenset(Permission), CallerKind.AGENT, "ann")
    vm = gateway.sim.vm("web-1").ignore_acpi()
    job = (await gateway.power_off(vm, wait_timeout=600))["id"]
    tool = CATALOG["power_off_vm"]
    with pytest.raises(Forbidden, match="agent"):
        await answer_question(Call(gateway.services, agent, Face.MCP), tool, job, yes=True)
    with pytest.raises(Forbidden):
        await answer_question(Call(gateway.services, VIEWER, Face.MCP), tool, job, yes=False)
    answer = (await gateway.call("POST", f"/jobs/{job}/input", {"answer": False}, {"User-Agent": "curl/8"})).status
    told = [(entry["by"], entry.get("owner"), entry["face"]) for entry in entries(archive, tool="answer")]
    assert told == [("claude", "ann", "mcp"), ("vera", None, "mcp"), ("local", None, "rest")]
    last = entries(archive, tool="answer")[-1]
    assert (last["client"], last["address"], last["outcome"] == "done") == ("curl/8", "127.0.0.1", answer == 200)


async def test_freezes_cancels_and_repeated_calls_are_changes_as_well_and_dry_runs_are_not(gateway, archive):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    job = await gateway.power_off(vm, wait_timeout=600)
    await gateway.power_off(vm, wait_timeout=600)
    await gateway.call("POST", f"/vms/{vm.key}/forceoff", {"dry_run": True})
    await gateway.call("POST", f"/jobs/{job['id']}/cancel")
    await gateway.call("PUT", "/freeze", {"why": "fire"})
    await gateway.call("DELETE", "/freeze")
    calls = [(entry["tool"], entry["outcome"]) for entry in entries(archive, event="call")]
    assert calls == [
        ("power_off_vm", "accepted"),
        ("power_off_vm", "accepted"),
        ("cancel_job", "done"),
        ("freeze", "done"),
        ("unfreeze", "done"),
    ]
    assert "same call" in entries(archive, event="call", job=job["id"])[1]["detail"]


def writes_told(told):
    """Return how many acts were told by VergeOS' names of them, and how many of those it surely did or refused."""
    acts = {(entry["job"], entry["act"], number): entry for number, entry in enumerate(told) if entry["event"] == "act"}
    names = [_name(entry) for entry in acts.values()]
    answered = [entry for entry in told if entry["event"] == "answer"]
    sure = [_name(entry, target) for entry, target in _with_targets(told, answered) if entry["outcome"] == "ok"]
    return Counter(names), Counter(sure)


def _with_targets(told, answered):
    targets = {entry["job"]: entry["target"]["kind"] for entry in told if entry["event"] == "act"}
    return [(entry, targets[entry["job"]]) for entry in answered]


def _name(entry, kind=None):
    table = {"vm": "vm_actions", "network": "vnet_actions", "tenant": "tenant_actions"}[kind or entry["target"]["kind"]]
    return WRITES.get(entry["action"], (table, entry["action"]))


def requests_told(told):
    """Return the writes that the audit tells of, by method and endpoint."""
    calls = [call for entry in told if entry["event"] == "answer" for call in entry.get("calls", ())]
    return Counter(f"{call['method']} {call['endpoint'].split('/')[0]}" for call in calls if call["method"] != "GET")


def writes_received(sim):
    """Return the writes that reached VergeOS, done or not, by method and table."""
    return Counter(
        {label: count for label, count in sim.requests.items() if not label.startswith("GET ") and "sys/" not in label}
    )


@pytest.mark.slow
async def test_entries_match_what_reached_vergeos_one_to_one_whatever_goes_wrong(redis_url, archive):
    async with Simulator(SimulatorSettings(vms=60, seed=7, time_scale=20.0)) as sim:
        settings = quick_settings(sim, redis_url).model_copy(update={"audit_log": str(archive)})
        async with house(sim, settings) as gateway:
            jobs = await struck_jobs(gateway)
            for job in jobs:
                await gateway.ended(job)
        told = entries(archive)
        assert requests_told(told) == writes_received(sim)
        acts, sure = writes_told(told)
        done = Counter((action.table, action.action) for action in sim.actions)
        assert not done - acts, "done and not told"
        assert not sure - done, "told and not done"
        ended = {entry["job"] for entry in told if entry["event"] == "end"}
        assert ended == set(jobs)
        assert list(faults(told, whole=True)) == []


async def struck_jobs(gateway):
    """Begin every kind of job, its first act met by one fault after the other; return their ids."""
    sim, jobs = gateway.sim, []
    faulty = [None, *ACT_FAULTS.values()]
    vms = iter(running_vms(sim))
    for number, (name, kind) in enumerate([*PARTS.items(), *SWITCHES.items()]):
        for turn in range(2):
            known = kind.prepare(sim, next(vms) if name in PARTS else 10 * number + turn)
            fault = faulty[(2 * number + turn) % len(faulty)]
            if fault is not None:
                sim.fault(**fault, **strike(kind.sends[0], known))
            jobs.append((await gateway.accepted(*call_of(kind, known)))["id"])
    return jobs


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_worker_did_before_it_died_is_told(gateway, archive, monkeypatch, when):
    let_workers_die(monkeypatch, when)
    vm = gateway.sim.vm("web-1")
    job = await gateway.power_off(vm, wait_timeout=60)
    await gateway.ended(job["id"])
    done = [action.action for action in gateway.sim.actions if action.key == vm.key]
    assert [entry["action"] for entry in entries(archive, event="act", job=job["id"])] == done


async def test_nothing_is_changed_that_the_audit_cannot_tell_of(sim, redis, redis_url):
    async with house(sim, engine_settings(sim, redis_url), workers=0) as gateway:
        job = await gateway.power_off(sim.vm("web-1"))
        full = gateway.settings.model_copy(update={"audit_log": "/dev/full"})
        async with house(sim, full) as mute:
            await mute.call("POST", "/vms/web-2/poweron")  # its entry finds no room
            refused = (await mute.call("POST", "/vms/web-2/poweron")).problem(503, "audit_unavailable")
            assert "AUDIT_LOG" in refused["next_step"]
            assert (await mute.get("/vms")).status == 200

            async def tried_thrice():
                return int(await redis.hget(mute.services.keys.job(job["id"]), "fence")) >= 3

            await eventually(tried_thrice)
            assert (await mute.job(job["id"]))["state"] == "working"
        assert [action.action for action in sim.actions if action.table == "vm_actions"] == []


async def test_while_redis_is_away_the_archive_goes_on(sim, own_redis, tmp_path):
    archive = tmp_path / "audit.log"
    settings = engine_settings(sim, own_redis.url).model_copy(update={"audit_log": str(archive)})
    async with house(sim, settings, workers=0) as gateway:
        own_redis.stop()
        (await gateway.call("POST", "/vms/34/poweroff")).problem(503, "store_unavailable")
        assert entries(archive, tool="power_off_vm", outcome="store_unavailable")
        own_redis.start()

        async def shown():
            await gateway.call("PUT", "/freeze", {"why": "x"})
            return {entry.get("outcome") for entry in await gateway.services.audit.newest(10)}

        assert "store_unavailable" in await eventually(shown)


async def test_the_command_line_shows_exports_and_verifies(gateway, archive, capsys, tmp_path):
    await gateway.call("PUT", "/freeze", {"why": "fire"})
    await gateway.services.audit.flush()
    for action in ("show", "export", "verify"):
        await guard_commands.audit(gateway.settings, argparse.Namespace(action=action, files=[], limit=5))
    shown, exported, whole = capsys.readouterr().out.splitlines()
    assert "by=local" in shown
    assert "tool=freeze" in shown
    assert json.loads(exported) == entries(archive)[0]
    assert "each chain is whole" in whole


async def test_what_was_changed_taken_out_or_cut_off_is_found(gateway, archive):
    for why in ("one", "two", "three"):
        await gateway.call("PUT", "/freeze", {"why": why})
    trail = gateway.services.audit
    await trail.flush()
    assert "3 entries of 1 writers" in await verified(trail, [archive])
    whole = archive.read_text().splitlines()
    second = {**json.loads(whole[1]), "by": "somebody else"}
    for spoiled, why in (
        ([whole[0], written(second), whole[2]], "was changed"),
        ([whole[0], whole[2]], "missing"),
        (whole[1:], "before it are missing"),
        (whole[:2], "ends before 3, which was written"),
        ([whole[0], whole[2], whole[1]], "out of order"),
    ):
        archive.write_text("\n".join(spoiled))
        with pytest.raises(BrokenAudit, match=why):
            await verified(trail, [archive])
    anew, entries_said = Chain(second["writer"]), [json.loads(whole[0]), second, json.loads(whole[2])]
    archive.write_text("\n".join(written(anew.link(**_said(entry))) for entry in entries_said))
    with pytest.raises(BrokenAudit, match=f"{second['writer']} 2: is not what was written"):
        await verified(trail, [archive])
    with pytest.raises(GatewayError, match="cannot be read"):
        await verified(trail, [Path("nowhere")])


def _said(entry):
    """Return what a forger would have linked anew, with hashes that fit."""
    members = {
        name: value for name, value in entry.items() if name not in ("at", "event", "writer", "seq", "prev", "hash")
    }
    return {"at": entry["at"], "event": entry["event"], "members": members}


async def test_a_file_that_is_rotated_is_followed_and_both_parts_are_one_chain(gateway, archive):
    parts = [archive.with_suffix(f".{number}") for number in (2, 1)]
    for part, why in zip((*parts, None), ("one", "two", "three"), strict=True):
        await gateway.call("PUT", "/freeze", {"why": why})
        if part is not None:
            archive.rename(part)
    await gateway.services.audit.flush()
    assert [len(part.read_text().splitlines()) for part in (*parts, archive)] == [1, 1, 1]
    assert "3 entries of 1 writers" in await verified(gateway.services.audit, [*parts, archive])
    with pytest.raises(BrokenAudit, match="before it are missing"):
        await verified(gateway.services.audit, [archive])
    with pytest.raises(BrokenAudit, match="3: follows 1: entries are missing"):
        await verified(gateway.services.audit, [parts[0], archive])


async def test_a_line_whose_writer_died_in_the_middle_is_named_and_the_others_hold(gateway, archive):
    await gateway.call("PUT", "/freeze", {"why": "one"})
    whole = archive.read_text()
    archive.write_text(whole + whole.replace(str(json.loads(whole)["writer"]), "dead")[:100])
    with open_archive(str(archive)) as anew:  # as the next process does
        anew.write(written(Chain("next").link(1.0, "call", {"by": "ann"})))
    await gateway.call("PUT", "/freeze", {"why": "two"})
    assert [len(line) > 100 for line in archive.read_text().splitlines()] == [True, False, True, True]
    with pytest.raises(BrokenAudit, match=r"^1 faults: .*audit\.log, line 2 is no entry"):
        await verified(gateway.services.audit, [archive])
    archive.write_text("nothing of ours\n")
    with pytest.raises(UnreadableAudit, match="no entry"):
        await verified(gateway.services.audit, [archive])


async def test_the_window_is_shown_to_administrators_and_the_refused_stand_in_it(gateway, archive):
    headers = {}
    for name, role in (("vera", "viewer"), ("root", "admin")):
        _, token = await issue(gateway.services.directory, NewKey(name, name, CallerKind.PERSON, (role,)))
        headers[name] = {"Authorization": f"Bearer {token}"}
    (await gateway.call("POST", "/vms/web-1/poweroff", headers=headers["vera"])).problem(403, "forbidden")
    (await gateway.call("GET", "/vms", headers={"Authorization": "Bearer nonsense"})).problem(401, "unauthorized")
    (await gateway.call("GET", "/audit", headers=headers["vera"])).problem(403, "forbidden")
    shown = (await gateway.call("GET", "/audit?limit=3", headers=headers["root"])).body
    told = [(entry.get("by"), entry["tool"], entry["outcome"]) for entry in shown]
    assert told == [
        ("vera", "get_audit", "forbidden"),
        (None, "GET /vms", "unauthorized"),
        ("vera", "power_off_vm", "forbidden"),
    ]
    assert shown[2]["rule"] == "no rule gives vera 'operate' here"
    of_one = (await gateway.call("GET", "/audit?by=vera", headers=headers["root"])).body
    assert {entry["by"] for entry in of_one} == {"vera"}
    job = await gateway.accepted("POST", "/vms/web-1/poweroff", {}, headers["root"])
    (accepted,) = entries(archive, event="call", job=job["id"])
    assert accepted["rule"] == "role admin"


async def test_the_rule_about_the_object_itself_is_told(gateway, archive):
    new = NewKey("webmaster", "wim", CallerKind.PERSON, ("operator",), select=("name=web-*",))
    _, token = await issue(gateway.services.directory, new)
    shown = {"Authorization": f"Bearer {token}"}
    job = await gateway.accepted("POST", "/vms/web-1/poweroff", {}, shown)
    (accepted,) = entries(archive, event="call", job=job["id"])
    assert accepted["rule"] == "role operator"
