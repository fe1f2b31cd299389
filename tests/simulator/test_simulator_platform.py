"""Networks, tenants, nodes, clusters, tiers, NAS, logs, alarms (VergeOS API notes 3.10-3.19)."""

import time

POWER = "machine#status#running as running,machine#status#status as status"


async def vnet_act(api, key, action, **params):
    return await api.post("vnet_actions", {"vnet": key, "action": action, "params": params})


async def tenant_act(api, key, action):
    return await api.post("tenant_actions", {"tenant": key, "action": action})


def landed(sim):
    return lambda: sim.actions[-1].effect_at is not None


async def test_networks_of_every_kind_with_their_state_by_join_only(api):
    rows = await api.get("vnets", fields=f"name,type,running,powerstate,{POWER}", sort="+$key")
    assert {row["type"] for row in rows} >= {"core", "dmz", "external", "internal", "physical"}
    by_name = {row["name"]: row for row in rows}
    assert by_name["Internal"]["running"] is True
    assert by_name["lab (off)"]["running"] is False
    assert all(row["powerstate"] is False for row in rows)


async def test_changed_rules_wait_for_refresh(start, until):
    api = await start(time_scale=1.0)
    assert (await api.get("vnets/4", fields="need_fw_apply"))["need_fw_apply"] is False
    status, _ = await api.post("vnet_rules", {"vnet": 4, "name": "web", "protocol": "tcp", "destination_ports": "443"})
    assert status == 201
    assert (await api.get("vnets/4", fields="need_fw_apply"))["need_fw_apply"] is True
    assert (await vnet_act(api, 4, "apply"))[0] == 422
    assert (await vnet_act(api, 4, "refresh"))[0] == 201
    assert (await api.get("vnets/4", fields="need_fw_apply"))["need_fw_apply"] is True
    await until(landed(api.sim))
    assert (await api.get("vnets/4", fields="need_fw_apply"))["need_fw_apply"] is False


async def test_a_stopped_network_refuses_refresh_and_never_waits_for_it(api):
    assert (await vnet_act(api, 6, "refresh"))[0] == 422
    await api.post("vnet_rules", {"vnet": 6, "name": "web"})
    assert (await api.get("vnets/6", fields="need_fw_apply"))["need_fw_apply"] is False


async def test_a_network_reset_leaves_running_and_comes_back(start, until):
    api = await start(time_scale=2.0)
    sim = api.sim
    await api.put("vnets/4", {"dhcp_stop": "192.168.10.210"})
    assert (await api.get("vnets/4", fields="need_restart"))["need_restart"] is True
    assert (await vnet_act(api, 4, "reset", apply=True))[0] == 201
    assert (await api.get("vnets/4", fields=POWER))["status"] == "stopping"
    await until(landed(sim))
    assert await api.get("vnets/4", fields=POWER) == {"running": True, "status": "running"}
    assert (await api.get("vnets/4", fields="need_restart"))["need_restart"] is False


async def test_a_network_is_deleted_only_when_stopped(api, sim, until):
    assert (await api.delete("vnets/4"))[0] == 422
    assert (await vnet_act(api, 4, "killpower"))[0] == 422
    assert (await vnet_act(api, 4, "poweroff"))[0] == 201
    await until(landed(sim))
    assert (await api.delete("vnets/4"))[0] == 200
    assert (await vnet_act(api, 6, "poweron"))[0] == 201
    await until(landed(sim))


async def test_nics_of_networks_nodes_and_vms_share_one_table(api):
    rows = await api.get("machine_nics", fields="machine#type as type")
    assert {row["type"] for row in rows} >= {"vm", "vnet", "node"}
    traffic = await api.get("vnets/4", fields="nic#stats#rx_bytes as rx")
    assert traffic["rx"] > 0


