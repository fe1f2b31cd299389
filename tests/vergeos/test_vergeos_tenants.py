"""The calls about tenants against the simulated VergeOS: what they return and what they cost."""

import pytest

from gateway.core.errors import UpstreamError, VergeOSBadAnswer, VergeOSInvalid, VergeOSNotFound
from gateway.vergeos.tenants import (
    find_tenants,
    get_tenant,
    get_tenant_row,
    list_tenants,
    look,
    tenant,
    tenant_action,
    tenant_look,
    tenant_row,
    tenant_state,
    tenant_states,
)
from tests.conftest import eventually


def snapshot_key(sim):
    return next(row["$key"] for row in sim.world.db["tenants"] if row.get("is_snapshot"))


async def test_list_single_look_and_state_agree(sim, client):
    listed = {row.id: row for row in await list_tenants(client)}
    assert len(listed) == len([row for row in sim.world.db["tenants"] if not row.get("is_snapshot")])
    states = await tenant_states(client, listed)
    assert states.keys() == listed.keys()
    for key, row in listed.items():
        whole, seen, state = await get_tenant(client, key), await look(client, key), states[key]
        assert row == await get_tenant_row(client, key)
        assert row.model_dump() == {name: getattr(whole, name) for name in type(row).model_fields}
        assert (seen.key, seen.machine, seen.name, seen.uuid) == (row.id, None, row.name, row.uuid)
        assert (seen.running, seen.status, seen.started_at) == (row.running, row.status, row.started_at)
        assert (state.running, state.status, state.started_at) == (row.running, row.status, row.started_at)
        assert not seen.is_snapshot
    assert sim.requests["GET tenants"] == 1 + 3 * len(listed)
    assert sim.requests["GET tenant_status"] == 1


async def test_a_name_finds_its_tenant_and_no_snapshot(sim, client):
    found = await find_tenants(client, "acme")
    assert [row.name for row in found] == ["acme"]
    assert found[0].id != snapshot_key(sim)
    assert await find_tenants(client, "ACME") == await find_tenants(client, "acm") == []


async def test_a_snapshot_is_not_found_but_a_job_may_look_at_it(sim, client):
    for read in (get_tenant, get_tenant_row):
        with pytest.raises(VergeOSNotFound, match="snapshot"):
            await read(client, snapshot_key(sim))
    assert (await look(client, snapshot_key(sim))).is_snapshot


@pytest.mark.parametrize("read", [get_tenant, get_tenant_row, look])
async def test_a_tenant_that_is_not_there_is_not_found(client, read):
    with pytest.raises(VergeOSNotFound, match="GET tenants/9999"):
        await read(client, 9_999)


async def test_the_first_of_three_failures_is_told_as_itself(sim, client):
    sim.down = True
    with pytest.raises(UpstreamError):
        await get_tenant(client.patient(attempts=1), 1)


async def test_a_tenant_alone_finds_vergeos_back_while_the_breaker_lets_one_request_try(sim, client):
    hasty = client.patient(attempts=1)
    sim.down = True
    while client.governor.health.open_since is None:
        with pytest.raises(UpstreamError):
            await get_tenant(hasty, 1)
    sim.down = False
    await eventually(lambda: client.governor.now >= client.governor.health.try_at)
    assert (await get_tenant(hasty, 1)).id == 1
    assert client.governor.health.open_since is None


async def test_an_action_reaches_the_tenant_and_its_state_shows_it(sim, client):
    off = (await find_tenants(client, "globex"))[0].id
    await tenant_action(client, off, "poweron")

    async def runs():
        return (await tenant_states(client, [off]))[off].running

    await eventually(runs)
    assert (await look(client, off)).started_at
    with pytest.raises(VergeOSInvalid, match="not in list"):
        await tenant_action(client, off, "kill")


def state_table(upstream, known):
    def answer(asked):
        words = asked.query["filter"].replace("(", "").replace(")", "").split()
        named = {int(words[at + 2]) for at, word in enumerate(words) if word == "tenant"}
        rows = [{"tenant": str(key), "running": 1, "status": "running"} for key in sorted(named & set(known))]
        return 200, [*rows, {"tenant": 9_999_999, "running": True}] if rows else {"$count": 0}

    upstream.answer = answer


@pytest.mark.parametrize(("wanted", "most"), [(range(0), 0), (range(1, 2), 1), (range(1, 201), 1), (range(1, 402), 3)])
async def test_states_cost_one_request_for_two_hundred_tenants(client_for, upstream, wanted, most):
    state_table(upstream, range(1, 5_000))
    states = await tenant_states(await client_for(upstream.url), wanted)
    assert set(states) == set(wanted)
    assert len(upstream.asked) == most
    assert all(len(asked.line) < 7_000 for asked in upstream.asked)


async def test_a_tenant_that_is_gone_has_no_state(client_for, upstream):
    state_table(upstream, [2])
    assert set(await tenant_states(await client_for(upstream.url), [1, 2, 3])) == {2}
    assert await tenant_states(await client_for(upstream.url), [7]) == {}


def test_rows_are_read_whatever_their_types_and_with_columns_missing():
    row = tenant(
        {"$key": "3", "name": "t\u202ex\ny", "running": 0, "isolate": "true"},
        [{"$key": "9", "ram": "2048"}],
        [{"tier_number": None}, {"tier_number": "3", "used": str(2**30), "used_pct": "12.5"}],
    )
    assert (row.id, row.name, row.running, row.status, row.isolated) == (3, "tx y", False, "unknown", True)
    assert (row.ui_ip, row.network, row.created_at, row.started_at) == ("", None, None, None)
    assert (row.nodes[0].id, row.nodes[0].ram_mb, row.nodes[0].host_node, row.nodes[0].running) == (9, 2048, None, None)
    assert [(of.tier, of.used_gb, of.used_percent) for of in row.storage] == [(3, 1.0, 12.5), (None, None, None)]


@pytest.mark.parametrize("read", [tenant_row, tenant_look])
@pytest.mark.parametrize("row", [{}, {"$key": None}, {"$key": "x", "running": True}])
def test_a_row_without_a_key_is_no_row(read, row):
    with pytest.raises(VergeOSBadAnswer):
        read(row)


def test_an_unknown_power_state_is_never_taken_for_off():
    with pytest.raises(VergeOSBadAnswer, match="power state of tenant 5"):
        tenant_look({"$key": 5, "name": "t"})
    assert tenant_state({"tenant": 5, "status": "starting"}) is None
    assert tenant_state({"running": True}) is None
