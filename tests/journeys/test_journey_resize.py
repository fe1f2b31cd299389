"""Resize and reset from the front door: what a VM is, does and costs on the way, and how it is left when it fails."""

import pytest
from inprocess import engine_settings, house

from tests.conftest import eventually

STOPPING = {"shutdown_if_running": True, "wait_timeout": 60}


@pytest.fixture
async def gateway(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url, watch_unforced=10.0)) as served:
        yield served


async def resize(gateway, vm, **body):
    """Call modify_vm; return the ended job."""
    job = await gateway.accepted("PATCH", f"/vms/{vm.key}", body)
    return await gateway.ended(job["id"])


def writes(gateway, vm):
    return [action.action for action in gateway.sim.actions if action.key == vm.key]


async def test_a_running_vm_is_stopped_after_the_change_and_started_with_its_new_size(gateway):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds = 2
    cores, ram_mb = vm.cpu_cores + 2, vm.ram_mb + 1024
    job = await resize(gateway, vm, cpu_cores=cores, ram_mb=ram_mb, **STOPPING)
    assert job["state"] == "completed"
    wanted = {"cpu_cores": cores, "ram_mb": ram_mb, "running": True, "need_restart": False, "changed": True}
    assert job["result"].items() >= wanted.items()
    assert writes(gateway, vm) == ["update", "poweroff", "poweron"]
    assert (vm.cpu_cores, vm.ram_mb, vm.running, vm.need_restart) == (cores, ram_mb, True, False)
    assert vm.status_row["running_cores"] == cores
    shown = (await gateway.get(f"/vms/{vm.key}")).body
    assert (shown["cpu_cores"], shown["ram_mb"], shown["running"]) == (cores, ram_mb, True)


async def test_ram_is_rounded_up_to_what_vergeos_can_store(gateway):
    vm = gateway.sim.vm("test-vm")
    job = await resize(gateway, vm, ram_mb=vm.ram_mb + 1)
    assert (job["state"], job["result"]["ram_mb"], vm.ram_mb) == ("completed", 4352, 4352)
    assert writes(gateway, vm) == ["update"]


async def test_an_answer_says_in_words_that_ram_was_rounded_up(gateway):
    vm = gateway.sim.vm("test-vm")
    answered = await gateway.call("PATCH", f"/vms/{vm.key}?wait=10", {"ram_mb": 4097})
    assert "rounded" in answered.text
    assert "4097" in answered.text


async def test_a_running_vm_that_may_not_be_stopped_takes_the_change_at_its_next_power_cycle(gateway):
    vm = gateway.sim.vm("web-1")
    job = await resize(gateway, vm, cpu_cores=vm.cpu_cores + 1)
    assert (job["state"], job["result"]["need_restart"]) == ("completed", True)
    assert "next power cycle" in job["detail"]
    assert writes(gateway, vm) == ["update"]
    assert vm.running


async def test_a_stopped_vm_stays_stopped_and_one_that_shall_not_restart_is_left_off(gateway):
    stopped, running = gateway.sim.vm("test-vm"), gateway.sim.vm("web-1")
    job = await resize(gateway, stopped, cpu_cores=stopped.cpu_cores + 1, **STOPPING)
    assert (job["result"]["running"], writes(gateway, stopped)) == (False, ["update"])
    running.guest_seconds = 2
    job = await resize(gateway, running, cpu_cores=running.cpu_cores + 1, restart=False, **STOPPING)
    assert (job["state"], job["result"]["running"]) == ("completed", False)
    assert writes(gateway, running) == ["update", "poweroff"]


async def test_a_change_that_is_refused_while_the_vm_runs_is_made_while_it_is_off(gateway):
    vm = gateway.sim.vm("web-1").refuse_cpu_change()
    vm.guest_seconds, cores = 2, vm.cpu_cores + 1
    job = await resize(gateway, vm, cpu_cores=cores, **STOPPING)
    assert (job["state"], vm.cpu_cores, vm.running) == ("completed", cores, True)
    accepted = [action.action for action in gateway.sim.actions if action.key == vm.key and action.ok]
    assert accepted == ["poweroff", "update", "poweron"]


async def test_a_change_that_is_refused_where_the_vm_may_not_stop_fails_with_the_reason(gateway):
    vm = gateway.sim.vm("web-1").refuse_cpu_change()
    job = await resize(gateway, vm, cpu_cores=vm.cpu_cores + 1)
    assert (job["state"], job["problem"]["code"]) == ("failed", "refused")
    assert "while VM is running" in job["problem"]["detail"]
    assert (vm.running, vm.need_restart) == (True, False)


