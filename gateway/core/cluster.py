"""The shapes of nodes, clusters, storage tiers and NAS volumes, and of the platform's own counts."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.ids import MachineKey, NodeKey


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class NodeRow(_Shape):
    """One node in a list. Its texts are cleaned; the figures of its load are None while it is off."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "status", "maintenance", "cpu_used_percent", "ram_used_percent")

    id: NodeKey
    name: str
    running: bool | None
    status: str
    maintenance: bool
    need_restart: bool
    cpu_used_percent: float | None
    ram_used_percent: float | None
    vm_ram_mb: int | None = Field(description="RAM for VMs")
    vm_ram_used_mb: int | None = Field(description="RAM given to what runs on it")
    vm_cores_used: int | None
    cpu_cores: int | None
    ram_mb: int | None
    ram_used_mb: int | None
    core_temp_celsius: float | None
    cluster: str | None
    restart_reason: str
    vsan_connected: bool
    physical: bool
    model: str
    version: str
    started_at: int | None
    machine_id: MachineKey | None

    @property
    def trouble(self) -> tuple[str, ...]:
        """What a reader should know first about the node; empty where all is well."""
        signs = {
            self.status: self.running is False,
            "in maintenance": self.maintenance,
            "needs a restart": self.need_restart,
            "vSAN not connected": not self.vsan_connected,
        }
        return tuple(sign for sign, shows in signs.items() if shows)


class Node(NodeRow):
    """One node with what its CPU is used for."""

    cpu_user_percent: float | None
    cpu_system_percent: float | None
    cpu_iowait_percent: float | None


class NodeStats(_Shape):
    """The load of one node now; None where VergeOS does not tell it, as for a node that is off."""

    id: NodeKey
    name: str
    running: bool | None
    status: str
    cpu_cores: int | None
    cpu_used_percent: float | None
    cpu_user_percent: float | None
    cpu_system_percent: float | None
    cpu_iowait_percent: float | None
    ram_mb: int | None
    ram_used_mb: int | None
    ram_used_percent: float | None
    vm_ram_mb: int | None = Field(description="RAM for VMs")
    vm_ram_used_mb: int | None
    vm_cores_used: int | None
    core_temp_celsius: float | None


class ClusterStatus(_Shape):
    """One cluster with its totals; `used` is what was given to running machines, of what is online."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "status", "state", "nodes_online", "machines_running")

    id: int
    name: str
    status: str
    state: str
    enabled: bool
    nodes_total: int | None
    nodes_online: int | None
    machines_running: int | None
    cores_total: int | None
    cores_online: int | None
    cores_used: int | None
    ram_total_mb: int | None
    ram_online_mb: int | None
    ram_used_mb: int | None
    ram_used_percent: float | None


class ClusterTier(_Shape):
    """What one cluster has of a storage tier."""

    cluster: str | None
    status: str
    state: str
    capacity_gb: float | None
    used_gb: float | None
    used_percent: float | None
    redundant: bool
    encrypted: bool
    repairs: int | None
    bad_drives: int | None
    reads_per_second: int | None
    writes_per_second: int | None
    read_bytes_per_second: int | None
    write_bytes_per_second: int | None


class Tier(_Shape):
    """One storage tier of the whole system, and what each cluster has of it. `state` is the worst of theirs."""

    tier: int
    description: str
    state: str
    used_percent: float | None
    used_gb: float | None
    capacity_gb: float | None
    allocated_gb: float | None
    dedupe_ratio: float | None
    clusters: tuple[ClusterTier, ...]


class Volume(_Shape):
    """One NAS volume (no VM's drive and no storage tier); its id is a text."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "nas", "mount_status", "size_gb", "used_gb")

    id: str
    name: str
    nas: str | None = Field(description="the NAS that serves it")
    enabled: bool
    mount_status: str
    size_gb: float | None
    used_gb: float | None
    tier: int | None
    fs_type: str
    read_only: bool
    description: str


class StateCount(_Shape):
    """How many of a kind there are, and how many of them are in which state; None where VergeOS does not tell."""

    total: int | None
    online: int | None
    warning: int | None
    error: int | None


class Counts(_Shape):
    """The platform's own counts, whatever our key may see; snoozed alarms are not among them."""

    machines: StateCount
    networks: StateCount
    tenants: StateCount
    nodes: StateCount
    clusters: StateCount
    alarms: int | None
    alarms_warning: int | None
    alarms_error: int | None
