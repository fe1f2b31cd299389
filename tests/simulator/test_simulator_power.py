"""Power of VMs over time (VergeOS API notes 3.7, 4.1-4.4, 4.10)."""

import pytest


async def test_power_on_passes_through_initializing_to_running(start, until):
    api = await start(time_scale=1.0)
    vm = api.sim.vm("test-vm")
    assert not vm.running
    assert (await api.act(vm.key, "poweron"))[0] == 201
    assert (vm.status, vm.running) == ("initializing", False)
    await until(lambda: vm.status == "starting")
    await until(lambda: vm.running)
    [action] = api.sim.actions
    assert vm.status == "running"
    assert 0.49 < action.effect_at - action.at < 2


async def test_a_graceful_power_off_takes_the_guest_its_time(start, until):
    api = await start(time_scale=2.0)
    vm = api.sim.vm("web-1")
    vm.guest_seconds = 2.0
    await api.act(vm.key, "poweroff")
    assert vm.status == "running"
    await until(lambda: vm.status == "stopping")
    assert vm.running
    await until(lambda: not vm.running)
    [action] = api.sim.actions
    assert 0.99 < action.effect_at - action.at < 2
    row = await api.get("vms/34", fields="machine#status#node as node,machine#status#running_ram as ram")
    assert row == {"node": None, "ram": 0}


async def test_asking_twice_does_not_delay_the_guest(api, sim, until):
    vm = sim.vm("web-1")
    await api.act(vm.key, "poweroff")
    await api.act(vm.key, "poweroff")
    await until(lambda: not vm.running)
    assert sim.power_actions(vm.key) == ["poweroff", "poweroff"]
    assert sim.actions[0].effect_at is not None


async def test_a_hard_reset_forgets_the_shutdown_under_way_and_a_later_one_counts(start, until):
    api = await start(time_scale=10.0)
    vm = api.sim.vm("web-1")
    vm.guest_seconds = 8.0
    before = vm.started
    await api.act(vm.key, "poweroff")
    await api.act(vm.key, "reset")
    await until(lambda: vm.started != before)
    vm.guest_seconds = 2.0
    await api.act(vm.key, "poweroff")
    await until(lambda: not vm.running)
    assert [action.effect_at is not None for action in api.sim.actions] == [False, True, True]


async def test_a_guest_that_ignores_acpi_needs_a_kill(start, until):
    api = await start(time_scale=2.0)
    vm = api.sim.vm("web-1").ignore_acpi()
    await api.act(vm.key, "poweroff")
    await api.act(vm.key, "reset", graceful=True)
    started = vm.started
    await api.act(vm.key, "kill")
    assert vm.status == "stopping"
    await until(lambda: not vm.running)
    assert vm.started == started
    assert [action.effect_at is not None for action in api.sim.actions] == [False, False, True]
    assert api.sim.power_actions(34) == ["poweroff", "reset", "kill"]


async def test_a_vm_that_hangs_in_stopping_needs_a_kill(start, until):
    api = await start(time_scale=100.0)
    vm = api.sim.vm("web-1").hang_in_stopping()
    await api.act(vm.key, "poweroff")
    await until(lambda: vm.status == "stopping")
    await api.act(vm.key, "kill")
    await until(lambda: not vm.running)
    assert api.sim.actions[0].effect_at is None


@pytest.mark.parametrize("params", [{}, {"graceful": True}])
async def test_a_reset_shows_only_in_the_start_time(api, sim, until, params):
    vm = sim.vm("web-1")
    vm.guest_seconds = 2.0
    before = vm.started
    await api.act(vm.key, "reset", **params)
    assert vm.status == "running"
    await until(lambda: vm.started != before)
    assert vm.status == "running"
    now = vm.started
    await api.act(vm.key, "reset", **params)
    await until(lambda: vm.started != now)


async def test_a_failed_start_is_accepted_and_tells_its_reason_only_in_machine_logs(api, sim, until):
    vm = sim.vm("test-vm").fail_to_start("disk image is locked")
    assert (await api.act(vm.key, "poweron"))[0] == 201
    await until(lambda: vm.status == "stopped")
    query = {"filter": f"machine eq {vm.machine_key}", "sort": "-timestamp", "limit": 1, "fields": "level,text"}
    assert await api.get("machine_logs", **query) == [{"level": "error", "text": "disk image is locked"}]
    assert await api.get("logs", filter="text eq 'disk image is locked'", fields="text") == {"$count": 0}
    vm.fail_to_start(None)
    await api.act(vm.key, "poweron")
    await until(lambda: vm.running)


