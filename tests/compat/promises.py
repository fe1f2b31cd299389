"""What the predecessor published: its tools with their parameters, its routes, its resources."""

from dataclasses import dataclass, field
from typing import Any

TIMES = (0, 1, 60, 300)
ANSWERS = (True, False)
KEYS = (1, 34, 4_000_000_000)
TEXTS = ("web", "data-disk", "")
NAMES = ("web", "data-disk")
LEVELS = ("audit", "message", "warning", "error", "critical", "summary", "debug")
OBJECT_TYPES = ("vm", "vnet", "tenant", "node", "cluster", "user", "system", "task")
INTERFACES = ("virtio-scsi", "virtio", "ide", "ahci")
POWER = ("poweron", "poweroff", "reset")


@dataclass(frozen=True)
class Promise:
    """One tool: what a caller had to give, and what he might give beside it; each with values that were taken."""

    name: str
    required: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    optional: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def least(self) -> dict[str, Any]:
        """The smallest call that was enough."""
        return {name: values[0] for name, values in self.required.items()}

    @property
    def most(self) -> dict[str, Any]:
        """The call with everything in it."""
        return {name: values[0] for name, values in (self.required | self.optional).items()}

    @property
    def parameters(self) -> dict[str, tuple[Any, ...]]:
        """Every parameter with the values that were taken."""
        return self.required | self.optional


ONE = {"id": KEYS}

TOOLS = (
    Promise("list_vms", {}, {"running": ANSWERS, "name": TEXTS}),
    Promise("get_vm", ONE),
    Promise("get_vm_status", ONE),
    Promise("power_on_vm", ONE),
    Promise("power_off_vm", ONE, {"wait_timeout": TIMES, "force_after_timeout": ANSWERS}),
    Promise("force_off_vm", ONE),
    Promise("reset_vm", ONE),
    Promise(
        "modify_vm",
        ONE,
        {
            "cpu_cores": (1, 4, 64),
            "ram_mb": (1024, 4096, 262_144),
            "shutdown_if_running": ANSWERS,
            "wait_timeout": TIMES,
            "force_after_timeout": ANSWERS,
        },
    ),
    Promise(
        "add_drive",
        {"machine_id": KEYS, "name": NAMES, "size_gb": (1, 50, 2048)},
        {"interface_type": INTERFACES, "description": TEXTS},
    ),
    Promise("resize_drive", {"drive_id": KEYS, "new_size_gb": (1, 50, 2048)}),
    Promise("get_vm_nics", ONE),
    Promise("get_vm_drives", ONE),
    Promise(
        "list_networks",
        {},
        {
            "type": ("internal", "external", "core", "dmz"),
            "name": TEXTS,
            "enabled": ANSWERS,
            "limit": (1, 100),
            "offset": (0, 100),
        },
    ),
    Promise("get_network", ONE),
    Promise("network_action", ONE | {"action": (*POWER, "apply")}),
    Promise("list_tenants"),
    Promise("get_tenant", ONE),
    Promise("tenant_action", ONE | {"action": POWER}),
    Promise("list_nodes"),
    Promise("get_node_stats", ONE),
    Promise("get_cluster_status"),
    Promise("get_cluster_stats"),
    Promise("list_volumes"),
    Promise("get_logs", {}, {"limit": (1, 20, 50, 500), "level": LEVELS, "object_type": OBJECT_TYPES}),
    Promise("get_alarms"),
    Promise("list_vm_snapshots", {"vm_id": KEYS}),
    Promise(
        "create_vm_snapshot",
        {"vm_id": KEYS, "name": NAMES},
        {"description": TEXTS, "expires_days": (0, 7, 30), "quiesce": ANSWERS},
    ),
    Promise("delete_vm_snapshot", {"snapshot_id": KEYS}),
    Promise("restore_vm_snapshot", {"vm_id": KEYS, "snapshot_id": KEYS}),
)

LISTS = {
    "/vms": "list_vms",
    "/networks": "list_networks",
    "/tenants": "list_tenants",
    "/nodes": "list_nodes",
    "/cluster/status": "get_cluster_status",
    "/alarms": "get_alarms",
    "/logs": "get_logs",
}
"""The routes that answer a JSON array, each with the tool that answers the same."""

RESOURCES = {
    "vergeos://cluster/status": "get_cluster_status",
    "vergeos://vms/list": "list_vms",
    "vergeos://networks/list": "list_networks",
    "vergeos://alarms/active": "get_alarms",
}
"""The resources, each with the tool that answers the same."""
