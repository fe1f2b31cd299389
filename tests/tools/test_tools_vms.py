"""list_vms: which VMs it answers, against the simulator's own rows."""

import pytest


async def test_a_node_shows_the_vms_that_run_on_it(call, sim):
    node = (await call("get_vm", id="web-1")).value.node
    rows = (await call("list_vms", node=node, limit=100)).value.items
    vms = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
    assert {row.id for row in rows} == {vm.key for vm in vms if vm.running and vm.node == sim.vm("web-1").node}


async def test_a_tag_shows_the_vms_that_carry_it_for_one_more_request(call, sim):
    tags = {row["$key"]: row["name"] for row in sim.world.db["tags"]}
    members = [row for row in sim.world.db["tag_members"] if str(row["member"]).startswith("vms/")]
    assert members
    name = tags[members[0]["tag"]]
    carriers = {int(row["member"].removeprefix("vms/")) for row in members if tags[row["tag"]] == name}
    sim.reset_counts()
    answer = await call("list_vms", tag=name, limit=100)
    assert {row.id for row in answer.value.items} == carriers
    assert sim.requests["GET tag_members"] == 1
    await call("list_vms", tag=name)
    assert sim.requests["GET tag_members"] == 1
    assert (await call("list_vms", tag="no such tag")).value.total == 0


@pytest.mark.parametrize("running", [True, False])
async def test_running_or_not(call, running):
    rows = (await call("list_vms", running=running, limit=100)).value.items
    assert rows
    assert {bool(row.running) for row in rows} == {running}