async def test_a_refused_placement_falls_back_to_stopped(api, sim, until):
    vm = sim.vm("test-vm").refuse_placement()
    await api.act(vm.key, "poweron")
    await until(lambda: vm.status == "stopped")
    [line] = await api.get("machine_logs", filter=f"machine eq {vm.machine_key} and level eq 'error'", fields="text")
    assert "place" in line["text"]


async def test_a_vm_that_no_node_can_hold_falls_back_to_stopped(api, sim, until):
    vm = sim.vm("test-vm")
    await api.put(f"vms/{vm.key}", {"ram": 262144})
    await api.act(vm.key, "poweron")
    await until(lambda: vm.status == "stopped")
    [line] = await api.get("machine_logs", filter=f"machine eq {vm.machine_key} and level eq 'error'", fields="text")
    assert "262144 MB" in line["text"]


async def test_wrong_moments_are_refused_and_logged_as_refused(api, sim):
    stopped = sim.vm("test-vm").key
    assert await api.act(34, "poweron") == (
        422,
        {"err": "Error powering on machine: Machine is already running with status 'running'"},
    )
    for action in ("poweroff", "kill", "reset", "migrate", "hibernate"):
        assert (await api.act(stopped, action))[0] == 422
    assert all(not action.ok and action.error for action in sim.actions)
    await api.put(f"vms/{stopped}", {"enabled": False})
    assert (await api.act(stopped, "poweron"))[0] == 422


@pytest.mark.parametrize("action", ["snapshot", "guestshutdown", "guestreboot", "apply", ""])
async def test_actions_outside_the_list_are_refused(api, action):
    expected = {"err": f"value '{action}' is not in list for field 'action'"}
    assert await api.act(34, action) == (422, expected)


async def test_an_action_on_a_missing_vm_is_404(api):
    assert (await api.act(999999, "poweron"))[0] == 404


async def test_a_migration_changes_the_node_while_the_vm_runs(start, until):
    api = await start(time_scale=4.0)
    vm = api.sim.vm("web-1")
    before = vm.node
    await api.act(vm.key, "migrate")
    await until(lambda: vm.status == "migrating")
    assert vm.running
    await until(lambda: vm.status == "running")
    assert vm.node not in (before, None)
    vm.forbid_migration()
    assert (await api.act(vm.key, "migrate"))[0] == 422


async def test_hibernate_and_resume(api, sim, until):
    vm = sim.vm("web-1")
    await api.act(vm.key, "hibernate")
    await until(lambda: vm.status == "hibernated")
    assert not vm.running
    await api.act(vm.key, "poweron")
    await until(lambda: vm.running)


async def test_a_size_change_while_running_waits_for_off_and_on(start, until):
    api = await start(time_scale=100.0)
    vm = api.sim.vm("web-1")
    assert await api.put("vms/34", {"cpu_cores": 3, "ram": 5000}) == (200, {})
    assert (vm.cpu_cores, vm.ram_mb, vm.need_restart) == (3, 4864, True)
    assert vm.status_row["running_cores"] == 2
    started = vm.started
    await api.act(34, "reset")
    await until(lambda: vm.started != started)
    assert vm.need_restart
    await api.act(34, "poweroff")
    await until(lambda: not vm.running)
    assert vm.need_restart
    await api.act(34, "poweron")
    await until(lambda: vm.running)
    assert not vm.need_restart
    assert (vm.status_row["running_cores"], vm.status_row["running_ram"]) == (3, 4864)


async def test_a_vm_may_refuse_a_change_of_cores_while_it_runs(api, sim):
    sim.vm("web-1").refuse_cpu_change()
    assert (await api.put("vms/34", {"cpu_cores": 3}))[0] == 422
    assert sim.vm("web-1").cpu_cores == 2


async def test_cluster_limits_hold(api):
    assert (await api.put("vms/34", {"cpu_cores": 65}))[0] == 422
    assert (await api.put("vms/34", {"ram": 262144 + 256}))[0] == 422
    assert (await api.put("vms/34", {"cpu_cores": 64, "ram": 262144}))[0] == 200


async def test_every_write_leaves_a_line_with_user_and_time(api, sim):
    await api.act(34, "poweroff")
    await api.put("vms/34", {"cpu_cores": 3})
    lines = await api.get("machine_logs", filter="machine eq 41", sort="+timestamp", fields="text,user,timestamp")
    assert [(line["text"], line["user"]) for line in lines] == [
        ("'poweroff' was requested", "admin"),
        ("Changed cpu_cores, need_restart", "admin"),
    ]
    assert lines[0]["timestamp"] == pytest.approx(sim.actions[0].at * 1e6, abs=1e6)
    [line] = await api.get("logs", filter="object_type eq 'vm' and text cs 'poweroff'", fields="object_name", limit=9)
    assert line["object_name"] == "web-1"
