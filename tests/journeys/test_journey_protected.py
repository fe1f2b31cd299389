"""Protected objects, VMs that are never forced, our own VMs and maintenance windows, from the front door."""

from datetime import UTC, datetime

import pytest
from inprocess import engine_settings, house
from pydantic import ValidationError

from gateway.core.guard import DAY_NAMES
from gateway.rights.policy_file import WrongPolicy, parse_policy
from gateway.settings import Settings
from gateway.store.own_vms import OwnVms, system_uuid
from tests.conftest import eventually

CLOSED = f"{DAY_NAMES[(datetime.now(UTC).weekday() + 3) % 7]} 00:00-00:01"
"""A window that is not open on the day of these tests, nor on the next."""


def served(sim, redis_url, *, workers=1, **settings):
    chosen = Settings(**settings).model_dump(include=set(settings))
    return house(sim, engine_settings(sim, redis_url).model_copy(update=chosen), workers=workers)


def writes(sim, vm):
    return [action.action for action in sim.actions if action.key == vm.key]


async def test_a_protected_vm_is_left_alone_and_may_be_started_and_snapshotted(sim, redis_url):
    async with served(sim, redis_url, protected="web-*,other") as gateway:
        vm = sim.vm("web-1")
        for method, path, body in (
            ("POST", f"/vms/{vm.key}/poweroff", {}),
            ("POST", f"/vms/{vm.key}/forceoff", {}),
            ("PATCH", f"/vms/{vm.key}", {"cpu_cores": 3}),
            ("POST", f"/vms/{vm.key}/poweroff", {"dry_run": True}),
        ):
            refused = (await gateway.call(method, path, body)).problem(409, "protected")
            assert refused["rule"] == "protected web-*"
        job = await gateway.accepted("POST", f"/vms/{vm.key}/snapshots", {"allow_tight": True})
        assert (await gateway.ended(job["id"]))["state"] == "completed"
        assert writes(sim, vm) == []


async def test_a_tag_protects(sim, redis_url):
    async with served(sim, redis_url, protected="tag:production") as gateway:
        carriers = {row["id"] for row in (await gateway.get("/vms", tag="production")).body}
        assert carriers
        others = {row["id"] for row in (await gateway.get("/vms")).body} - carriers
        (await gateway.call("POST", f"/vms/{min(carriers)}/poweroff")).problem(409, "protected")
        assert (await gateway.call("POST", f"/vms/{min(others)}/poweroff")).status == 202


async def test_what_is_protected_after_it_was_accepted_is_not_done(sim, redis_url):
    vm = sim.vm("web-1")
    async with served(sim, redis_url, workers=0) as lax:
        job = await lax.power_off(vm)
        async with served(sim, redis_url, own_vms=vm.uuid) as strict:
            ended = await strict.ended(job["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "protected")
    assert "nothing was done" in ended["detail"]
    assert writes(sim, vm) == []


async def test_a_vm_that_is_never_forced_is_asked_and_then_left_running(sim, redis_url):
    vm = sim.vm("web-1").ignore_acpi()
    async with served(sim, redis_url, never_force="web-1") as gateway:
        (await gateway.call("POST", f"/vms/{vm.key}/forceoff")).problem(409, "protected")
        body = {"wait_timeout": 1, "force_after_timeout": True}
        (await gateway.call("POST", f"/vms/{vm.key}/poweroff", body)).problem(409, "protected")
        job = await gateway.power_off(vm, wait_timeout=1)
        ended = await gateway.ended(job["id"])
    assert (ended["problem"]["code"], writes(sim, vm)) == ("still_running", ["poweroff"])


@pytest.mark.slow
async def test_a_force_that_was_accepted_before_is_not_carried_out_on_what_is_never_forced_by_now(sim, redis_url):
    vm = sim.vm("web-1").ignore_acpi()
    async with served(sim, redis_url) as lax:
        job = await lax.power_off(vm, wait_timeout=10, force_after_timeout=True)
        await eventually(lambda: writes(sim, vm) == ["poweroff"])
        await lax.workers[0].end()
        async with served(sim, redis_url, never_force="web-1") as strict:
            ended = await strict.ended(job["id"])
    assert (ended["problem"]["code"], writes(sim, vm)) == ("protected", ["poweroff"])
    assert "'kill' was not asked for" in ended["detail"]


async def test_a_resize_whose_vm_becomes_protected_brings_it_back(sim, redis_url):
    vm = sim.vm("web-1")
    vm.refuse_cpu_change()
    vm.guest_seconds, cores = 30, vm.cpu_cores
    body = {"cpu_cores": cores + 1, "shutdown_if_running": True, "wait_timeout": 600}
    async with served(sim, redis_url) as lax:
        job = await lax.accepted("PATCH", f"/vms/{vm.key}", body)
        await eventually(lambda: "poweroff" in writes(sim, vm))
        await lax.workers[0].end()
        async with served(sim, redis_url, protected="web-1") as strict:
            ended = await strict.ended(job["id"])
    assert (ended["problem"]["code"], vm.running, vm.cpu_cores) == ("protected", True, cores)


async def test_the_vm_that_a_gateway_runs_on_is_known_to_all_by_its_system_uuid(sim, redis, redis_url, tmp_path):
    vm = sim.vm("web-1")
    (tmp_path / "product_uuid").write_text(f"{vm.uuid.upper()}\n")
    async with served(sim, redis_url, workers=0) as gateway:
        here = OwnVms(redis, gateway.services.keys, lambda: system_uuid(tmp_path / "product_uuid"))
        assert await here.known()
        refused = (await gateway.call("POST", "/vms/web-1/poweroff")).problem(409, "protected")
        assert "the gateway itself runs on web-1" in refused["detail"]
        assert (await gateway.call("POST", "/vms/web-2/poweroff")).status == 202
    assert system_uuid(tmp_path / "nothing") is None


async def test_outside_the_window_the_next_opening_is_told(sim, redis_url):
    async with served(sim, redis_url, workers=0, maintenance_windows=f"web-1 {CLOSED}") as gateway:
        refused = (await gateway.call("POST", "/vms/web-1/poweroff")).problem(409, "outside_window")
        assert refused["opens_at"] > await gateway.services.jobs.now()
        assert (await gateway.call("POST", "/vms/web-2/poweroff")).status == 202


def test_a_window_that_cannot_be_read_is_a_wrong_setting():
    with pytest.raises(ValidationError, match="weekday"):
        Settings(maintenance_windows="* sometimes 01:00-02:00")


async def test_the_policy_file_protects_as_well_and_at_once(sim, redis_url, tmp_path):
    policy = tmp_path / "policy.yml"
    policy.write_text(f"protected: [web-1]\nwindows: [web-2 {CLOSED}]\n")
    async with served(sim, redis_url, workers=0, policy_file=policy, allow_anonymous=True) as gateway:
        (await gateway.call("POST", "/vms/web-1/poweroff")).problem(409, "protected")
        (await gateway.call("POST", "/vms/web-2/poweroff")).problem(409, "outside_window")
        policy.write_text("never_force: [web-1, 'tag:prod']\n")
        (await gateway.call("POST", "/vms/web-1/forceoff")).problem(409, "protected")
        assert (await gateway.call("POST", "/vms/web-1/poweroff")).status == 202
        assert (await gateway.call("POST", "/vms/web-2/poweroff")).status == 202


def test_a_wrong_window_in_the_policy_file_is_told_with_its_line():
    with pytest.raises(WrongPolicy, match="line 2: 'sometimes' is no weekday"):
        parse_policy("protected: web-1\nwindows: ['* sometimes 01:00-02:00']")
