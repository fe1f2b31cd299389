"""The changing tools by their published parameters: what VergeOS shows once their job has ended."""

import pytest

from tests.conftest import eventually

GB = 2**30
DAY_SECONDS = 86_400


@pytest.mark.parametrize("action", ["poweron", "poweroff", "reset"])
async def test_the_route_of_a_vm_s_action_reaches_vergeos(gateway, sim, done, action):
    vm = sim.vm("test-vm" if action == "poweron" else "web-1")
    await done(await gateway.accepted("POST", f"/vms/{vm.key}/{action}"))
    assert vm.power_actions() == [action]
    assert vm.running is (action != "poweroff")


async def test_a_list_shows_what_an_action_did_as_soon_as_its_job_has_ended(gateway, done):
    await gateway.get("/vms")
    await done(await gateway.accepted("POST", "/vms/34/poweroff"))
    assert {row["id"]: row["running"] for row in (await gateway.get("/vms")).body}[34] is False


async def test_power_off_vm_waits_for_the_guest_and_does_not_force_one_that_listens(tool, sim, done):
    await done(await tool("power_off_vm", id=34, wait_timeout=60, force_after_timeout=True))
    assert sim.power_actions(34) == ["poweroff"]


async def test_power_off_vm_cuts_the_power_when_the_wait_is_over_and_force_was_said(tool, sim, done):
    sim.vm(34).ignore_acpi()
    await done(await tool("power_off_vm", id=34, wait_timeout=1, force_after_timeout=True))
    assert sim.power_actions(34) == ["poweroff", "kill"]


async def test_power_off_vm_never_forces_unless_it_was_said(gateway, tool, sim):
    sim.vm(34).ignore_acpi()
    ended = await gateway.ended((await tool("power_off_vm", id=34, wait_timeout=1))["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "still_running")
    assert sim.power_actions(34) == ["poweroff"]


async def test_force_off_vm_cuts_the_power(tool, sim, done):
    await done(await tool("force_off_vm", id=34))
    assert sim.power_actions(34) == ["kill"]


async def test_modify_vm_changes_a_stopped_vm(tool, sim, done):
    vm = sim.vm("test-vm")
    await done(await tool("modify_vm", id=vm.key, cpu_cores=4, ram_mb=8192))
    assert (vm.cpu_cores, vm.ram_mb, vm.running) == (4, 8192, False)


async def test_modify_vm_shuts_a_running_vm_down_for_the_change_when_asked(tool, sim, done):
    vm = sim.vm(34)
    await done(
        await tool(
            "modify_vm", id=34, cpu_cores=4, shutdown_if_running=True, wait_timeout=60, force_after_timeout=True
        )
    )
    assert (vm.cpu_cores, vm.need_restart, vm.running) == (4, False, True)
    assert vm.power_actions() == ["poweroff", "poweron"]


async def test_modify_vm_leaves_a_running_vm_running_unless_asked(tool, sim, done):
    vm = sim.vm(34)
    await done(await tool("modify_vm", id=34, ram_mb=8192))
    assert (vm.ram_mb, vm.need_restart, vm.running) == (8192, True, True)
    assert vm.power_actions() == []


async def test_add_drive_takes_the_machine_and_resize_drive_the_drive(tool, rows, sim, done):
    machine = sim.vm(34).machine_key
    await done(
        await tool(
            "add_drive", machine_id=machine, name="data-disk", size_gb=50, interface_type="virtio", description="data"
        )
    )
    (drive,) = rows("machine_drives", machine=machine, name="data-disk")
    assert (drive["disksize"], drive["interface"]) == (50 * GB, "virtio")
    await done(await tool("resize_drive", drive_id=drive["$key"], new_size_gb=60))
    assert drive["disksize"] == 60 * GB


async def test_resize_drive_never_shrinks(gateway, rows, sim):
    drive = rows("machine_drives", machine=sim.vm(34).machine_key)[0]
    before = drive["disksize"]
    refused = await gateway.call("POST", "/tools/resize_drive", {"drive_id": drive["$key"], "new_size_gb": 1})
    assert 400 <= refused.status < 500
    assert drive["disksize"] == before


@pytest.mark.parametrize(
    ("action", "network", "asked"),
    [
        ("poweron", "lab (off)", "poweron"),
        ("poweroff", "Internal", "poweroff"),
        ("reset", "Internal", "reset"),
        ("apply", "web-1", "refresh"),
    ],
)
async def test_network_action_does_each_of_its_actions(tool, rows, sim, done, action, network, asked):
    (row,) = rows("vnets", name=network)
    await done(await tool("network_action", id=row["$key"], action=action))
    assert [act.action for act in sim.actions if act.table == "vnet_actions"] == [asked]


@pytest.mark.parametrize(("action", "tenant"), [("poweron", "globex"), ("poweroff", "acme"), ("reset", "acme")])
async def test_tenant_action_does_each_of_its_actions(tool, rows, sim, done, action, tenant):
    (row,) = rows("tenants", name=tenant, is_snapshot=False)
    await done(await tool("tenant_action", id=row["$key"], action=action))
    assert [act.action for act in sim.actions if act.table == "tenant_actions"] == [action]


@pytest.mark.parametrize(("said", "days"), [({}, 7), ({"expires_days": 30}, 30), ({"expires_days": 0}, None)])
async def test_create_vm_snapshot_keeps_it_seven_days_or_as_said(tool, rows, sim, done, said, days):
    await done(await tool("create_vm_snapshot", vm_id=34, name="before change", description="mine", **said))
    (row,) = rows("machine_snapshots", name="before change")
    wanted = 0 if days is None else sim.world.db.now() + days * DAY_SECONDS
    assert row["expires"] == pytest.approx(wanted, abs=120)


async def test_delete_vm_snapshot_takes_the_snapshot_s_id(tool, rows, done):
    key = next(row["id"] for row in (await tool("list_vm_snapshots", vm_id=34))["items"])
    await done(await tool("delete_vm_snapshot", snapshot_id=key))
    assert key not in {row["id"] for row in (await tool("list_vm_snapshots", vm_id=34))["items"]}
    await eventually(lambda: key not in {row["$key"] for row in rows("machine_snapshots")})  # VergeOS takes its time


async def test_restore_vm_snapshot_takes_the_vm_and_the_snapshot(tool, sim, done):
    vm = sim.vm("test-vm")
    key = vm.snapshot("good")
    await done(await tool("modify_vm", id=vm.key, ram_mb=8192))
    await done(await tool("restore_vm_snapshot", vm_id=vm.key, snapshot_id=key))
    assert vm.ram_mb == 4096
