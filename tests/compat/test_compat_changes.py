"""The changing tools by their published parameters: what VergeOS shows once their job has ended."""

import pytest
import pytest_asyncio

from tests.compat.standing import gateway_on
from tests.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

GB = 2**30
DAY_SECONDS = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(session_redis):
    async with gateway_on(session_redis.url, vms=60) as served:
        yield served


@pytest.fixture(scope="module")
def running_vms(gateway):
    sim = gateway.sim
    keys = [row["$key"] for row in sim.world.db["vms"] if not row.get("is_snapshot") and sim.vm(row["$key"]).running]
    return iter(keys)


@pytest.fixture
def vm(running_vms, sim):
    """A VM that runs and that no test has touched."""
    return sim.vm(next(running_vms))


@pytest.fixture
def off(vm):
    """A VM that is off and that no test has touched."""
    return vm.stop()


@pytest.mark.parametrize("action", ["poweroff", "reset"])
async def test_the_route_of_a_vm_s_action_reaches_vergeos(gateway, vm, done, action):
    await done(await gateway.accepted("POST", f"/vms/{vm.key}/{action}"))
    assert vm.power_actions() == [action]
    assert vm.running is (action == "reset")


async def test_the_route_of_a_vm_s_start_reaches_vergeos(gateway, off, done):
    await done(await gateway.accepted("POST", f"/vms/{off.key}/poweron"))
    assert (off.power_actions(), off.running) == (["poweron"], True)


async def test_a_list_shows_what_an_action_did_as_soon_as_its_job_has_ended(gateway, vm, done):
    await gateway.get("/vms", limit=1000)
    await done(await gateway.accepted("POST", f"/vms/{vm.key}/poweroff"))
    listed = (await gateway.get("/vms", limit=1000)).body
    assert {row["id"]: row["running"] for row in listed}[vm.key] is False


async def test_power_off_vm_does_not_force_a_guest_that_listens(tool, vm, done):
    await done(await tool("power_off_vm", id=vm.key, wait_timeout=60, force_after_timeout=True))
    assert vm.power_actions() == ["poweroff"]


async def test_power_off_vm_cuts_the_power_when_the_wait_is_over_and_force_was_said(tool, vm, done):
    vm.ignore_acpi()
    await done(await tool("power_off_vm", id=vm.key, wait_timeout=1, force_after_timeout=True))
    assert vm.power_actions() == ["poweroff", "kill"]


async def test_power_off_vm_never_forces_unless_it_was_said(gateway, tool, vm):
    vm.ignore_acpi()
    ended = await gateway.ended((await tool("power_off_vm", id=vm.key, wait_timeout=1))["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "still_running")
    assert vm.power_actions() == ["poweroff"]


async def test_force_off_vm_cuts_the_power(tool, vm, done):
    await done(await tool("force_off_vm", id=vm.key))
    assert (vm.power_actions(), vm.running) == (["kill"], False)


async def test_modify_vm_changes_a_stopped_vm(tool, off, done):
    await done(await tool("modify_vm", id=off.key, cpu_cores=7, ram_mb=7168))
    assert (off.cpu_cores, off.ram_mb, off.running) == (7, 7168, False)


async def test_modify_vm_shuts_a_running_vm_down_for_the_change_when_asked(tool, vm, done):
    said = {"shutdown_if_running": True, "wait_timeout": 60, "force_after_timeout": True}
    await done(await tool("modify_vm", id=vm.key, cpu_cores=7, **said))
    assert (vm.cpu_cores, vm.need_restart, vm.running) == (7, False, True)
    assert vm.power_actions() == ["poweroff", "poweron"]


async def test_modify_vm_lets_a_running_vm_run_unless_asked(tool, vm, done):
    await done(await tool("modify_vm", id=vm.key, ram_mb=7168))
    assert (vm.ram_mb, vm.need_restart, vm.running) == (7168, True, True)
    assert vm.power_actions() == []


async def test_add_drive_takes_the_machine_and_resize_drive_the_drive(tool, rows, vm, done):
    drive = {"name": "data-disk", "size_gb": 50, "interface_type": "virtio", "description": "data"}
    await done(await tool("add_drive", machine_id=vm.machine_key, **drive))
    (made,) = rows("machine_drives", machine=vm.machine_key, name="data-disk")
    assert (made["disksize"], made["interface"]) == (50 * GB, "virtio")
    await done(await tool("resize_drive", drive_id=made["$key"], new_size_gb=60))
    assert made["disksize"] == 60 * GB


async def test_resize_drive_never_shrinks(gateway, rows, vm):
    drive = rows("machine_drives", machine=vm.machine_key)[0]
    before = drive["disksize"]
    refused = await gateway.call("POST", "/tools/resize_drive", {"drive_id": drive["$key"], "new_size_gb": 1})
    refused.problem(400, "invalid_argument")
    assert drive["disksize"] == before


@pytest.mark.parametrize(
    ("action", "network", "asked"),
    [
        ("poweron", "lab (off)", "poweron"),
        ("poweroff", "Internal", "poweroff"),
        ("reset", "External", "reset"),
        ("apply", "web-1", "refresh"),
    ],
)
async def test_network_action_does_each_of_its_actions(tool, rows, sim, done, action, network, asked):
    (row,) = rows("vnets", name=network)
    await done(await tool("network_action", id=row["$key"], action=action))
    acts = [act.action for act in sim.actions if (act.table, act.key) == ("vnet_actions", row["$key"])]
    assert acts == [asked]


@pytest.mark.parametrize(("action", "tenant"), [("poweron", "globex"), ("poweroff", "acme"), ("reset", "db-1")])
async def test_tenant_action_does_each_of_its_actions(tool, rows, sim, done, action, tenant):
    (row,) = rows("tenants", name=tenant, is_snapshot=False)
    await done(await tool("tenant_action", id=row["$key"], action=action))
    acts = [act.action for act in sim.actions if (act.table, act.key) == ("tenant_actions", row["$key"])]
    assert acts == [action]


@pytest.mark.parametrize(("said", "days"), [({}, 7), ({"expires_days": 30}, 30), ({"expires_days": 0}, None)])
async def test_create_vm_snapshot_keeps_it_seven_days_or_as_said(tool, rows, sim, vm, done, said, days):
    await done(await tool("create_vm_snapshot", vm_id=vm.key, name="before", description="mine", **said))
    (row,) = rows("machine_snapshots", machine=vm.machine_key, name="before")
    wanted = 0 if days is None else sim.world.db.now() + days * DAY_SECONDS
    assert row["expires"] == pytest.approx(wanted, abs=120)


async def test_delete_vm_snapshot_takes_the_snapshot_s_id(tool, rows, vm, done):
    key = vm.snapshot("old")
    await done(await tool("delete_vm_snapshot", snapshot_id=key))
    assert key not in {row["id"] for row in (await tool("list_vm_snapshots", vm_id=vm.key))["items"]}
    await eventually(lambda: not rows("machine_snapshots", machine=vm.machine_key, name="old"))  # VergeOS takes time


async def test_restore_vm_snapshot_takes_the_vm_and_the_snapshot(tool, off, done):
    before = off.ram_mb
    key = off.snapshot("good")
    await done(await tool("modify_vm", id=off.key, ram_mb=7168))
    await done(await tool("restore_vm_snapshot", vm_id=off.key, snapshot_id=key))
    assert off.ram_mb == before
