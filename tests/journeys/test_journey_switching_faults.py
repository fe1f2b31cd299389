"""Networks and tenants through the whole house: each effect once, whatever VergeOS or a worker does meanwhile."""

import pytest
from kinds import (
    ACT_FAULTS,
    READ_FAULTS,
    SWITCHES,
    call_of,
    is_running,
    let_workers_die,
    quick_settings,
    reads_of,
    running_vms,
    sent,
    strike,
)

from gateway.simulator.acting import tenant_actions, vnet_actions
from gateway.simulator.journal import Action
from tests.conftest import eventually

NEVER_SECONDS = 10**6
SLOW_PARTS = [(vnet_actions, "STOP_SECONDS"), (vnet_actions, "START_SECONDS"), (vnet_actions, "KILL_SECONDS")]
SLOW_PARTS += [(vnet_actions, "APPLY_SECONDS"), (tenant_actions, "STOP_SECONDS"), (tenant_actions, "START_SECONDS")]


@pytest.fixture
def settings(sim, redis_url):
    return quick_settings(sim, redis_url)


@pytest.fixture
def nothing_lands(monkeypatch):
    """VergeOS takes what is asked and never comes to its end."""
    for module, name in SLOW_PARTS:
        monkeypatch.setattr(module, name, NEVER_SECONDS)


def each_known(sim):
    return {name: kind.prepare(sim, name) for name, kind in SWITCHES.items()}


async def begun(gateway, name, known, **more):
    return (await gateway.accepted(*call_of(SWITCHES[name], known, **more)))["id"]


async def all_begun(gateway, knowns, **more):
    return {name: await begun(gateway, name, known, **more) for name, known in knowns.items()}


async def test_each_action_succeeds_and_is_sent_once(gateway):
    knowns = each_known(gateway.sim)
    jobs = await all_begun(gateway, knowns)
    for name, known in knowns.items():
        ended = await gateway.ended(jobs[name])
        assert (ended["state"], ended["result"]["changed"]) == ("completed", True), ended
        assert ended["target"] == {"kind": name.split()[0], "id": known["key"], "name": known["name"]}
        assert sent(gateway.sim, known) == list(SWITCHES[name].sends)
        assert SWITCHES[name].there(gateway.sim, known), name
    [reset] = [action for action in gateway.sim.actions if (action.table, action.action) == ("vnet_actions", "reset")]
    assert reset.params == {"apply": True}


@pytest.mark.slow
@pytest.mark.parametrize("name", SWITCHES)
async def test_an_action_whose_answer_is_spoiled_takes_effect_once(gateway, name):
    kind, [action] = SWITCHES[name], SWITCHES[name].sends
    knowns = {fault: kind.prepare(gateway.sim, fault) for fault in ACT_FAULTS}
    for fault, known in knowns.items():
        gateway.sim.fault(**ACT_FAULTS[fault], **strike(action, known))
    jobs = {fault: await begun(gateway, name, known) for fault, known in knowns.items()}
    for fault, known in knowns.items():
        ended, times = await gateway.ended(jobs[fault]), sent(gateway.sim, known)
        if kind.unconfirmed and not times:
            assert (ended["state"], ended["problem"]["code"]) == ("failed", "outcome_unknown"), f"{fault} {ended}"
        else:
            assert (ended["state"], times) == ("completed", [action]), f"{fault} {ended}"
            assert kind.there(gateway.sim, known), fault
    assert gateway.sim.faults == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_that_dies_around_an_act_leaves_it_done_once(gateway, monkeypatch, when):
    let_workers_die(monkeypatch, when)
    knowns = each_known(gateway.sim)
    jobs = await all_begun(gateway, knowns)
    for name, known in knowns.items():
        ended, kind = await gateway.ended(jobs[name]), SWITCHES[name]
        if kind.unconfirmed and when == "before":
            assert (ended["problem"]["code"], sent(gateway.sim, known)) == ("outcome_unknown", [])
        else:
            assert (ended["state"], sent(gateway.sim, known)) == ("completed", list(kind.sends)), f"{name} {ended}"
            assert kind.there(gateway.sim, known), name


@pytest.mark.slow
@pytest.mark.parametrize("fault", READ_FAULTS, ids=lambda fault: fault["kind"] + str(fault.get("status", "")))
async def test_reads_that_vergeos_spoils_at_any_step_change_nothing(idle, fault):
    knowns = each_known(idle.sim)
    jobs = await all_begun(idle, knowns)
    for known in knowns.values():
        idle.sim.fault(**fault, **reads_of(known))
        idle.sim.fault(**fault, **reads_of(known), skip=1)
    await idle.start_worker()
    for name, known in knowns.items():
        ended = await idle.ended(jobs[name])
        assert (ended["state"], sent(idle.sim, known)) == ("completed", list(SWITCHES[name].sends)), f"{name} {ended}"
        assert SWITCHES[name].there(idle.sim, known), name


