"""The calls about nodes, typed, and what their rows mean."""

from collections.abc import Mapping
from typing import Any

from gateway.core.cluster import Node, NodeRow
from gateway.core.ids import MachineKey, NodeKey
from gateway.core.vm import VmLook
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, decimal, exact, flag, moment, name, number, required, running, text, word
from gateway.vergeos.filters import eq

_RUNNING = "machine#status#running as running"
_LOAD = (
    "machine#stats#total_cpu as cpu_pct,machine#stats#ram_used as ram_used,"
    "machine#stats#ram_pct as ram_pct,machine#stats#core_temp as core_temp"
)
SAME_NAME_LIMIT = 20
_VM_TOTALS = "running_machines[sum(running_cores),sum(running_ram)] as vm_stats_totals"
NODE_LIST_FIELDS = (
    "$key,name,model,cores,ram,vm_ram,physical,maintenance,need_restart,restart_reason,vsan_connected,yb_version,"
    f"machine,cluster#name as cluster_name,{_RUNNING},machine#status#status as status,"
    f"machine#status#started as started,{_LOAD},{_VM_TOTALS}"
)
NODE_FIELDS = (
    f"{NODE_LIST_FIELDS},machine#stats#user_cpu as user_cpu,machine#stats#system_cpu as system_cpu,"
    "machine#stats#iowait_cpu as iowait_cpu"
)
NODE_ROOM_FIELDS = f"$key,name,vm_ram,maintenance,{_VM_TOTALS}"


async def list_nodes(client: VergeClient) -> list[NodeRow]:
    """Return every node with its load, by name; one request per 1,000 (VergeOS API notes 3.12)."""
    found: dict[NodeKey, NodeRow] = {}
    async for page in client.all_rows("nodes", fields=NODE_LIST_FIELDS, sort="+name"):
        found.update((row.id, row) for row in map(node_row, page))
    return list(found.values())


async def find_nodes(client: VergeClient, node_name: str) -> list[NodeRow]:
    """Return the nodes whose name is exactly `node_name`, of which there should be one; one request."""
    found = await client.rows("nodes", fields=NODE_LIST_FIELDS, filter=eq("name", node_name), limit=SAME_NAME_LIMIT)
    return [node_row(row) for row in found if exact(row, "name") == node_name]


async def get_node(client: VergeClient, node_key: NodeKey) -> Node:
    """Return one node with its load; one request (VergeOS API notes 3.3, 3.12). Raises VergeOSNotFound."""
    return node(await client.row("nodes", node_key, fields=NODE_FIELDS))


async def most_free_ram_mb(client: VergeClient, vm: VmLook) -> int | None:
    """Return the most RAM in MB that one node could give `vm` once it is off; None where VergeOS does not tell.

    One request. What the VM itself uses counts as free on its own node (VergeOS API notes 3.12).
    """
    found = await client.rows("nodes", fields=NODE_ROOM_FIELDS, filter=eq("physical", True))
    rooms = [room for room in (node_room(row, vm) for row in found) if room is not None]
    return max(rooms, default=None)


def node_row(row: Row) -> NodeRow:
    """Return the list row of a node; raises VergeOSBadAnswer if the row has no key."""
    return NodeRow(**_listed(row))


def node(row: Row) -> Node:
    """Return a node with what its CPU is used for; raises VergeOSBadAnswer if the row has no key."""
    return Node(
        **_listed(row),
        cpu_user_percent=_measured(row, "user_cpu"),
        cpu_system_percent=_measured(row, "system_cpu"),
        cpu_iowait_percent=_measured(row, "iowait_cpu"),
    )


def node_room(row: Row, vm: VmLook) -> int | None:
    """Return the RAM in MB that a node could give `vm` once it is off, None where VergeOS does not tell it."""
    usable, used = number(row, "vm_ram"), number(_totals(row), "running_ram")
    if usable is None or used is None or flag(row, "maintenance"):
        return None
    own = vm.ram_mb if vm.running and vm.node is not None and vm.node == name(row, "name") else 0
    return usable - used + own


def _totals(row: Row) -> Row:
    """Return what runs on a node in sum; it may be absent, an object or a one-item list (VergeOS API notes 3.12)."""
    totals = row.get("vm_stats_totals")
    if isinstance(totals, list) and totals:
        totals = totals[0]
    return totals if isinstance(totals, Mapping) else {}


def _measured(row: Row, field: str) -> float | None:
    """Return a figure of the present load; of a node that is off VergeOS may still tell what was last measured."""
    return None if running(row) is False else decimal(row, field)


def _listed(row: Row) -> dict[str, Any]:
    machine, totals, ram_used = number(row, "machine"), _totals(row), _measured(row, "ram_used")
    return {
        "id": NodeKey(required(row, "$key")),
        "name": name(row, "name") or "",
        "running": running(row),
        "status": word(row, "status") or "unknown",
        "maintenance": flag(row, "maintenance"),
        "need_restart": flag(row, "need_restart"),
        "cpu_used_percent": _measured(row, "cpu_pct"),
        "ram_used_percent": _measured(row, "ram_pct"),
        "vm_ram_mb": number(row, "vm_ram"),
        "vm_ram_used_mb": number(totals, "running_ram"),
        "vm_cores_used": number(totals, "running_cores"),
        "cpu_cores": number(row, "cores"),
        "ram_mb": number(row, "ram"),
        "ram_used_mb": None if ram_used is None else int(ram_used),
        "core_temp_celsius": _measured(row, "core_temp") or None,  # 0 means that there is no sensor
        "cluster": name(row, "cluster_name"),
        "restart_reason": text(row, "restart_reason"),
        "vsan_connected": flag(row, "vsan_connected", missing=True),
        "physical": flag(row, "physical", missing=True),
        "model": word(row, "model"),
        "version": word(row, "yb_version"),
        "started_at": moment(row, "started"),
        "machine_id": None if machine is None else MachineKey(machine),
    }
