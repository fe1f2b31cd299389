"""What goes wrong, seen from the front door: each failure has its code and next step, and leaves nothing half done."""

import asyncio
import signal
import time

import pytest
from inprocess import engine_settings, house

from tests.conftest import AT_ONCE_SECONDS, eventually, fast_settings

WRONG_CALLS = [
    ("POST", "/vms/34/poweroff", {"wait_timeout": "soon"}, "wait_timeout"),
    ("POST", "/vms/34/poweroff", {"wait_timeout": -1}, "wait_timeout"),
    ("POST", "/vms/34/poweroff", {"wait_timeout": 14_401}, "wait_timeout"),
    ("POST", "/vms/34/poweroff", {"wait_timeout": 1.5}, "wait_timeout"),
    ("POST", "/vms/34/poweroff", {"force_after_timeout": "perhaps"}, "force_after_timeout"),
    ("POST", "/vms/34/poweroff", {"force": True}, "force"),
    ("POST", "/vms/34/poweroff", {"id": 35}, "id"),
    ("PATCH", "/vms/34", {}, "cpu_cores or ram_mb"),
    ("PATCH", "/vms/34", {"cpu_cores": 0}, "cpu_cores"),
    ("PATCH", "/vms/34", {"ram_mb": 255}, "ram_mb"),
    ("POST", "/tools/power_off_vm", {}, "id"),
    ("POST", "/tools/force_off_vm", {"id": {"name": "web-1"}}, "id"),
    ("POST", "/tools/get_vm", {"id": ["34"]}, "id"),
]


@pytest.fixture
def settings(sim, redis_url):
    return engine_settings(sim, redis_url)


@pytest.fixture
async def soon_held(sim, redis_url):
    """A gateway whose jobs look for themselves soon after the watcher sees nothing any more."""
    async with house(sim, engine_settings(sim, redis_url, fallback=8.0)) as served:
        yield served


async def no_jobs(gateway):
    """Tell that nothing was accepted and nothing reached VergeOS that changes it."""
    return (await gateway.get("/jobs")).body == [] and gateway.sim.actions == []


async def test_a_wrong_argument_is_named_and_nothing_is_accepted(idle):
    for method, path, body, named in WRONG_CALLS:
        problem = (await idle.call(method, path, body)).problem(400, "invalid_argument")
        assert named in problem["detail"], (path, body)
    (await idle.get("/vms", limit=0)).problem(400, "invalid_argument")
    (await idle.get("/vms/34/status", verbose=1)).problem(400, "invalid_argument")
    (await idle.call("POST", "/vms/34/poweroff?wait=46", {})).problem(400, "invalid_argument")
    assert idle.sim.requests.total() == 0
    assert await no_jobs(idle)


async def test_an_unknown_vm_answers_404_with_the_nearest_names(idle):
    for method, path in [("GET", "/vms/web-11"), ("POST", "/vms/web-11/poweroff"), ("GET", "/vms/web-11/status")]:
        problem = (await idle.call(method, path)).problem(404, "not_found")
        assert "web-1" in problem["detail"]
    for ref in ("999999", "-1", "99999999999999999999", "name:34", "%20", "a'%20or%20name%20eq%20'web-1"):
        (await idle.call("POST", f"/vms/{ref}/forceoff")).problem(404, "not_found")
    assert await no_jobs(idle)


async def test_an_ambiguous_name_lists_the_ids_and_chooses_none(idle):
    first, second = idle.sim.vm("web-1"), idle.sim.vm("web-2")
    second.rename("web-1")
    problem = (await idle.call("POST", "/vms/web-1/forceoff")).problem(409, "ambiguous_name")
    assert str(first.key) in problem["detail"]
    assert str(second.key) in problem["detail"]
    assert await no_jobs(idle)
    assert (await idle.get(f"/vms/{first.key}")).body["id"] == first.key


async def test_an_unknown_job_answers_404_at_every_door(idle):
    for method, path, body in [
        ("GET", "/jobs/nope", None),
        ("GET", "/jobs/nope/events", None),
        ("POST", "/jobs/nope/cancel", None),
        ("POST", "/jobs/nope/input", {"answer": True}),
        ("POST", "/vms/34/poweroff", {"after": "nope"}),
    ]:
        (await idle.call(method, path, body)).problem(404, "job_not_found")
    assert await no_jobs(idle)


