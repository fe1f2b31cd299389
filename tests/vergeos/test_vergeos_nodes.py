"""Rows of nodes, with all their drift, and what is asked for them."""

import pytest

from gateway.core.errors import VergeOSBadAnswer, VergeOSNotFound
from gateway.vergeos.nodes import find_nodes, get_node, list_nodes, node, node_room, node_row
from gateway.vergeos.vms import look

TOTALS = {"running_cores": 30, "running_ram": 75_776}
ROW = {
    "$key": 2,
    "name": "node2",
    "model": "R750",
    "cores": 32,
    "ram": 262_144,
    "vm_ram": 245_760,
    "physical": True,
    "maintenance": False,
    "need_restart": False,
    "restart_reason": "",
    "vsan_connected": True,
    "yb_version": "26.1.8",
    "machine": 7,
    "cluster_name": "main",
    "running": True,
    "status": "running",
    "started": 1_790_000_000,
    "cpu_pct": 12.5,
    "user_cpu": 8,
    "system_cpu": 3,
    "iowait_cpu": 0,
    "ram_used": 80_000,
    "ram_pct": 30.5,
    "core_temp": 51,
    "vm_stats_totals": TOTALS,
}


def without(*fields):
    return {name: value for name, value in ROW.items() if name not in fields}


def test_a_node_has_the_published_fields():
    assert node(ROW).model_dump() == {
        "id": 2,
        "name": "node2",
        "running": True,
        "status": "running",
        "maintenance": False,
        "need_restart": False,
        "cpu_used_percent": 12.5,
        "cpu_user_percent": 8,
        "cpu_system_percent": 3,
        "cpu_iowait_percent": 0,
        "ram_used_percent": 30.5,
        "vm_ram_mb": 245_760,
        "vm_ram_used_mb": 75_776,
        "vm_cores_used": 30,
        "cpu_cores": 32,
        "ram_mb": 262_144,
        "ram_used_mb": 80_000,
        "core_temp_celsius": 51,
        "cluster": "main",
        "restart_reason": "",
        "vsan_connected": True,
        "physical": True,
        "model": "R750",
        "version": "26.1.8",
        "started_at": 1_790_000_000,
        "machine_id": 7,
    }


def test_keys_and_numbers_may_be_texts_and_flags_numbers():
    drifted = {"$key": "2", "ram": "262144", "cpu_pct": "12.5", "maintenance": 0, "running": "true", "core_temp": "51"}
    assert node(ROW | drifted) == node(ROW)


def test_everything_but_the_key_may_be_missing():
    bare = node_row({"$key": 3})
    assert (bare.running, bare.status, bare.name, bare.vm_ram_used_mb, bare.trouble) == (None, "unknown", "", None, ())
    with pytest.raises(VergeOSBadAnswer, match=r"\$key"):
        node_row(without("$key"))


@pytest.mark.parametrize(("told", "used"), [(TOTALS, 75_776), ([TOTALS], 75_776), ([], None), (None, None), (7, None)])
def test_what_runs_on_a_node_may_come_in_several_forms(told, used):
    assert node_row(ROW | {"vm_stats_totals": told}).vm_ram_used_mb == used


def test_a_node_that_is_off_tells_no_load_even_if_vergeos_still_has_the_last():
    off = node(ROW | {"running": False, "status": "stopped"})
    load = {name: value for name, value in off.model_dump().items() if name.endswith(("_percent", "_celsius"))}
    assert set(load.values()) == {None}
    assert off.ram_used_mb is None


def test_a_load_of_zero_is_told_and_a_temperature_of_zero_is_no_sensor():
    idle = node(ROW | {"cpu_pct": 0, "ram_used": 0, "core_temp": 0})
    assert (idle.cpu_used_percent, idle.ram_used_mb, idle.core_temp_celsius) == (0, 0, None)


@pytest.mark.parametrize(
    ("changed", "trouble"),
    [
        ({}, ()),
        ({"running": False, "status": "stopped"}, ("stopped",)),
        ({"maintenance": True}, ("in maintenance",)),
        ({"need_restart": 1, "vsan_connected": False}, ("needs a restart", "vSAN not connected")),
        ({"vsan_connected": None}, ()),
    ],
)
def test_trouble_names_what_is_wrong_with_a_node(changed, trouble):
    assert node_row(ROW | changed).trouble == trouble


async def test_the_room_on_a_node_counts_the_vm_itself_as_free_on_its_own_node(sim, client):
    running = next(vm for vm in map(sim.vm, list(sim.world.db["vms"].rows)) if vm.running)
    vm = await look(client, running.key)
    own = ROW | {"name": vm.node}
    assert node_room(own, vm) == 245_760 - 75_776 + vm.ram_mb
    assert node_room(own | {"name": "another"}, vm) == 245_760 - 75_776
    assert node_room(own | {"maintenance": True}, vm) is None
    assert node_room(own | {"vm_stats_totals": None}, vm) is None


async def test_the_list_and_one_node_cost_one_request_each(sim, client):
    listed = await list_nodes(client)
    assert dict(sim.requests) == {"GET nodes": 1}
    sim.reset_counts()
    one = await get_node(client, listed[0].id)
    assert dict(sim.requests) == {"GET nodes": 1}
    assert (one.id, one.name, one.machine_id) == (listed[0].id, listed[0].name, listed[0].machine_id)
    assert one.cpu_user_percent is not None


async def test_a_node_is_found_by_its_exact_name_only(sim, client):
    [first, *_] = sim.world.db["nodes"]
    assert [row.id for row in await find_nodes(client, first["name"])] == [first["$key"]]
    assert await find_nodes(client, first["name"].upper()) == []
    assert await find_nodes(client, "x' or name ne '{x}") == []


async def test_a_node_that_is_not_there_is_not_found(client):
    with pytest.raises(VergeOSNotFound):
        await get_node(client, 4_711)
