"""The reading tools by their published parameters, against the rows that VergeOS has; and the document's questions."""

import pytest
import pytest_asyncio

from tests.compat.standing import gateway_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

GB = 2**30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(session_redis):
    async with gateway_on(session_redis.url) as served:
        yield served


async def test_list_vms_is_filtered_by_running_and_by_part_of_the_name(tool, sim):
    running = (await tool("list_vms", running=True))["items"]
    assert running
    assert all(sim.vm(vm["id"]).running for vm in running)
    assert [vm["name"] for vm in (await tool("list_vms", name="TEST-v"))["items"]] == ["test-vm"]


async def test_get_vm_status_tells_whether_and_where_it_runs(tool, sim):
    told = await tool("get_vm_status", id=34)
    node = sim.world.db["nodes"].rows[sim.vm(34).node]["name"]
    wanted = {"id": 34, "name": "web-1", "running": True, "status": "running", "node": node}
    assert wanted.items() <= told.items()


async def test_get_vm_drives_tells_each_drive_with_its_size(tool, rows, sim):
    told = (await tool("get_vm_drives", id=34))["items"]
    wanted = {row["$key"]: row["disksize"] / GB for row in rows("machine_drives", machine=sim.vm(34).machine_key)}
    assert {drive["id"]: drive["size_gb"] for drive in told} == wanted


async def test_get_vm_nics_tells_those_of_this_vm_alone(tool, rows, sim):
    told = (await tool("get_vm_nics", id=34))["items"]
    wanted = {row["$key"]: row["macaddress"] for row in rows("machine_nics", machine=sim.vm(34).machine_key)}
    assert {nic["id"]: nic["mac_address"] for nic in told} == wanted


async def test_list_networks_is_filtered_and_paged(tool, rows):
    internal = await tool("list_networks", type="internal", enabled=True, limit=2, offset=1)
    assert internal["total"] == len(rows("vnets", type="internal", enabled=True))
    assert [(row["type"], row["enabled"]) for row in internal["items"]] == [("internal", True)] * 2
    assert [row["name"] for row in (await tool("list_networks", name="exter"))["items"]] == ["External"]


async def test_get_network_tells_its_state(tool, rows):
    (row,) = rows("vnets", name="Internal")
    told = await tool("get_network", id=row["$key"])
    assert {"id": row["$key"], "name": "Internal", "type": "internal", "running": True}.items() <= told.items()


async def test_get_tenant_tells_its_state(tool, rows):
    (row,) = rows("tenants", name="globex")
    told = await tool("get_tenant", id=row["$key"])
    assert {"id": row["$key"], "name": "globex", "running": False}.items() <= told.items()


async def test_get_node_stats_tells_what_a_node_uses(tool):
    told = await tool("get_node_stats", id=1)
    assert (told["id"], told["name"]) == (1, "node1")
    assert told["ram_used_mb"] is not None
    assert told["cpu_used_percent"] is not None


async def test_get_cluster_stats_tells_every_tier_with_its_size(tool, rows):
    told = {tier["tier"]: tier["capacity_gb"] for tier in (await tool("get_cluster_stats"))["items"]}
    assert told == {row["tier"]: row["capacity"] / GB for row in rows("storage_tiers")}


async def test_list_volumes_tells_the_nas_volumes_without_their_snapshots(tool, rows):
    told = (await tool("list_volumes"))["items"]
    assert {volume["id"] for volume in told} == {row["$key"] for row in rows("volumes", is_snapshot=False)}


@pytest.mark.parametrize("level", ["error", "warning", "audit"])
async def test_get_logs_is_filtered_by_level(tool, rows, level):
    told = await tool("get_logs", level=level, limit=500)
    assert {line["id"] for line in told["items"]} == {row["$key"] for row in rows("logs", level=level)}


@pytest.mark.parametrize("object_type", ["vm", "node", "vnet"])
async def test_get_logs_is_filtered_by_the_type_of_its_object(tool, rows, object_type):
    told = await tool("get_logs", object_type=object_type, limit=500)
    assert {line["id"] for line in told["items"]} == {row["$key"] for row in rows("logs", object_type=object_type)}


async def test_list_vm_snapshots_tells_those_of_one_vm(tool, rows, sim):
    told = (await tool("list_vm_snapshots", vm_id=34))["items"]
    wanted = {row["$key"] for row in rows("machine_snapshots", machine=sim.vm(34).machine_key)}
    assert {snapshot["id"] for snapshot in told} == wanted
    assert len(wanted) == 2


async def test_a_vm_that_is_a_snapshot_s_is_not_listed(tool, rows):
    hidden = {row["$key"] for row in rows("vms", is_snapshot=True)}
    assert hidden
    listed = await tool("list_vms", limit=1000)
    assert not hidden & {vm["id"] for vm in listed["items"]}


# What the document says one may ask, as the calls that an assistant makes of it.


async def test_list_all_vms_in_vergeos(tool, rows):
    assert (await tool("list_vms"))["total"] == len(rows("vms", is_snapshot=False))


async def test_show_me_the_cluster_status(tool, rows):
    told = (await tool("get_cluster_status"))["items"]
    assert {cluster["name"] for cluster in told} == {row["name"] for row in rows("clusters")}
    assert {cluster["status"] for cluster in told}


async def test_what_alarms_are_active(tool):
    told = [(alarm["level"], alarm.get("object")) for alarm in (await tool("get_alarms"))["items"]]
    assert ("critical", "node2") in told


async def test_list_all_virtual_networks(tool, rows):
    assert {row["id"] for row in (await tool("list_networks"))["items"]} == {row["$key"] for row in rows("vnets")}


async def test_get_details_for_vm_id_34(tool, sim):
    told = await tool("get_vm", id=34)
    assert {"id": 34, "name": "web-1", "machine_id": sim.vm(34).machine_key}.items() <= told.items()


async def test_how_many_nodes_are_in_the_cluster(tool, rows):
    assert (await tool("list_nodes"))["total"] == len(rows("nodes"))


async def test_show_me_the_last_20_log_entries(tool, rows):
    newest = sorted(rows("logs"), key=lambda row: row["timestamp"], reverse=True)[:20]
    told = (await tool("get_logs", limit=20))["items"]
    assert [line["id"] for line in told] == [row["$key"] for row in newest]