async def test_tenants_power_with_a_delay_and_take_their_nodes_along(start, until):
    api = await start(time_scale=8.0)
    sim = api.sim
    fields = "name,is_snapshot,url,status#running as running,status#status as status,ui_address#ip as ui_ip"
    rows = await api.get("tenants", fields=fields, sort="+$key")
    assert [row["is_snapshot"] for row in rows].count(True) == 1
    assert rows[0]["status"] == "running"
    assert (await tenant_act(api, 1, "poweroff"))[0] == 201
    assert (await api.get("tenants/1", fields=fields))["status"] == "stopping"
    await until(landed(sim))
    nodes = await api.get("tenant_nodes", filter="tenant eq 1", fields=POWER)
    assert nodes == [{"running": False, "status": "stopped"}] * 2
    assert (await tenant_act(api, 1, "poweroff"))[0] == 422
    await tenant_act(api, 1, "poweron")
    await until(landed(sim))
    assert (await api.get("tenants/1", fields=fields))["running"] is True
    assert (await tenant_act(api, 1, "reset"))[0] == 201
    assert (await tenant_act(api, 5, "poweron"))[0] == 422


async def test_a_tenant_whose_nodes_find_no_place_falls_back_to_stopped(api, until):
    [node] = await api.get("tenant_nodes", filter="tenant eq 2", fields="$key")
    await api.put(f"tenant_nodes/{node['$key']}", {"ram": 1048576})
    await tenant_act(api, 2, "poweron")
    status = api.sim.world.db["tenant_status"].first("tenant", 2)
    await until(lambda: api.sim.state() and status["status"] == "stopped")
    assert api.sim.actions[-1].effect_at is None


async def test_a_tenants_storage_and_use(api):
    storage = await api.get("tenant_storage", filter="tenant eq 1", fields="tier#tier as tier,provisioned,used")
    assert [row["tier"] for row in storage] == [1, 3]
    query = {"filter": "tenant eq 1", "sort": "-timestamp", "limit": 1, "fields": "timestamp,total_cpu,ip_count"}
    [newest] = await api.get("tenant_stats_history_short", **query)
    assert newest["timestamp"] > time.time() - 600


async def test_node_load_comes_from_machine_stats(api):
    fields = (
        f"$key,id,name,machine,cores,ram,vm_ram,cluster#name as cluster_name,{POWER},"
        "machine#stats#total_cpu as cpu,machine#stats#ram_used as used,machine#stats#core_temp as temp"
    )
    nodes = await api.get("nodes", fields=fields)
    assert len(nodes) >= 4
    assert all(node["cpu"] > 0 and node["temp"] > 20 and node["used"] < node["ram"] for node in nodes)
    query = {"filter": f"machine eq {nodes[0]['machine']}", "sort": "-timestamp", "limit": 60}
    points = await api.get("machine_stats_history_short", fields="timestamp,total_cpu", **query)
    times = [point["timestamp"] for point in points]
    assert len(points) == 60
    assert times == sorted(times, reverse=True)


async def test_maintenance_drains_a_node_and_ends(start, until):
    api = await start(time_scale=200.0, vms=12)
    assert (await api.post("node_actions", {"node": 1, "action": "enable_maintenance"}))[0] == 422
    assert (await api.post("node_actions", {"node": 1, "action": "maintenance"}))[0] == 201
    assert (await api.get("nodes/1", fields="maintenance"))["maintenance"] is True
    await until(landed(api.sim))
    assert (await api.get("nodes/1", fields=POWER))["status"] == "maintenance"
    assert await api.get("machine_status", filter="node eq 1 and running eq true") == {"$count": 0}
    assert (await api.post("nodes/1/disable_maintenance", {}))[0] == 201
    await until(landed(api.sim))
    assert await api.get("nodes/1", fields=f"maintenance,{POWER}") == {
        "maintenance": False,
        "running": True,
        "status": "running",
    }


async def test_cluster_sums_follow_the_vms(api, sim, until):
    fields = "status#used_ram as used,status#running_machines as running,status#online_nodes as online"
    before = await api.get("clusters/1", fields=fields)
    await api.act(34, "kill")
    await until(landed(sim))
    after = await api.get("clusters/1", fields=fields)
    assert (before["used"] - after["used"], before["running"] - after["running"]) == (4096, 1)
    assert (await api.get("clusters/1", fields="status[all]"))["status"]["state"] == "online"


