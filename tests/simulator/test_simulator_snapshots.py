"""VM snapshots: hidden VMs, two kinds of keys, restoring (VergeOS API notes 3.6, 4.7, 4.8)."""

import time

import pytest


async def hidden_vm(api, snapshot):
    """The key of the VM row that holds a snapshot's copy, found the official way."""
    row = await api.get(f"machine_snapshots/{snapshot}", fields="machine,snap_machine")
    [vm] = await api.get("vms", filter=f"machine eq {row['snap_machine']}", fields="$key,is_snapshot")
    assert vm["is_snapshot"]
    return vm["$key"]


@pytest.fixture
async def stopped(api, sim):
    """A stopped VM with a snapshot, its size changed and a drive lost since."""
    vm = sim.vm("test-vm")
    _, receipt = await api.post("machine_snapshots", {"machine": vm.machine_key, "name": "s", "expires_type": "never"})
    await api.put(f"vms/{vm.key}", {"cpu_cores": 7, "ram": 8192})
    for drive in await api.get("machine_drives", filter=f"machine eq {vm.machine_key}", fields="$key"):
        await api.delete(f"machine_drives/{drive['$key']}")
    return vm, receipt["$key"]


async def test_keys_of_vms_and_machines_differ_and_overlap(sim):
    vms = list(sim.world.db["vms"])
    keys = {row["$key"] for row in vms}
    machines = {row["machine"] for row in vms}
    assert all(row["machine"] != row["$key"] for row in vms)
    assert len(keys & machines) > len(vms) // 2
    assert sim.vm(34).name == "web-1"


async def test_a_snapshot_is_a_row_and_a_hidden_vm_with_its_own_machine(api, sim):
    before = sim.vm("web-1")
    body = {"machine": 41, "name": "pre", "description": "d", "quiesce": True, "expires_type": "date"}
    body["expires"] = int(time.time()) + 3600
    status, receipt = await api.post("machine_snapshots", body)
    assert status == 201
    row = await api.get(f"machine_snapshots/{receipt['$key']}", fields="most,expires_type,size")
    assert (row["machine"], row["name"], row["expires"], row["quiesced"]) == (41, "pre", body["expires"], True)
    assert "expires_type" not in row
    assert "size" not in row
    hidden = await api.get(f"vms/{await hidden_vm(api, receipt['$key'])}", fields="name,machine,uuid,is_snapshot")
    assert hidden["name"] == "web-1"
    assert hidden["machine"] != before.machine_key
    assert hidden["uuid"] != before.uuid


async def test_expiry_has_a_default_and_never_is_zero(api):
    _, first = await api.post("machine_snapshots", {"machine": 41, "name": "a"})
    _, second = await api.post("machine_snapshots", {"machine": 41, "name": "b", "expires_type": "never"})
    row = await api.get(f"machine_snapshots/{first['$key']}", fields="expires,created")
    assert row["expires"] - row["created"] == 72 * 3600
    assert (await api.get(f"machine_snapshots/{second['$key']}", fields="expires"))["expires"] == 0


async def test_names_are_unique_on_one_vm_and_free_on_another(api):
    assert (await api.post("machine_snapshots", {"machine": 41, "name": "a"}))[0] == 201
    assert (await api.post("machine_snapshots", {"machine": 41, "name": "a"}))[0] == 409
    assert (await api.post("machine_snapshots", {"machine": 37, "name": "a"}))[0] == 201
    assert (await api.post("machine_snapshots", {"machine": 999, "name": "a"}))[0] == 404


async def test_deleting_is_queued_and_then_done(start, until):
    api = await start(time_scale=2.0)
    _, receipt = await api.post("machine_snapshots", {"machine": 41, "name": "a"})
    path = f"machine_snapshots/{receipt['$key']}"
    hidden = await hidden_vm(api, receipt["$key"])
    assert (await api.delete(path))[0] == 200
    assert (await api.get(path, fields="queue_delete"))["queue_delete"] is True
    rows = api.sim.world.db["machine_snapshots"]
    await until(lambda: api.sim.state() and rows.get(receipt["$key"]) is None)
    assert (await api.ask("GET", f"vms/{hidden}"))[0] == 404


