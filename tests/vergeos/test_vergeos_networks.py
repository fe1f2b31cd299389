"""The calls about networks against the simulated VergeOS: what they return and what they cost."""

import pytest

from gateway.core.errors import VergeOSBadAnswer, VergeOSInvalid, VergeOSNotFound
from gateway.vergeos.networks import (
    find_networks,
    get_network,
    list_networks,
    look,
    machines_on,
    network,
    network_look,
    network_row,
    vnet_action,
)
from tests.conftest import eventually


def row_of(sim, name):
    return sim.world.db["vnets"].first("name", name)


async def test_list_single_and_look_agree_and_cost_one_request_each(sim, client):
    listed = {row.id: row for row in await list_networks(client)}
    assert len(listed) == len(sim.world.db["vnets"])
    for key, row in listed.items():
        whole, seen = await get_network(client, key), await look(client, key)
        assert row.model_dump() == {name: getattr(whole, name) for name in type(row).model_fields}
        assert (seen.key, seen.machine, seen.name, seen.type) == (row.id, row.machine_id, row.name, row.type)
        assert (seen.running, seen.status, seen.need_fw_apply) == (row.running, row.status, row.need_fw_apply)
        assert seen.uuid == ""
        assert (seen.started_at or 0) > 1_700_000_000 or not row.running
    assert sim.requests == {"GET vnets": 1 + 2 * len(listed)}


@pytest.mark.parametrize("name", ["Internal", "o'neill's {net} \\ \"x\"", "lab (off)"])
async def test_a_name_is_exact(sim, client, name):
    assert [row.id for row in await find_networks(client, name)] == [row_of(sim, name)["$key"]]
    assert await find_networks(client, name[:-1]) == await find_networks(client, name.swapcase()) == []


@pytest.mark.parametrize("read", [get_network, look])
async def test_a_network_that_is_not_there_is_not_found(client, read):
    with pytest.raises(VergeOSNotFound, match="GET vnets/9999"):
        await read(client, 9_999)


async def test_applying_rules_is_refresh_and_clears_the_flag(sim, client):
    key = row_of(sim, "web-1")["$key"]
    assert (await look(client, key)).need_fw_apply
    await vnet_action(client, key, "refresh")

    async def applied():
        return not (await look(client, key)).need_fw_apply

    await eventually(applied)
    assert [(action.action, action.key) for action in sim.actions] == [("refresh", key)]


@pytest.mark.parametrize("action", ["apply", "killpower"])
async def test_what_is_no_action_of_vergeos_is_refused_by_it(sim, client, action):
    with pytest.raises(VergeOSInvalid, match="not in list"):
        await vnet_action(client, row_of(sim, "web-1")["$key"], action)


async def test_parameters_reach_vergeos(sim, client):
    await vnet_action(client, row_of(sim, "web-1")["$key"], "reset", {"apply": True})
    assert sim.actions[-1].params == {"apply": True}


async def test_the_machines_on_a_network_are_those_of_its_nics_for_one_request(sim, client):
    for name in ("Internal", "web-1", "External"):
        key = row_of(sim, name)["$key"]
        meant = {row["machine"] for row in sim.world.db["machine_nics"] if row.get("vnet") == key}
        assert await machines_on(client, key) == meant
    assert sim.requests == {"GET machine_nics": 3}
    assert sim.bytes_sent["GET machine_nics"] < 60 * 40


DRIFT = {"$key": "5", "name": "n", "type": "internal", "running": "true", "machine": "41", "mtu": "1500", "nic": None}


def test_rows_are_read_whatever_their_types_and_with_columns_missing():
    row = network(DRIFT)
    assert (row.id, row.running, row.machine_id, row.mtu, row.enabled) == (5, True, 41, 1500, True)
    assert (row.rx_bytes, row.rate_limit, row.layer2_id, row.network, row.status) == (None, None, None, "", "unknown")
    bare = network_row({"$key": 1})
    assert (bare.name, bare.type, bare.running, bare.machine_id) == ("", "", None, None)
    assert network_row({"$key": 1, "status": "stopped", "powerstate": True}).running is False


@pytest.mark.parametrize("read", [network_row, network, network_look])
@pytest.mark.parametrize("row", [{}, {"$key": None}, {"$key": "x", "running": True}])
def test_a_row_without_a_key_is_no_row(read, row):
    with pytest.raises(VergeOSBadAnswer):
        read(row)


def test_a_look_without_a_power_state_is_none():
    with pytest.raises(VergeOSBadAnswer, match="power state of network 5"):
        network_look({"$key": 5, "name": "n", "status": None})


def test_texts_are_cleaned_but_for_the_name_of_a_look():
    row = {**DRIFT, "name": "a\u202eb\nc", "description": "x" * 5_000, "domain": "d" * 500, "status": "running"}
    shown = network(row)
    assert shown.name == "ab c"
    assert len(shown.description) == 2_048
    assert len(shown.domain) == 64
    assert network_look(row).name == "a\u202eb\nc"
