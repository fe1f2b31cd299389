"""Creating, changing and deleting rows, and how refusals look (VergeOS API notes 2.6, 2.7, 3)."""

import pytest

GIB = 2**30


async def attached(api, drive):
    return (await api.get(f"machine_drives/{drive}", fields="status#status as status"))["status"]


async def test_a_receipt_has_text_keys_where_rows_have_numbers(api):
    status, receipt = await api.post("vms", {"name": "new-vm", "ram": 3000, "machine_type": "q35"})
    key = receipt["$key"]
    assert status == 201
    assert isinstance(key, str)
    assert receipt["dbpath"] == f"vms/{key}"
    row = await api.get(f"vms/{key}", fields="$key,machine,ram,machine_type,machine#status#status as status")
    assert row["$key"] == int(key)
    assert str(row["machine"]) == receipt["response"]["machine"] != key
    assert (row["ram"], row["machine_type"], row["status"]) == (2816, "pc-q35-10.0", "stopped")


async def test_unknown_fields_and_empty_bodies_are_accepted_and_ignored(api, sim):
    before = await api.get("machine_drives/101", fields="all")
    assert await api.put("machine_drives/101", {"tier": 1, "media_type": "disk"}) == (200, {})
    assert await api.put("machine_drives/101", {}) == (200, {})
    after = await api.get("machine_drives/101", fields="all")
    assert after["preferred_tier"] == before["preferred_tier"]
    assert after["disksize"] == before["disksize"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "err"),
    [
        ("PUT", "vms/34", {"machine": 1}, 422, "field 'machine' is readonly"),
        ("PUT", "vms/34", {"$key": 1}, 422, "field 'key' is readonly"),
        ("PUT", "vms/34", {"cpu_cores": 0}, 422, "Validation error on field: 'cpu_cores' - 'fails validation test'"),
        ("PUT", "vms/34", {"os_family": "amiga"}, 422, "value 'amiga' is not in list for field 'os_family'"),
        (
            "PUT",
            "vms/34",
            {"cloudinit_datasource": ""},
            422,
            "value '' is not in list for field 'cloudinit_datasource'",
        ),
        ("PUT", "vms/34", {"cluster": 99}, 404, "error setting field 'cluster': No such file or directory"),
        ("PUT", "vms/34", {"name": "web-2"}, 409, "This name is already in use"),
        ("POST", "vms", {"name": "web-2"}, 409, "This name is already in use"),
        ("POST", "vms", {"name": ""}, 422, "Validation error on field: 'name' - 'fails validation test'"),
        ("DELETE", "vms/34", None, 422, "Virtual Machine must be stopped to delete"),
        (
            "POST",
            "machine_drives",
            {"machine": 9999, "name": "x", "disksize": GIB},
            404,
            "error setting field 'machine': No such file or directory",
        ),
        ("PUT", "machine_status/28", {"running": False}, 405, "update is not allowed on machine_status"),
    ],
)
async def test_refusals(api, method, path, body, status, err):
    assert await api.ask(method, path, body) == (status, {"err": err})


async def test_a_body_that_is_no_json_object_is_malformed(api):
    url = f"{api.sim.url}/api/v4/vm_actions"
    for content in ("{", "[1]"):
        async with api.session.post(url, data=content, headers={"Content-Type": "application/json"}) as response:
            assert response.status == 400
    async with api.session.post(
        url, data='{"vm": 34, "action": "kill"}', headers={"Content-Type": "text/plain"}
    ) as response:
        assert response.status == 422
    assert api.sim.vm(34).running


async def test_a_stopped_vm_is_deleted_with_everything_that_is_its(api, sim):
    vm = sim.vm("test-vm")
    machine = vm.machine_key
    vm.snapshot("one")
    assert (await api.delete(f"vms/{vm.key}"))[0] == 200
    assert (await api.ask("GET", f"vms/{vm.key}"))[0] == 404
    for table in ("machine_drives", "machine_nics", "machine_status", "machine_snapshots"):
        assert await api.get(table, filter=f"machine eq {machine}") == {"$count": 0}


async def test_a_new_drive_on_a_running_vm_waits_for_hotplug(api, until):
    body = {"machine": 41, "name": "more", "disksize": 5 * GIB, "interface": "virtio-scsi", "preferred_tier": "1"}
    _, receipt = await api.post("machine_drives", body)
    key = receipt["$key"]
    assert await attached(api, key) == "offline"
    assert (await api.act(34, "hotplugdrive", device=key))[0] == 201
    await until(lambda: api.sim.actions[-1].effect_at is not None)
    assert await attached(api, key) == "online"
    assert (await api.delete(f"machine_drives/{key}"))[0] == 422
    await api.act(34, "hotplugdrive", device=key, unplug=True)
    await until(lambda: api.sim.actions[-1].effect_at is not None)
    assert (await api.delete(f"machine_drives/{key}"))[0] == 200


async def test_what_cannot_be_hot_plugged_is_refused(api, sim):
    _, receipt = await api.post("machine_drives", {"machine": 41, "name": "slow", "disksize": GIB, "interface": "ide"})
    assert (await api.act(34, "hotplugdrive", device=receipt["$key"]))[0] == 422
    _, receipt = await api.post("machine_drives", {"machine": 41, "name": "fast", "disksize": GIB})
    assert (await api.act(33, "hotplugdrive", device=receipt["$key"]))[0] == 404
    await api.put("vms/34", {"allow_hotplug": False})
    assert (await api.act(34, "hotplugdrive", device=receipt["$key"]))[0] == 422