async def test_a_guest_that_does_not_shut_down_keeps_running_with_its_old_size(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    before = (vm.cpu_cores, vm.ram_mb, vm.started)
    job = await resize(gateway, vm, cpu_cores=8, ram_mb=8192, shutdown_if_running=True, wait_timeout=1)
    assert (job["state"], job["problem"]["code"]) == ("failed", "still_running")
    assert "old size" in job["problem"]["detail"]
    assert (vm.cpu_cores, vm.ram_mb, vm.started) == before
    assert vm.running
    assert writes(gateway, vm) == ["update", "poweroff", "update"]


@pytest.mark.slow
async def test_a_guest_that_does_not_shut_down_is_forced_where_that_was_asked_for(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    job = await resize(gateway, vm, cpu_cores=8, shutdown_if_running=True, wait_timeout=1, force_after_timeout=True)
    assert (job["state"], vm.cpu_cores, vm.running) == ("completed", 8, True)
    assert writes(gateway, vm) == ["update", "poweroff", "kill", "poweron"]


async def test_a_vm_that_does_not_start_with_its_new_size_gets_the_old_one_back_and_runs(gateway):
    vm = gateway.sim.vm("web-1").fail_to_start("Unable to start machine: not enough hugepages")
    vm.guest_seconds, cores = 2, vm.cpu_cores
    job = await gateway.accepted("PATCH", f"/vms/{vm.key}", {"cpu_cores": cores + 4, **STOPPING})
    await eventually(lambda: "poweron" in vm.power_actions())
    vm.fail_to_start(None)
    ended = await gateway.ended(job["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "start_failed")
    assert (vm.cpu_cores, vm.running) == (cores, True)
    assert writes(gateway, vm) == ["update", "poweroff", "poweron", "update", "poweron"]


async def test_a_vm_that_does_not_start_at_all_is_the_first_thing_said(gateway):
    vm = gateway.sim.vm("web-1").fail_to_start("Unable to start machine: disk image is locked")
    vm.guest_seconds, cores = 2, vm.cpu_cores
    job = await resize(gateway, vm, cpu_cores=cores + 4, **STOPPING)
    assert (job["state"], job["problem"]["code"]) == ("failed", "left_off")
    assert job["problem"]["detail"].startswith("web-1 IS NOT RUNNING")
    assert "disk image is locked" in job["problem"]["detail"]
    assert (vm.cpu_cores, vm.running) == (cores, False)


async def test_a_resize_cancelled_while_the_vm_shuts_down_ends_with_the_vm_as_it_was(gateway):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds, cores = 30, vm.cpu_cores
    job = await gateway.accepted("PATCH", f"/vms/{vm.key}", {"cpu_cores": cores + 4, **STOPPING})
    await eventually(lambda: "poweroff" in vm.power_actions())
    await gateway.call("POST", f"/jobs/{job['id']}/cancel")
    ended = await gateway.ended(job["id"])
    assert ended["state"] == "cancelled"
    assert (vm.cpu_cores, vm.running) == (cores, True)


@pytest.mark.parametrize(("body", "code"), [({"cpu_cores": 1024}, "over_limit"), ({"ram_mb": 1_048_576}, "over_limit")])
async def test_what_the_cluster_does_not_allow_fails_before_anything_is_touched(gateway, body, code):
    vm = gateway.sim.vm("web-1")
    job = await resize(gateway, vm, **body, **STOPPING)
    assert (job["state"], job["problem"]["code"]) == ("failed", code)
    assert gateway.sim.actions == []


async def test_ram_that_no_node_has_fails_before_anything_is_touched(gateway):
    vm = gateway.sim.vm("web-1")
    clusters = gateway.sim.world.db["clusters"]
    for row in clusters:
        clusters.change(row, {"max_ram_per_vm": 1_048_576})
    job = await resize(gateway, vm, ram_mb=524_288, **STOPPING)
    assert (job["state"], job["problem"]["code"]) == ("failed", "no_room")
    assert gateway.sim.actions == []


# reset


@pytest.mark.parametrize("hard", [True, False])
async def test_a_reset_is_confirmed_by_the_new_start(gateway, hard):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds, started = 2, vm.started
    job = await gateway.accepted("POST", f"/vms/{vm.key}/reset", {"hard": hard})
    ended = await gateway.ended(job["id"])
    assert (ended["state"], ended["result"]["confirmed"]) == ("completed", True)
    assert vm.started > started
    assert vm.power_actions() == ["reset"]
    (action,) = gateway.sim.actions
    assert action.params == ({} if hard else {"graceful": True})


async def test_a_reboot_that_the_guest_ignores_is_told_as_asked_for_not_as_done(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    job = await gateway.accepted("POST", f"/vms/{vm.key}/reset", {})
    ended = await gateway.ended(job["id"])
    assert (ended["state"], ended["result"]["confirmed"]) == ("completed", False)
    assert "asked" in ended["detail"]


async def test_a_vm_that_is_off_has_nothing_to_reset(gateway):
    vm = gateway.sim.vm("test-vm")
    job = await gateway.accepted("POST", f"/vms/{vm.key}/reset", {"hard": True})
    ended = await gateway.ended(job["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "not_running")
    assert "power_on_vm" in ended["problem"]["next_step"]
    assert gateway.sim.actions == []