async def test_restoring_by_the_snapshots_own_vm_key_brings_the_vm_back(api, sim, until, stopped):
    vm, snapshot = stopped
    machine, uuid = vm.machine_key, vm.uuid
    key = await hidden_vm(api, snapshot)
    assert (await api.act(key, "restore", snapshot=snapshot, poweron=False)) == (200, None)
    await until(lambda: vm.cpu_cores == 2)
    assert (vm.ram_mb, vm.machine_key, vm.uuid, vm.name) == (4096, machine, uuid, "test-vm")
    assert len(await api.get("machine_drives", filter=f"machine eq {machine}", fields="name")) >= 1
    assert not vm.running
    assert sim.actions[-1].effect_at is not None


@pytest.mark.parametrize("wrong", ["the vm itself", "a missing key"])
async def test_restoring_by_a_wrong_key_is_refused(api, stopped, wrong):
    vm, snapshot = stopped
    key, status = (vm.key, 422) if wrong == "the vm itself" else (99999, 404)
    assert (await api.act(key, "restore", snapshot=snapshot))[0] == status
    assert vm.cpu_cores == 7


async def test_a_snapshots_machine_key_may_restore_another_vm(api, sim, until):
    """The mistake of part 6.3: `vm` = `snap_machine` hits whatever VM has that number."""
    victim = sim.vm("db-1").stop()
    for number in range(12):
        victim.snapshot(f"v{number}")
    culprit = sim.vm("test-vm")
    snapshot = sim.world.db["machine_snapshots"].rows[culprit.snapshot("mine")]
    for number in range(12):
        victim.snapshot(f"w{number}")
    await api.put(f"vms/{victim.key}", {"cpu_cores": 9})
    assert (await api.act(snapshot["snap_machine"], "restore"))[0] == 200
    await until(lambda: victim.cpu_cores == 2)


async def test_a_running_vm_is_not_restored_and_a_name_is_no_way_to_a_new_one(api, sim):
    snapshot = sim.vm("web-1").snapshot("s")
    key = await hidden_vm(api, snapshot)
    assert (await api.act(key, "restore"))[0] == 422
    assert await api.act(key, "restore", name="x") == (422, {"err": "Error getting destination VM during clone"})
    assert (await api.act(key, "poweron"))[0] == 422
    assert (await api.act(key, "clone", name="web-1-restored"))[0] == 201
    assert sim.vm("web-1-restored").row["is_snapshot"] is False


async def test_a_vm_may_be_unreadable_while_it_is_restored(start, until):
    api = await start(time_scale=1.0)
    vm = api.sim.vm("test-vm").unreadable_while_restoring(0.6)
    key = await hidden_vm(api, vm.snapshot("s"))
    await api.act(key, "restore")
    assert (await api.ask("GET", f"vms/{vm.key}"))[0] == 404
    assert await api.names("name eq 'test-vm' and is_snapshot eq false") == []
    await until(lambda: api.sim.actions[-1].effect_at is not None)
    assert (await api.ask("GET", f"vms/{vm.key}"))[0] == 200


async def test_a_restore_may_fail(api, sim):
    vm = sim.vm("test-vm").fail_to_restore()
    assert (await api.act(await hidden_vm(api, vm.snapshot("s")), "restore"))[0] == 500


async def test_snapshots_of_a_vm_in_the_default_population(api):
    rows = await api.get("machine_snapshots", filter="machine eq 41", sort="-created", fields="name,expires")
    assert [row["name"] for row in rows] == ["o'clock {daily}", "before upgrade"]
    [golden] = await api.get("machine_snapshots", filter="name eq 'golden'", fields="expires,machine#name as vm")
    assert golden == {"expires": 0, "vm": "db-1"}