@pytest.mark.parametrize("status", [403, 422])
async def test_what_vergeos_refuses_ends_the_job_with_its_words(gateway, status):
    knowns = each_known(gateway.sim)
    for name, known in knowns.items():
        gateway.sim.fault("status", status=status, **strike(SWITCHES[name].sends[0], known))
    jobs = await all_begun(gateway, knowns)
    for name, known in knowns.items():
        ended = await gateway.ended(jobs[name])
        assert (ended["state"], ended["problem"]["code"]) == ("failed", "refused"), f"{name} {ended}"
        assert sent(gateway.sim, known) == []


TIMED_OUT = {
    "network poweron": "start_timeout",
    "network poweroff": "still_running",
    "network reset": "start_timeout",
    "network apply": "not_applied",
    "tenant poweron": "start_timeout",
    "tenant poweroff": "still_running",
    "tenant reset": "start_timeout",
}


@pytest.mark.slow
async def test_what_vergeos_takes_and_does_not_end_times_out_and_says_so(gateway, nothing_lands):
    knowns = each_known(gateway.sim)
    jobs = await all_begun(gateway, knowns)
    for name, known in knowns.items():
        ended = await gateway.ended(jobs[name])
        assert ended["state"] == "failed", f"{name} {ended}"
        assert ended["problem"]["code"] == TIMED_OUT[name]
        assert ended["problem"]["next_step"]
        assert sent(gateway.sim, known) == list(SWITCHES[name].sends)


async def test_what_is_there_already_is_left_alone(gateway):
    knowns = each_known(gateway.sim)
    for kind in ("network", "tenant"):
        runs = knowns[f"{kind} reset"]
        ended = await gateway.ended((await gateway.accepted("POST", f"/{kind}s/{runs['key']}/poweron"))["id"])
        assert (ended["state"], ended["result"]) == ("completed", {"running": True, "changed": False})
        away = knowns[f"{kind} poweron"]
        ended = await gateway.ended((await gateway.accepted("POST", f"/{kind}s/{away['key']}/poweroff"))["id"])
        assert (ended["state"], ended["result"]) == ("completed", {"running": False, "changed": False})
        ended = await gateway.ended((await gateway.accepted("POST", f"/{kind}s/{away['key']}/reset"))["id"])
        assert (ended["state"], ended["problem"]["code"]) == ("failed", "not_running")
    ended = await gateway.ended(
        (await gateway.accepted("POST", f"/networks/{knowns['network reset']['key']}/apply"))["id"]
    )
    assert (ended["state"], ended["result"]) == ("completed", {"need_fw_apply": False, "changed": False})
    assert gateway.sim.actions == []


async def test_queued_actions_can_be_cancelled_and_do_nothing(idle):
    knowns = each_known(idle.sim)
    jobs = await all_begun(idle, knowns)
    for job in jobs.values():
        assert (await idle.call("POST", f"/jobs/{job}/cancel")).status == 200
    await idle.start_worker()
    assert {(await idle.ended(job))["state"] for job in jobs.values()} == {"cancelled"}
    assert idle.sim.actions == []


async def test_a_cancel_after_the_request_says_that_it_takes_its_course(gateway, nothing_lands):
    knowns = each_known(gateway.sim)
    jobs = await all_begun(gateway, knowns)
    for name, known in knowns.items():
        await eventually(lambda known=known: sent(gateway.sim, known))
        assert (await gateway.call("POST", f"/jobs/{jobs[name]}/cancel")).status == 200
        ended = await gateway.ended(jobs[name])
        assert ended["state"] == "cancelled", f"{name} {ended}"
        assert "takes its course" in ended["detail"]
        assert sent(gateway.sim, known) == list(SWITCHES[name].sends)


async def test_a_cancel_before_the_answer_sends_nothing_more(gateway):
    knowns = each_known(gateway.sim)
    jobs = {}
    for name, known in knowns.items():
        fault = gateway.sim.fault("hang", **strike(SWITCHES[name].sends[0], known))
        jobs[name] = await begun(gateway, name, known)
        await eventually(lambda fault=fault: fault.hits)
        assert (await gateway.call("POST", f"/jobs/{jobs[name]}/cancel")).status == 200
    for name, known in knowns.items():
        ended = await gateway.ended(jobs[name])
        code = ended.get("problem", {}).get("code")
        assert ended["state"] == "cancelled" or code == "outcome_unknown", f"{name} {ended}"
        assert sent(gateway.sim, known) == []


