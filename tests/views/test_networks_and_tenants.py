"""The views of networks and tenants: what a job saw is what the next reader reads, on every replica."""

import pytest

from gateway.core.answer import Source
from gateway.vergeos import networks, tenants
from gateway.views.inventory import resolve
from gateway.views.networks import (
    NETWORK_KIND,
    NETWORKS,
    network_view,
    patch_network,
    patch_network_power,
)
from gateway.views.tenants import (
    TENANT_KIND,
    TENANTS,
    patch_tenant,
    patch_tenant_power,
    tenant_row_view,
    tenant_view,
)


def key_of(sim, table, name):
    return sim.world.db[table].first("name", name)["$key"]


async def told(replicas, touched):
    for views in replicas:
        for name, generation in touched.items():
            views.forget(name, generation)


async def test_who_reads_after_a_look_at_a_network_reads_what_it_saw(replica, vergeos, sim):
    worker, one = await replica(), await replica()
    key = key_of(sim, "vnets", "web-1")
    assert (await one.rows(NETWORKS)).by_key[key].need_fw_apply
    assert (await one.one(network_view(key))).value.need_fw_apply
    sim.world.db["vnets"].change(sim.world.db["vnets"].rows[key], {"need_fw_apply": False})
    touched = await patch_network(worker, await networks.look(vergeos, key))
    assert touched.keys() == {"networks", f"network:{key}"}
    await told([one], touched)
    asked = sim.requests["GET vnets"]
    rows = await one.rows(NETWORKS)
    assert not rows.by_key[key].need_fw_apply
    assert rows.by_key[key].network == "192.168.20.0/24"
    assert sim.requests["GET vnets"] == asked
    assert not (await one.one(network_view(key))).value.need_fw_apply


async def test_what_the_watcher_saw_of_a_network_shows_in_the_list(replica, sim):
    worker, one = await replica(), await replica()
    key = key_of(sim, "vnets", "Internal")
    await one.rows(NETWORKS)
    await told([one], await patch_network_power(worker, key, running=False, status="stopped"))
    row = (await one.rows(NETWORKS)).by_key[key]
    assert (row.running, row.status, row.name) == (False, "stopped", "Internal")


async def test_who_reads_after_a_look_at_a_tenant_reads_what_it_saw(replica, vergeos, sim):
    worker, one = await replica(), await replica()
    key = key_of(sim, "tenants", "globex")
    for view in (TENANTS, tenant_row_view(key), tenant_view(key)):
        await one.rows(view)
    status = sim.world.db["tenants"].rows[key]["status"]
    up = {"running": True, "status": "running", "started": 1_800_000_000}
    sim.world.db["tenant_status"].change(sim.world.db["tenant_status"].rows[status], up)
    touched = await patch_tenant(worker, await tenants.look(vergeos, key))
    await told([one], touched)
    row = (await one.rows(TENANTS)).by_key[key]
    assert (row.running, row.status, row.started_at, row.url) == (
        True, "running", 1_800_000_000, "tenant2.example.com"
    )  # fmt: skip
    for view in (tenant_row_view(key), tenant_view(key)):
        assert (await one.one(view)).value.running
    await told([one], await patch_tenant_power(worker, key, running=False, status="stopping"))
    assert (await one.rows(TENANTS)).by_key[key].status == "stopping"


@pytest.mark.parametrize(
    ("kind", "table", "name"), [(NETWORK_KIND, "vnets", "Internal"), (TENANT_KIND, "tenants", "globex")]
)
async def test_a_known_object_is_found_while_vergeos_is_down(replica, vergeos, sim, now, redis, kind, table, name):
    views = await replica()
    key = key_of(sim, table, name)
    await views.rows(kind.listing)
    assert (await resolve(views, kind, key)).name == name
    assert sim.requests[f"GET {table}"] == 1
    await now.passes(60, redis)
    sim.down = True
    for ref in (key, str(key), name, f"name:{name}"):
        assert (await resolve(views, kind, ref)).id == key
    assert (await views.rows(kind.listing)).source is Source.STALE


@pytest.mark.parametrize(
    ("listed", "single", "table"),
    [(NETWORKS, network_view, "vnets"), (TENANTS, tenant_row_view, "tenants"), (TENANTS, tenant_view, "tenants")],
)
async def test_a_live_read_of_one_tells_the_list_what_a_new_list_would(replica, sim, listed, single, table):
    views, other = await replica(), await replica()
    key = (await views.rows(listed)).rows[0].id
    sim.world.db[table].change(sim.world.db[table].rows[key], {"name": "another", "description": "new"})
    assert (await views.one(single(key))).value.name == "another"
    patched = (await views.rows(listed)).by_key[key]
    assert patched.name == "another"
    assert patched == (await other.rows(listed, max_age=0)).by_key[key]