async def test_tiers_one_nearly_full_and_one_a_phantom(api):
    tiers = await api.get("storage_tiers", fields="$key,tier,capacity,used,used_pct,dedupe_ratio,stats[rops,wops]")
    assert [tier["tier"] for tier in tiers] == [1, 3, 5]
    assert tiers[2]["used_pct"] > 90
    fields = "cluster#name as cluster,tier,status#status as status,status#used_pct as pct,stats#rops as rops"
    rows = await api.get("cluster_tiers", fields=fields)
    assert {row["tier"] for row in rows} - {tier["tier"] for tier in tiers} == {4}


async def test_nas_volumes_have_text_keys_and_a_vm_behind_them(api, sim):
    fields = "$key,name,service#$display as nas,service#vm#machine#status#status as nas_status,status#status as mount"
    rows = await api.get("volumes", filter="is_snapshot eq false", fields=fields)
    assert len(rows) == 2
    assert all(len(row["$key"]) == 40 and row["nas"] == "nas-1" and row["mount"] == "mounted" for row in rows)
    assert (await api.get(f"volumes/{rows[0]['$key']}", fields="name"))["name"] == rows[0]["name"]
    assert sim.vm("nas-1").row["service"] == 1


async def test_logs_count_in_microseconds_and_are_filtered_and_sorted(api):
    since = int((time.time() - 3 * 86_400) * 1e6)
    source = f"(level eq 'error' or level eq 'critical') and timestamp ge {since}"
    rows = await api.get("logs", filter=source, sort="-timestamp", limit=10, fields="level,timestamp,object_type,text")
    assert len(rows) == 10
    assert {row["level"] for row in rows} <= {"error", "critical"}
    assert rows[0]["timestamp"] > rows[-1]["timestamp"] > since
    assert await api.get("logs", filter="object_type eq 'node' and text ct 'ignore your'", fields="object_name") == [
        {"object_name": "node2"}
    ]


async def test_alarms_are_snoozed_unsnoozed_and_resolved(api):
    active = "(snooze eq 0 or snooze le {$now})"
    before = await api.get("alarms", filter=active, sort="-created", fields="$key,resolvable,owner")
    assert len(before) == len(await api.get("alarms")) - 1
    key = next(row["$key"] for row in before if row["owner"] == "vnets/5")
    await api.put(f"alarms/{key}", {"snooze": int(time.time()) + 3600})
    assert len(await api.get("alarms", filter=active)) == len(before) - 1
    assert (await api.get(f"alarms/{key}", fields="snoozed_by"))["snoozed_by"] == "admin"
    await api.put(f"alarms/{key}", {"snooze": 0})
    assert (await api.post(f"alarms/{key}/resolve", {}))[0] == 201
    assert (await api.ask("GET", f"alarms/{key}"))[0] == 404
    assert (await api.get("vnets/5", fields="need_fw_apply"))["need_fw_apply"] is False
    fixed = next(row["$key"] for row in before if not row["resolvable"])
    assert (await api.post("alarm_actions", {"alarm": fixed, "action": "resolve"}))[0] == 422


async def test_the_dashboard_is_one_row_of_counts(api):
    [row] = await api.get("dashboard")
    assert row["machines_count"] == 40
    assert row["nodes_online"] == row["nodes_count"]
    assert row["alarms_count"] == {"$count": 5}


async def test_guest_data_is_a_list_when_there_is_no_agent(api, sim):
    async def info(name):
        machine = sim.vm(name).machine_key
        [row] = await api.get("machine_status", filter=f"machine eq {machine}", fields="agent_guest_info")
        return row["agent_guest_info"]

    assert await info("test-vm") == []
    guest = await info("web-1")
    assert guest["hostname"] == "web-1"
    nics = guest["network"]
    macs = {nic["hardware-address"] for nic in (nics.values() if isinstance(nics, dict) else nics)}
    rows = await api.get("machine_nics", filter="machine eq 41", fields="macaddress")
    assert macs == {row["macaddress"] for row in rows}
