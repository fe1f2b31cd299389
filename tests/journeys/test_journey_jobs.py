"""What callers ask of jobs, from the front door: join, repeat, oppose, take over, queue, cancel, answer, follow."""

import asyncio

import pytest
from inprocess import engine_settings, house

from gateway.core.access import LOCAL
from gateway.core.job import Target
from gateway.core.wishes import PowerOff
from gateway.store.submission import Draft
from gateway.views.inventory import resolve_vm
from tests.conftest import eventually

KEY = {"Idempotency-Key": "a-key-of-my-own"}
LONG = {"wait_timeout": 600, "force_after_timeout": False}


@pytest.fixture
def settings(sim, redis_url):
    return engine_settings(sim, redis_url)


async def ids(gateway):
    return [job["id"] for job in (await gateway.get("/jobs")).body]


# the same wish


async def test_the_same_call_joins_the_job_that_is_open(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    first = await gateway.power_off(vm, **LONG)
    await gateway.at(first["id"], phase="waiting")
    second = await gateway.power_off(vm, **LONG)
    assert second["id"] == first["id"]
    assert "same call as" in second["note"]
    assert "note" not in await gateway.job(first["id"])
    by_name = await gateway.accepted("POST", "/vms/web-1/poweroff", LONG)
    by_tool = await gateway.call("POST", "/tools/power_off_vm", {"id": "web-1", **LONG})
    assert by_name["id"] == by_tool.body["result"]["id"] == first["id"]
    assert vm.power_actions() == ["poweroff"]


async def test_who_hangs_up_while_he_waits_and_calls_again_gets_the_job_that_went_on(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    path = f"/vms/{vm.key}/poweroff?wait=40"
    for headers in (None, KEY):
        body = {**LONG, "wait_timeout": 600 if headers is None else 601}
        calling = asyncio.create_task(gateway.call("POST", path, body, headers))
        await eventually(lambda: _open(gateway))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        (job,) = await _open(gateway)
        again = await gateway.call("POST", path.removesuffix("?wait=40"), body, headers)
        assert (again.status, again.body["id"]) == (202, job.id)
        await gateway.call("POST", f"/jobs/{job.id}/cancel")
        await gateway.ended(job.id)
    assert vm.power_actions() == ["poweroff", "poweroff"]


async def _open(gateway):
    return [job for job in await gateway.services.jobs.open() if job.acts]


async def test_the_same_call_right_after_its_success_is_the_same_call_unless_it_says_again(gateway):
    vm = gateway.sim.vm("web-1")
    first = await gateway.power_off(vm, wait_timeout=60)
    await gateway.ended(first["id"])
    second = await gateway.call("POST", f"/vms/{vm.key}/poweroff", {"wait_timeout": 60})
    assert (second.status, second.body["id"], second.body["state"]) == (200, first["id"], "completed")
    assert "same call as" in second.body["note"]
    again = await gateway.call("POST", f"/vms/{vm.key}/poweroff?wait=20", {"wait_timeout": 60, "again": True})
    assert again.body["id"] != first["id"]
    assert again.body["result"] == {"running": False, "changed": False}
    assert vm.power_actions() == ["poweroff"]


async def test_the_same_call_after_another_job_on_the_vm_is_a_new_wish(gateway):
    vm = gateway.sim.vm("web-1")
    off = await gateway.power_off(vm, wait_timeout=60)
    await gateway.ended(off["id"])
    on = await gateway.accepted("POST", f"/vms/{vm.key}/poweron")
    await gateway.ended(on["id"])
    off_again = await gateway.power_off(vm, wait_timeout=60)
    assert off_again["id"] != off["id"]
    assert (await gateway.ended(off_again["id"]))["result"]["changed"] is True
    assert vm.power_actions() == ["poweroff", "poweron", "poweroff"]


async def test_an_idempotency_key_stands_for_its_call_even_after_the_end_and_for_no_other(gateway):
    vm = gateway.sim.vm("web-1")
    first = await gateway.power_off(vm, KEY, wait_timeout=60)
    assert (await gateway.power_off(vm, KEY, wait_timeout=60))["id"] == first["id"]
    await gateway.call("POST", f"/jobs/{first['id']}/cancel")
    await gateway.ended(first["id"])
    repeated = await gateway.call("POST", f"/vms/{vm.key}/poweroff", {"wait_timeout": 60}, KEY)
    assert (repeated.status, repeated.body["id"]) == (200, first["id"])
    for path, body in [
        (f"/vms/{vm.key}/poweroff", {"wait_timeout": 61}),
        (f"/vms/{vm.key}/forceoff", {}),
        ("/vms/web-2/poweroff", {"wait_timeout": 60}),
    ]:
        problem = (await gateway.call("POST", path, body, KEY)).problem(422, "idempotency_key_reused")
        assert problem["job"] == first["id"]
    assert await ids(gateway) == [first["id"]]


# two wishes


async def test_the_opposite_wish_is_refused_with_whose_job_stands_against_it_or_queued_on_purpose(idle):
    vm = idle.sim.vm("web-1")
    off = await idle.power_off(vm, wait_timeout=60)
    problem = (await idle.call("POST", f"/vms/{vm.key}/poweron")).problem(409, "target_busy")
    assert (problem["job"], problem["owner"]) == (off["id"], LOCAL.name)
    assert problem["since"] == pytest.approx(off["created_at"], abs=0.01)
    assert off["id"] in problem["next_step"]
    assert f"after={off['id']}" in problem["next_step"]
    on = await idle.accepted("POST", f"/vms/{vm.key}/poweron", {"after": off["id"]})
    assert on["waits_for"] == off["id"]
    await idle.start_worker()
    assert (await idle.ended(on["id"]))["result"] == {"running": True, "changed": True}
    assert (await idle.job(off["id"]))["state"] == "completed"
    assert vm.power_actions() == ["poweroff", "poweron"]


async def test_queueing_behind_a_job_of_another_vm_is_refused(idle):
    off = await idle.power_off(idle.sim.vm("web-1"), wait_timeout=60)
    (await idle.call("POST", "/vms/web-2/poweroff", {"after": off["id"]})).problem(404, "job_not_found")
    assert await ids(idle) == [off["id"]]


async def test_force_off_takes_over_an_open_power_off_and_both_complete(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    soft = await gateway.power_off(vm, **LONG)
    await gateway.at(soft["id"], phase="waiting")
    hard = await gateway.accepted("POST", f"/vms/{vm.key}/forceoff")
    assert hard["id"] != soft["id"]
    ended = [await gateway.ended(job["id"]) for job in (hard, soft)]
    assert [job["state"] for job in ended] == ["completed", "completed"]
    assert ended[0]["result"]["forced"] is True
    assert vm.power_actions() == ["poweroff", "kill"]


async def test_force_off_goes_before_a_power_off_that_has_not_begun_which_then_finds_its_wish_fulfilled(idle):
    vm = idle.sim.vm("web-1").ignore_acpi()
    soft = await idle.power_off(vm, **LONG)
    hard = await idle.accepted("POST", f"/vms/{vm.key}/forceoff")
    assert "waits_for" not in hard
    assert (await idle.job(soft["id"]))["waits_for"] == hard["id"]
    await idle.start_worker()
    assert (await idle.ended(soft["id"]))["result"] == {"running": False, "changed": False}
    assert vm.power_actions() == ["kill"]


async def test_other_kinds_of_jobs_on_one_vm_run_in_the_order_of_their_calls(idle):
    vm = idle.sim.vm("web-1")
    vm.guest_seconds = 2
    calls = [
        ("PATCH", "", {"cpu_cores": vm.cpu_cores + 1}),
        ("POST", "/reset", {"hard": True}),
        ("PATCH", "", {"ram_mb": vm.ram_mb * 2}),
    ]
    jobs = [await idle.accepted(method, f"/vms/{vm.key}{path}", body) for method, path, body in calls]
    assert [job.get("waits_for") for job in jobs] == [None, jobs[0]["id"], jobs[0]["id"]]
    await idle.start_worker()
    ended = [await idle.ended(job["id"]) for job in jobs]
    assert [job["state"] for job in ended] == ["completed"] * 3
    assert [job["ended_at"] for job in ended] == sorted(job["ended_at"] for job in ended)
    assert [action.action for action in idle.sim.actions if action.key == vm.key] == ["update", "reset", "update"]


# cancel


async def test_a_job_cancelled_before_it_began_never_touches_the_vm(idle):
    vm = idle.sim.vm("web-1")
    job = await idle.power_off(vm, wait_timeout=60)
    assert (await idle.call("POST", f"/jobs/{job['id']}/cancel")).status == 200
    await idle.start_worker()
    ended = await idle.ended(job["id"])
    assert (ended["state"], vm.power_actions(), vm.running) == ("cancelled", [], True)
    (await idle.call("POST", f"/jobs/{job['id']}/cancel")).problem(409, "job_ended")
    (await idle.call("POST", f"/jobs/{job['id']}/input", {"answer": True})).problem(409, "job_ended")


async def test_a_power_off_cancelled_while_it_waits_is_not_forced_and_the_next_call_is_a_new_job(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    job = await gateway.power_off(vm, wait_timeout=600, force_after_timeout=True)
    await gateway.at(job["id"], phase="waiting")
    await gateway.call("POST", f"/jobs/{job['id']}/cancel")
    assert (await gateway.ended(job["id"]))["state"] == "cancelled"
    assert vm.power_actions() == ["poweroff"]
    successor = await gateway.power_off(vm, wait_timeout=600, force_after_timeout=True)
    assert successor["id"] != job["id"]


async def test_a_power_off_cancelled_before_its_answer_ends_when_the_request_can_land_no_more(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    gateway.sim.fault("hang", method="POST", path="vm_actions", effect=True)
    job = await gateway.power_off(vm, wait_timeout=600, force_after_timeout=True)
    await eventually(vm.power_actions)
    await gateway.call("POST", f"/jobs/{job['id']}/cancel")
    ended = await gateway.ended(job["id"])
    stored = await gateway.services.jobs.get(job["id"])
    assert ended["state"] == "cancelled"
    assert stored.ended_at >= stored.acts[0].intended_at + gateway.settings.times.settle
    assert vm.power_actions() == ["poweroff"]


async def test_a_cancel_withdraws_a_question(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    row = await resolve_vm(gateway.services.views, vm.key)
    job = await gateway.services.submit(asking_power_off(row))
    await gateway.at(job.id, state="input_required")
    await gateway.call("POST", f"/jobs/{job.id}/cancel")
    assert (await gateway.ended(job.id))["state"] == "cancelled"
    assert vm.power_actions() == ["poweroff"]


async def test_a_cancelled_job_in_the_queue_lets_the_next_one_go(idle):
    vm = idle.sim.vm("web-1").ignore_acpi()
    first = await idle.power_off(vm, **LONG)
    second = await idle.accepted("POST", f"/vms/{vm.key}/reset", {"hard": True})
    third = await idle.accepted("PATCH", f"/vms/{vm.key}", {"cpu_cores": vm.cpu_cores + 1})
    await idle.start_worker()
    await idle.at(first["id"], phase="waiting")
    await idle.call("POST", f"/jobs/{second['id']}/cancel")
    assert (await idle.ended(second["id"]))["state"] == "cancelled"
    assert (await idle.job(third["id"]))["waits_for"] == first["id"]
    await idle.call("POST", f"/jobs/{first['id']}/cancel")
    assert (await idle.ended(third["id"]))["state"] == "completed"
    assert vm.power_actions() == ["poweroff"]


# time


async def test_a_job_that_no_worker_begins_in_time_expires_and_never_fires(sim, redis_url):
    settings = engine_settings(sim, redis_url, begin_within=2.0)
    async with house(sim, settings, workers=0) as gateway:
        vm = sim.vm("web-1")
        job = await gateway.power_off(vm, wait_timeout=60)
        stored = await gateway.services.jobs.get(job["id"])

        async def old():
            return await gateway.services.jobs.now() > stored.created_at + settings.times.begin_within

        await eventually(old)
        await gateway.start_worker()
        ended = await gateway.ended(job["id"])
        assert (ended["state"], ended["problem"]["code"]) == ("failed", "expired")
        assert ended["problem"]["next_step"]
        assert sim.actions == []


@pytest.mark.parametrize("yes", [True, pytest.param(False, marks=pytest.mark.slow), None])
async def test_after_a_gap_a_begun_job_asks_before_it_forces_and_no_answer_means_no(sim, redis_url, yes):
    settings = engine_settings(sim, redis_url, gap_asks_after=3.0, answer_within=300.0 if yes is not None else 5.0)
    async with house(sim, settings, workers=0) as gateway:
        vm = sim.vm("web-1").ignore_acpi()
        job = await gateway.power_off(vm, wait_timeout=2, force_after_timeout=True)
        worker = await gateway.start_worker()
        await gateway.at(job["id"], phase="waiting")
        await worker.end()
        stood_still_until = (await gateway.services.jobs.get(job["id"])).progress_at + 2.1

        async def gap():
            return await gateway.services.jobs.now() > stood_still_until

        await eventually(gap)
        await gateway.start_worker()
        asking = await gateway.at(job["id"], state="input_required")
        assert "Go on with 'kill'?" in asking["question"]
        assert vm.power_actions() == ["poweroff"]
        for wrong in ({}, {"answer": "yes"}, {"answer": True, "for": "web-1"}):
            (await gateway.call("POST", f"/jobs/{job['id']}/input", wrong)).problem(400, "invalid_argument")
        if yes is not None:
            assert (await gateway.call("POST", f"/jobs/{job['id']}/input", {"answer": yes})).status == 200
        ended = await gateway.ended(job["id"])
        assert ended["state"] == ("completed" if yes else "cancelled")
        assert vm.power_actions() == (["poweroff", "kill"] if yes else ["poweroff"])


@pytest.mark.parametrize("yes", [pytest.param(True, marks=pytest.mark.slow), False])
async def test_a_client_that_can_ask_decides_whether_the_power_is_cut(gateway, yes):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    row = await resolve_vm(gateway.services.views, vm.key)
    job = await gateway.services.submit(asking_power_off(row))
    asking = await gateway.at(job.id, state="input_required")
    assert "Force it off?" in asking["question"]
    (await gateway.call("POST", f"/jobs/{job.id}/input", {"answer": "yes"})).problem(400, "invalid_argument")
    await gateway.call("POST", f"/jobs/{job.id}/input", {"answer": yes})
    ended = await gateway.ended(job.id)
    assert ended["state"] == ("completed" if yes else "failed")
    assert vm.power_actions() == (["poweroff", "kill"] if yes else ["poweroff"])


def asking_power_off(row):
    """Return the wish of a client that can ask a person whether to force."""
    return Draft(
        tool="power_off_vm",
        arguments={},
        wish=PowerOff(wait_seconds=1, force=None),
        target=Target(key=row.id, machine_key=row.machine_id, name=row.name, uuid=row.uuid),
        owner=LOCAL.name,
        face="mcp",
        may_ask=True,
    )


async def test_an_answer_to_a_job_that_asks_nothing_is_refused(gateway):
    job = await gateway.power_off(gateway.sim.vm("web-1").ignore_acpi(), **LONG)
    problem = (await gateway.call("POST", f"/jobs/{job['id']}/input", {"answer": True})).problem(
        400, "invalid_argument"
    )
    assert "asks nothing" in problem["detail"]