async def test_a_renamed_network_or_tenant_is_left_alone(idle):
    knowns = each_known(idle.sim)
    jobs = await all_begun(idle, knowns)
    for known in knowns.values():
        table, key = f"{known['owner'][0]}s", known["key"]
        idle.sim.world.db[table].change(idle.sim.world.db[table].rows[key], {"name": f"{known['name']} old"})
    await idle.start_worker()
    for name, job in jobs.items():
        ended = await idle.ended(job)
        assert (ended["state"], ended["problem"]["code"]) == ("failed", "target_changed"), name
    assert idle.sim.actions == []


async def test_opposite_wishes_are_refused_and_others_wait_their_turn(idle):
    known = each_known(idle.sim)["network poweroff"]
    first = await begun(idle, "network poweroff", known)
    (await idle.call("POST", f"/networks/{known['key']}/poweron")).problem(409, "target_busy")
    second = await idle.accepted("POST", f"/networks/{known['key']}/apply")
    assert second["waits_for"] == first
    await idle.start_worker()
    assert (await idle.ended(first))["state"] == "completed"
    assert (await idle.ended(second["id"]))["state"] == "completed"


@pytest.mark.parametrize("kind", ["network", "tenant"])
async def test_a_power_on_waits_for_a_stop_that_somebody_else_asked_for(gateway, kind):
    known = SWITCHES[f"{kind} poweroff"].prepare(gateway.sim, "other")
    stopped_by_another(gateway.sim, known)
    ended = await gateway.ended((await gateway.accepted("POST", f"/{kind}s/{known['key']}/poweron"))["id"])
    assert (ended["state"], ended["result"]["changed"]) == ("completed", True), ended
    assert sent(gateway.sim, known) == ["poweron"]
    assert is_running(gateway.sim, known)


def stopped_by_another(sim, known):
    """Somebody in VergeOS' own pages begins to stop it; it is `stopping` at once."""
    owner, key = known["owner"]
    stop = Action(
        sim.world.db.now(), f"{owner}_actions", key, known["name"], "poweroff" if owner == "tenant" else "kill"
    )
    sim.world.actions.run(stop.table, sim.world.db[f"{owner}s"].rows[key], stop)


DRY_RUNS = {  # what each warns of
    "network poweron": [],
    "network poweroff": [],
    "network reset": [],
    "network apply": [],
    "tenant poweron": [],
    "tenant poweroff": ["all that runs in it stops"],
    "tenant reset": ["all that runs in it stops"],
}


async def test_a_dry_run_of_each_action_says_what_it_would_do_and_does_nothing(gateway):
    for name, known in each_known(gateway.sim).items():
        answered = await gateway.call(*call_of(SWITCHES[name], known, dry_run=True))
        assert (answered.status, answered.body["state"]) == (200, "planned"), answered.text
        plan = answered.body["plan"]
        assert plan["current"]["running"] is ("poweron" not in name)
        assert plan["wanted"] == {"action": name.split()[1]}
        assert plan["warnings"] == DRY_RUNS[name]
        assert plan["requests"] == 2
        assert ("need_fw_apply" in plan["current"]) == name.startswith("network")
    assert gateway.sim.actions == []
    assert (await gateway.get("/jobs")).body == []


async def test_a_dry_run_names_the_running_vms_that_would_lose_their_network_and_what_is_so_already(gateway):
    known = each_known(gateway.sim)
    names = {vm.name for vm in running_vms(gateway.sim)}
    for action in ("poweroff", "reset"):
        [told] = await warnings(gateway, f"/networks/Internal/{action}")
        assert told.startswith(f"running VMs that lose this network ({len(names)}): ")
        assert all(name in told for name in names)
    assert await warnings(gateway, "/networks/Internal/poweron") == ["is running already"]
    assert await warnings(gateway, "/networks/Internal/apply") == ["no rules are pending"]
    assert await warnings(gateway, "/networks/lab (off)/reset") == ["is off, there is nothing to reset"]
    assert await warnings(gateway, f"/tenants/{known['tenant poweron']['key']}/poweroff") == ["is off already"]
    assert await warnings(gateway, f"/tenants/{known['tenant reset']['key']}/poweron") == ["is running already"]
    assert gateway.sim.actions == []


async def warnings(gateway, path):
    answered = await gateway.call("POST", path, {"dry_run": True})
    assert answered.status == 200, answered.text
    return answered.body["plan"]["warnings"]


@pytest.mark.parametrize("name", ["Core", "DMZ"])
async def test_networks_that_the_platform_hangs_on_are_switched_on_purpose_only(gateway, name):
    for action in ("poweroff", "reset", "apply", "poweron"):
        (await gateway.call("POST", f"/networks/{name}/{action}")).problem(409, "core_network")
    assert gateway.sim.actions == []
    job = await gateway.accepted("POST", f"/networks/{name}/reset", {"allow_core": True})
    assert (await gateway.ended(job["id"]))["state"] == "completed"
    assert [action.action for action in gateway.sim.actions] == ["reset"]