@pytest.mark.parametrize("change", ["renamed", "machine replaced", "renamed and another has its name"])
async def test_a_vm_that_is_another_one_by_the_time_of_the_act_is_left_alone(idle, change):
    vm, other = idle.sim.vm("web-1"), idle.sim.vm("web-2")
    job = await idle.call("POST", "/vms/web-1/poweroff", {"wait_timeout": 5, "force_after_timeout": True})
    if change == "machine replaced":
        vm.replace_machine().start()
    else:
        vm.rename("web-1-old")
    if change == "renamed and another has its name":
        other.rename("web-1")
    await idle.start_worker()
    ended = await idle.ended(job.body["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "target_changed")
    assert ended["problem"]["next_step"]
    assert vm.power_actions() == other.power_actions() == []
    assert vm.running


async def test_a_vm_deleted_before_the_act_fails_the_job(idle):
    vm = idle.sim.vm("web-1")
    job = await idle.power_off(vm)
    vm.delete()
    await idle.start_worker()
    ended = await idle.ended(job["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "target_gone")
    assert idle.sim.actions == []


async def test_a_vm_deleted_while_its_shutdown_is_awaited_fails_the_job_soon(soon_held):
    vm = soon_held.sim.vm("web-1").ignore_acpi()
    job = await soon_held.power_off(vm, wait_timeout=600)
    await soon_held.at(job["id"], phase="waiting")
    vm.delete()
    ended = await soon_held.ended(job["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "target_gone")
    assert (await soon_held.get("/health")).body["vergeos"] == "no trouble known"


async def test_while_vergeos_is_down_reads_fail_and_jobs_are_held_until_it_is_back(gateway):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds = 4
    gateway.sim.down = True
    (await gateway.get("/vms")).problem(503, "vergeos_dropped")
    (await gateway.call("POST", f"/vms/{vm.key}/poweroff")).problem(503, "vergeos_dropped")
    gateway.sim.down = False
    await eventually(lambda: answers_again(gateway))
    job = await gateway.power_off(vm, wait_timeout=60)
    await gateway.at(job["id"], phase="waiting")
    gateway.sim.down = True
    second = await gateway.call("POST", "/vms/web-2/poweroff", {"wait_timeout": 60})
    if second.status != 202:
        second.problem(503, second.body["code"])
        assert second.body["code"] in {"vergeos_dropped", "vergeos_circuit_open"}
    await eventually(lambda: blind(gateway))
    gateway.sim.down = False
    ended = await gateway.ended(job["id"])
    assert (ended["state"], ended["result"]["forced"]) == ("completed", False)
    assert vm.power_actions() == ["poweroff"]
    await eventually(lambda: sees(gateway))


async def blind(gateway):
    return "has not answered since" in (await gateway.get("/health")).body["vergeos"]


async def sees(gateway):
    return (await gateway.get("/health")).body["vergeos"] == "no trouble known"


async def test_a_job_submitted_before_vergeos_went_down_says_so_and_acts_once_when_it_is_back(idle):
    vm = idle.sim.vm("web-1")
    job = await idle.power_off(vm, wait_timeout=60)
    idle.sim.down = True
    await idle.start_worker()
    held = await idle.at(job["id"], phase="held")
    assert held["state"] == "working"
    assert held["problem"]["code"] in {"vergeos_unreachable", "vergeos_dropped"}
    assert held["problem"]["next_step"]
    idle.sim.down = False
    ended = await idle.ended(job["id"])
    assert ended["state"] == "completed"
    assert "problem" not in ended
    assert vm.power_actions() == ["poweroff"]


async def test_a_job_can_be_cancelled_while_vergeos_is_down(soon_held):
    vm = soon_held.sim.vm("web-1").ignore_acpi()
    job = await soon_held.power_off(vm, wait_timeout=600, force_after_timeout=True)
    await soon_held.at(job["id"], phase="waiting")
    soon_held.sim.down = True
    await soon_held.at(job["id"], phase="held")
    assert (await soon_held.call("POST", f"/jobs/{job['id']}/cancel")).status == 200
    assert (await soon_held.ended(job["id"]))["state"] == "cancelled"
    assert vm.power_actions() == ["poweroff"]


async def test_while_redis_is_down_everything_answers_at_once_and_works_again_after(sim, own_redis):
    vm = sim.vm("web-1")
    async with house(sim, fast_settings(sim.url, own_redis.url)) as gateway:
        kept = await gateway.power_off(vm, wait_timeout=60)
        own_redis.stop(signal.SIGKILL)
        for method, path in [
            ("POST", f"/vms/{vm.key}/poweroff"),
            ("GET", f"/jobs/{kept['id']}"),
            ("GET", "/jobs"),
            ("GET", f"/jobs/{kept['id']}/events"),
            ("POST", f"/jobs/{kept['id']}/cancel"),
        ]:
            began = time.monotonic()
            answered = await gateway.call(method, path)
            assert time.monotonic() - began < AT_ONCE_SECONDS, path
            problem = answered.problem(503, "store_unavailable")
            assert int(answered.headers["Retry-After"]) >= 1
            assert "Nothing was accepted" in problem["next_step"]
        assert (await gateway.get("/readyz")).status == 503
        assert (await gateway.get("/livez")).status == 200
        assert (await gateway.get("/vms")).status == 200  # VergeOS itself can still be asked
        own_redis.start()
        ended = await gateway.ended(kept["id"])
        assert ended["state"] == "completed"
        assert vm.power_actions() == ["poweroff"]
        assert (await gateway.get("/readyz")).status == 200


async def test_wrong_credentials_reach_vergeos_a_handful_of_times_at_most(sim, redis_url):
    async with house(sim, fast_settings(sim.url, redis_url, vergeos_api_key="wrong")) as gateway:
        answers = await asyncio.gather(*(gateway.get("/vms") for _ in range(20)))
        answers += [await gateway.call("POST", f"/vms/{ref}/poweroff") for ref in ("34", "web-1") for _ in range(5)]
        for answered in answers:
            problem = answered.problem(503, "vergeos_unauthorized")
            assert "credentials" in problem["next_step"]
            assert "wrong" not in problem["detail"]
        assert sim.requests.total() <= 5
        assert (await gateway.get("/jobs")).body == []


async def test_a_revoked_token_holds_its_jobs_until_it_is_good_again(soon_held):
    gateway, vm = soon_held, soon_held.sim.vm("web-1").ignore_acpi()
    job = await gateway.power_off(vm, wait_timeout=3, force_after_timeout=True)
    await gateway.at(job["id"], phase="waiting")
    gateway.sim.revoke_credentials()
    await gateway.at(job["id"], phase="held")
    gateway.sim.reset_counts()
    for _ in range(30):
        answered = await gateway.get("/vms", name="never-asked")
        assert answered.status == 200 or answered.problem(503, "vergeos_unauthorized")
        (await gateway.call("POST", "/vms/no-such-vm/poweroff")).problem(503, "vergeos_unauthorized")
    held = await gateway.job(job["id"])
    assert (held["state"], held["problem"]["code"]) == ("working", "vergeos_unauthorized")
    assert gateway.sim.requests.total() <= 3
    gateway.sim.restore_credentials()
    await gateway.services.vergeos.clear_latch()
    ended = await gateway.ended(job["id"])
    assert (ended["state"], ended["result"]["forced"]) == ("completed", True)
    assert gateway.sim.power_actions(vm.key) == ["kill"]


def slow(value):
    """Return a parameter's value for `make test-all` only."""
    return pytest.param(value, marks=pytest.mark.slow)


async def answers_again(gateway):
    return (await gateway.get("/vms/web-1")).status == 200


READ_FAULTS = {
    "500": ({"kind": "status", "status": 500}, 503, "vergeos_bad_answer"),
    "503": ({"kind": "status", "status": 503}, 503, "vergeos_busy"),
    "403": ({"kind": "status", "status": 403}, 502, "vergeos_forbidden"),
    "html": ({"kind": "malformed", "body": "html"}, 503, "vergeos_bad_answer"),
    "truncated": ({"kind": "malformed", "body": "truncated"}, 503, "vergeos_bad_answer"),
    "hang": ({"kind": "hang"}, 503, "vergeos_timeout"),
    "reset before": ({"kind": "reset_before"}, 503, "vergeos_dropped"),
    "reset after": ({"kind": "reset_after"}, 503, "vergeos_dropped"),
    "huge": ({"kind": "malformed", "body": "huge"}, 503, "vergeos_bad_answer"),
}


@pytest.mark.parametrize("name", [slow(name) if name in {"huge", "hang"} else name for name in READ_FAULTS])
async def test_a_read_that_vergeos_spoils_names_the_fault_and_works_again_after(sim, redis_url, name):
    fault, status, code = READ_FAULTS[name]
    patience = 1.0 if name == "hang" else 10.0
    settings = fast_settings(sim.url, redis_url, vergeos_timeout=patience, vergeos_max_answer_mb=2)
    async with house(sim, settings, workers=0) as gateway:
        sim.fault(**fault, path="/api/v4/vms", count=None)
        reads = [("GET", path) for path in ("/vms", "/vms/34", "/vms/web-1")]
        calls = [*reads, ("POST", "/vms/34/poweroff"), ("POST", "/vms/web-2/forceoff")]
        answers = await asyncio.gather(*(gateway.call(method, path) for method, path in calls))
        for answered in answers:
            broken = answered.body["code"] == "vergeos_circuit_open"  # the others failed five times meanwhile
            answered.problem(503 if broken else status, "vergeos_circuit_open" if broken else code)
        assert code in [answered.body["code"] for answered in answers]
        sim.clear_faults()
        await eventually(lambda: answers_again(gateway))
        assert await no_jobs(gateway)


ACT_FAULTS = {
    "500, not done": {"kind": "status", "status": 500},
    "500, done": {"kind": "status", "status": 500, "effect": True},
    "504, done": {"kind": "status", "status": 504, "effect": True},
    "html, done": {"kind": "malformed", "body": "html"},
    "truncated, done": {"kind": "malformed", "body": "truncated"},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "late": {"kind": "late", "seconds": 0.15},
    "hangs, not done": {"kind": "hang"},
    "hangs, done": {"kind": "hang", "effect": True},
}
ACTS = {
    "poweroff": ("POST", "/poweroff", {"wait_timeout": 60}, ["poweroff"]),
    "poweroff ignored": (
        *("POST", "/poweroff", {"wait_timeout": 1, "force_after_timeout": True}),
        ["poweroff", "kill"],
    ),
    "forceoff": ("POST", "/forceoff", {}, ["kill"]),
    "poweron": ("POST", "/poweron", {}, ["poweron"]),
}


@pytest.mark.parametrize("act", [slow(act) if act == "poweron" else act for act in ACTS])
async def test_an_action_whose_answer_is_spoiled_takes_effect_exactly_once(gateway, act):
    method, path, body, actions = ACTS[act]
    gateway.sim.clear_faults()
    vms = [gateway.sim.vm(name) for name in running_names(gateway.sim)][: len(ACT_FAULTS)]
    for vm, fault in zip(vms, ACT_FAULTS.values(), strict=True):
        vm.stop() if act == "poweron" else vm.start()
        vm.ignore_acpi(act == "poweroff ignored")
        gateway.sim.fault(**fault, method="POST", path="vm_actions", body_matches=rf'"vm":\s*{vm.key}\b')
    jobs = await asyncio.gather(*(gateway.accepted(method, f"/vms/{vm.key}{path}", body) for vm in vms))
    ended = await asyncio.gather(*(gateway.ended(job["id"]) for job in jobs))
    found = {
        name: (job["state"], gateway.sim.power_actions(vm.key))
        for name, job, vm in zip(ACT_FAULTS, ended, vms, strict=True)
    }
    assert found == dict.fromkeys(ACT_FAULTS, ("completed", actions))


@pytest.mark.parametrize("hard", [True, slow(False)])
async def test_a_reset_whose_answer_is_spoiled_is_never_sent_twice(gateway, hard):
    vms = [gateway.sim.vm(name) for name in running_names(gateway.sim)][: len(ACT_FAULTS)]
    for vm, fault in zip(vms, ACT_FAULTS.values(), strict=True):
        vm.start().guest_seconds = 2
        gateway.sim.fault(**fault, method="POST", path="vm_actions", body_matches=rf'"vm":\s*{vm.key}\b')
    jobs = await asyncio.gather(*(gateway.accepted("POST", f"/vms/{vm.key}/reset", {"hard": hard}) for vm in vms))
    for name, vm, job in zip(ACT_FAULTS, vms, jobs, strict=True):
        ended = await gateway.ended(job["id"])
        sent = gateway.sim.power_actions(vm.key)
        if sent:
            assert (ended["state"], sent) == ("completed", ["reset"]), name
            assert ended["result"]["confirmed"] is True
        else:
            assert (ended["state"], ended["problem"]["code"]) == ("failed", "outcome_unknown"), name


def running_names(sim):
    """Return the names of all VMs, running ones first."""
    rows = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
    return [vm.name for vm in sorted(rows, key=lambda vm: not vm.running)]
