"""Sums over nodes and machines for cluster rows and the dashboard."""

from typing import Any

from gateway.simulator.model import Database, Row


def _nodes(db: Database, row: Row) -> list[Row]:
    return db["nodes"].where("cluster", row["cluster"])


def _online(db: Database, row: Row) -> list[Row]:
    return [node for node in _nodes(db, row) if node_is_online(db, node)]


def node_is_online(db: Database, node: Row) -> bool:
    """Whether a node runs and is not in maintenance."""
    status = db["machine_status"].first("machine", node["machine"])
    return status is not None and bool(status.get("running")) and not node.get("maintenance")


def guests(db: Database, node: Row) -> list[Row]:
    """The `machine_status` rows of what runs on a node: VMs, networks, tenant nodes."""
    return [row for row in db["machine_status"].where("node", node["$key"]) if row.get("running")]


def total_nodes(db: Database, row: Row) -> int:
    """Nodes of the cluster."""
    return len(_nodes(db, row))


def online_nodes(db: Database, row: Row) -> int:
    """Nodes that run and are not in maintenance."""
    return len(_online(db, row))


def running_machines(db: Database, row: Row) -> int:
    """Machines that run on the cluster's nodes."""
    return sum(len(guests(db, node)) for node in _nodes(db, row))


def total_ram_mb(db: Database, row: Row) -> int:
    """Physical RAM of all nodes in MB."""
    return sum(node["ram"] for node in _nodes(db, row))


def online_ram_mb(db: Database, row: Row) -> int:
    """RAM for VMs on the online nodes in MB."""
    return sum(node["vm_ram"] for node in _online(db, row))


def used_ram_mb(db: Database, row: Row) -> int:
    """RAM given to running machines in MB."""
    return sum(each.get("running_ram", 0) for node in _nodes(db, row) for each in guests(db, node))


def total_cores(db: Database, row: Row) -> int:
    """Cores of all nodes."""
    return sum(node["cores"] for node in _nodes(db, row))


def online_cores(db: Database, row: Row) -> int:
    """Cores of the online nodes."""
    return sum(node["cores"] for node in _online(db, row))


def used_cores(db: Database, row: Row) -> int:
    """Cores given to running machines."""
    return sum(each.get("running_cores", 0) for node in _nodes(db, row) for each in guests(db, node))


def dashboard(db: Database) -> dict[str, Any]:
    """The answer of `GET /dashboard` (VergeOS API notes 3.19)."""
    out: dict[str, Any] = {}
    out.update(_counts(db, "machines", [row["machine"] for row in db["vms"] if not row.get("is_snapshot")]))
    out.update(_counts(db, "vnets", [row["machine"] for row in db["vnets"]]))
    out.update(_counts(db, "nodes", [row["machine"] for row in db["nodes"]]))
    tenants = [row for row in db["tenants"] if not row.get("is_snapshot")]
    online = sum(1 for row in tenants if (db["tenant_status"].get(row["status"]) or {}).get("running"))
    out.update({"tenants_count": len(tenants), "tenants_online": online, "tenants_warn": 0, "tenants_error": 0})
    tiers = [row for row in db["cluster_tiers"] if row["tier"] in db["storage_tiers"].rows]
    for name, count in (("clusters", len(db["clusters"])), ("cluster_tiers", len(tiers)), ("sites", 0), ("repos", 0)):
        out.update({f"{name}_count": count, f"{name}_online": count, f"{name}_warn": 0, f"{name}_error": 0})
    levels = [alarm.get("level") for alarm in db["alarms"] if alarm.get("snooze", 0) <= db.now()]
    out["storage_tiers_count"] = {"$count": len(db["storage_tiers"])}
    out["users_count"] = len(db["users"])
    out["users_online"] = 1
    out["groups_count"] = out["groups_online"] = 0
    out["alarms_count"] = {"$count": len(levels)}
    out["alarms_warning"] = levels.count("warning")
    out["alarms_error"] = levels.count("error") + levels.count("critical")
    out["resource_instance_count"] = {"instances_total": 0}
    out["resource_instance_max"] = 0
    return out


def _counts(db: Database, name: str, machines: list[Any]) -> dict[str, int]:
    states = []
    for machine in machines:
        status = db["machine_status"].first("machine", machine) or {}
        states.append(status.get("state", "offline"))
    return {
        f"{name}_count": len(states),
        f"{name}_online": states.count("online"),
        f"{name}_warn": states.count("warning"),
        f"{name}_error": states.count("error"),
    }
