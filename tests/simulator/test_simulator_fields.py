"""The fields language and the shapes of answers (VergeOS API notes 2.3, 2.5, 2.6)."""

import pytest

POWER = "machine#status#running as running,machine#status#status as status"


async def test_joins_reach_state_node_and_cluster(api):
    fields = f"$key,name,{POWER},machine#status#node#name as node_name,machine#cluster#name as cluster_name"
    row = await api.get("vms/34", fields=fields)
    node = row.pop("node_name")
    assert node.startswith("node")
    assert row == {"$key": 34, "name": "web-1", "running": True, "status": "running", "cluster_name": "main"}


async def test_the_tables_own_power_columns_are_of_no_use(api):
    assert await api.get("vms/34", fields="$key,running,status") == {"$key": 34, "running": None}


async def test_unknown_names_are_dropped_in_silence(api):
    assert await api.get("vms/34", fields="name,nonsense,also#nonsense as x,sum(y),z[a]") == {"name": "web-1"}


async def test_most_omits_the_disk_size_and_explicit_lists_have_it(api):
    assert "disksize" not in (await api.get("machine_drives", fields="most", limit=1))[0]
    assert (await api.get("machine_drives", filter="machine eq 41", fields="disksize"))[0]["disksize"] > 0


@pytest.mark.parametrize(("table", "has_key"), [("vms", True), ("nodes", False), ("storage_tiers", False)])
async def test_all_leaves_out_joins_and_on_some_tables_the_key(api, table, has_key):
    row = (await api.get(table, fields="all", limit=1))[0]
    assert ("$key" in row) is has_key
    assert not any("#" in name for name in row)


async def test_nested_objects_and_lists(api):
    row = await api.get(
        "vms/34", fields="machine[name,status[running],drives[name,disksize],nics[name,vnet#name as net]]"
    )
    machine = row["machine"]
    assert machine["name"] == "web-1"
    assert machine["status"] == {"running": True}
    assert [drive["name"] for drive in machine["drives"]] == ["os", "data"]
    assert [nic["net"] for nic in machine["nics"]] == ["Internal", "web-1"]


async def test_functions_displays_and_computed_columns(api):
    fields = (
        "upper(name) as big,created,datetime(created) as at,sha1(name) as hash,cluster#$display as cluster,"
        "display(os_family) as os,machine#status#display(status) as shown,"
        "machine#status#status eq 'running' as is_running"
    )
    row = await api.get("vms/34", fields=fields)
    assert row["big"] == "WEB-1"
    assert row["at"].startswith("20")
    assert len(row["hash"]) == 40
    assert (row["cluster"], row["shown"], row["is_running"]) == ("main", "Running", True)
    assert row["os"] in ("Linux", "Windows")


async def test_aggregates_over_relations(api):
    fields = (
        "$key,running_machines[sum(running_cores),sum(running_ram)] as vm_stats_totals,count(running_machines) as n"
    )
    node = await api.get("nodes/1", fields=fields)
    on_it = await api.get("machine_status", filter="node eq 1", fields="running_cores,running_ram")
    assert node["n"] == len(on_it)
    assert node["vm_stats_totals"] == {
        "running_cores": sum(row["running_cores"] for row in on_it),
        "running_ram": sum(row["running_ram"] for row in on_it),
    }


async def test_dashboard_view_nests_machine_status_and_stats(api):
    machine = (await api.get("vms/34", fields="dashboard"))["machine"]
    assert machine["status"]["status"] == "running"
    assert machine["stats"]["total_cpu"] > 0


async def test_a_polymorphic_join_that_leads_nowhere_is_missing(api):
    alarms = await api.get("alarms", fields="owner,owner#name as owner_name,alarm_type#name as type")
    by_owner = {alarm["owner"]: alarm for alarm in alarms}
    assert by_owner["nodes/2"]["owner_name"] == "node2"
    assert by_owner["vnets/5"]["owner_name"] == "web-1"
    assert "owner_name" not in by_owner["system/1"]


async def test_an_empty_list_is_an_object_with_a_count(api):
    assert await api.get("vms", filter="name eq 'nobody'", fields="name") == {"$count": 0}


async def test_no_fields_at_all_counts_the_rows(api):
    count = (await api.get("vms", fields=",", filter="is_snapshot eq false"))[0]["$count"]
    assert count == 40


async def test_unprojected_reads_give_little(api):
    assert await api.get("vms/34") == {"$key": 34, "name": "web-1"}
    assert set((await api.get("cluster_status"))[0]) == {"$key"}


async def test_unknown_parameters_are_ignored_so_that_whole_tables_come_back(api):
    everything = await api.get("machine_nics", fields="$key")
    assert await api.get("machine_nics", fields="$key", machine=41) == everything
    assert len(everything) > 50


async def test_sort_limit_and_offset(api):
    names = [row["name"] for row in await api.get("vms", fields="name", sort="-name", filter="is_snapshot eq false")]
    assert names == sorted(names, reverse=True)
    page = await api.get("vms", fields="name", sort="-name", filter="is_snapshot eq false", limit=5, offset=10)
    assert [row["name"] for row in page] == names[10:15]
    assert len(await api.get("vms", fields="name", limit=0)) >= 40


async def test_pretty_printing_on_request(api):
    async with api.session.get(f"{api.sim.url}/api/v4/vms/34", headers={"X-JSON-Non-Compact": "1"}) as response:
        assert b"\n" in await response.read()


async def test_the_index_and_the_schema_of_a_table(api):
    assert {"vms", "machine_status", "alarms"} <= set(await api.get(""))
    names = {field["name"] for field in (await api.get("vms/$table"))["fields"]}
    assert {"cpu_cores", "ram", "machine"} <= names


async def test_a_request_line_above_eight_kib_is_refused(api):
    url = f"{api.sim.url}/api/v4/vms?fields=name,"
    async with api.session.get(url + "x" * 8200) as response:
        assert response.status == 414
    async with api.session.get(url + "x" * 8000) as response:
        assert response.status == 200


async def test_a_missing_row_and_a_missing_table_are_404(api):
    assert (await api.ask("GET", "vms/999999"))[0] == 404
    assert (await api.ask("GET", "no_such_table"))[0] == 404