async def test_a_drive_grows_and_never_shrinks(api):
    [drive] = await api.get("machine_drives", filter="machine eq 41 and name eq 'os'", fields="$key,disksize")
    path, size = f"machine_drives/{drive['$key']}", drive["disksize"]
    assert (await api.put(path, {"disksize": size + GIB}))[0] == 200
    assert (await api.put(path, {"disksize": size}))[0] == 422
    assert await api.get(path, fields="disksize") == {"disksize": size + GIB}
    assert (await api.put(path, {"media": "cdrom"}))[0] == 422


async def test_an_efi_disk_takes_no_size_and_a_disk_needs_one(api):
    base = {"machine": 41, "name": "efi"}
    assert (await api.post("machine_drives", {**base, "media": "efidisk", "disksize": GIB}))[0] == 422
    assert (await api.post("machine_drives", {**base, "media": "efidisk"}))[0] == 201
    assert (await api.post("machine_drives", {"machine": 41, "name": "d"}))[0] == 422


async def test_macs_are_stored_in_lower_case_with_colons(api):
    body = {"machine": 41, "name": "n", "vnet": 4, "macaddress": "AA-BB-CC-00-11-22"}
    _, receipt = await api.post("machine_nics", body)
    row = await api.get(f"machine_nics/{receipt['$key']}", fields="macaddress,status#status as link")
    assert row == {"macaddress": "aa:bb:cc:00:11:22", "link": "down"}


async def test_tags_are_removed_with_their_category(api):
    members = await api.get("tag_members", filter="member eq 'vms/34'", fields="tag#name as tag,tag#category#name as c")
    assert {row["tag"] for row in members} == {"production", "web"}
    await api.delete("tag_categories/1")
    members = await api.get("tag_members", filter="member eq 'vms/34'", fields="tag#name as tag")
    assert members == [{"tag": "web"}]


async def test_a_setting_is_found_by_its_key_and_only_its_value_changes(api):
    [row] = await api.get("settings", filter="key eq 'cloud_name'", fields="$key,value")
    assert (await api.put(f"settings/{row['$key']}", {"value": "other"}))[0] == 200
    assert (await api.put(f"settings/{row['$key']}", {"key": "x"}))[0] == 422


async def test_creates_updates_and_deletes_stand_in_the_list_of_actions(api, sim):
    _, receipt = await api.post("vms", {"name": "short-lived"})
    key = receipt["$key"]
    await api.put(f"vms/{key}", {"ram": 2048})
    await api.put(f"vms/{key}", {"machine": 1})
    await api.delete(f"vms/{key}")
    seen = [(action.table, action.action, action.key, action.name, action.ok) for action in sim.actions]
    number = int(key)
    assert seen == [
        ("vms", "create", number, "short-lived", True),
        ("vms", "update", number, "short-lived", True),
        ("vms", "update", number, "short-lived", False),
        ("vms", "delete", number, "short-lived", True),
    ]
    assert sim.actions[1].params == {"ram": 2048}
    assert sim.actions[1].user == "admin"


async def test_a_task_runs_by_query_and_other_query_actions_do_nothing(start):
    api = await start(time_scale=1.0)
    assert (await api.ask("PUT", "tasks/1", {}, action="execute"))[0] == 200
    assert (await api.get("tasks/1", fields="status"))["status"] == "running"
    assert await api.ask("PUT", "vms/34", {"name": "x"}, action="apply_universal_vars") == (200, {})
    assert api.sim.vm(34).name == "web-1"


async def test_clone_answers_with_the_new_keys(api, sim):
    status, receipt = await api.act(34, "clone", name="web-1-copy")
    response = receipt["response"]
    copy = sim.vm("web-1-copy")
    assert status == 201
    assert (response["vmkey"], response["machinekey"]) == (str(copy.key), str(copy.machine_key))
    assert not copy.running
    macs = await api.get("machine_nics", filter=f"machine eq {copy.machine_key}", fields="macaddress")
    originals = await api.get("machine_nics", filter="machine eq 41", fields="macaddress")
    assert {row["macaddress"] for row in macs}.isdisjoint(row["macaddress"] for row in originals)
    assert (await api.act(34, "clone", name="web-1-copy"))[0] == 409


@pytest.mark.parametrize("value", [[1], {"a": 1}, True, None, 1e300, -(2**62), "x" * 5000, "\ud83d", 0.5])
async def test_no_value_of_any_kind_makes_a_server_error(api, value):
    bodies = [("vms/34", {name: value}) for name in ("cpu_cores", "ram", "cluster", "name", "enabled", "os_family")]
    statuses = [(await api.put(path, body))[0] for path, body in bodies]
    statuses.append((await api.post("vm_actions", {"vm": value, "action": value, "params": value}))[0])
    statuses.append((await api.act(34, "migrate", preferred_node=value))[0])
    statuses.append((await api.act(34, "hotplugdrive", device=value))[0])
    statuses.append((await api.post("machine_drives", {"machine": value, "disksize": value}))[0])
    statuses.append((await api.post("machine_snapshots", {"machine": 41, "name": value, "expires": value}))[0])
    assert all(status in (200, 201, 400, 404, 409, 422) for status in statuses), statuses
    await api.get("vms/34", fields="all")
