"""The shapes of tenants."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from gateway.core.ids import TenantKey


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class TenantRow(_Shape):
    """One tenant in a list. Its texts are cleaned; `started_at` is in Unix seconds."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "status", "state", "url", "ui_ip")

    id: TenantKey
    name: str
    running: bool | None
    status: str
    state: str
    url: str
    ui_ip: str
    network: str | None
    isolated: bool
    uuid: str
    description: str
    created_at: int | None
    started_at: int | None


class TenantNode(_Shape):
    """One virtual node of a tenant."""

    id: int
    name: str
    cpu_cores: int
    ram_mb: int
    running: bool | None
    status: str
    enabled: bool
    host_node: str | None


class TenantStorage(_Shape):
    """What a tenant has of one storage tier."""

    tier: int | None
    provisioned_gb: float | None
    used_gb: float | None
    allocated_gb: float | None
    used_percent: float | None


class Tenant(TenantRow):
    """One tenant with its nodes and its storage."""

    nodes: tuple[TenantNode, ...]
    storage: tuple[TenantStorage, ...]


class TenantState(_Shape):
    """The power state of one tenant, as the watcher sees it. `started_at` is in Unix seconds."""

    tenant: TenantKey
    running: bool
    status: str
    started_at: int | None


class TenantLook(_Shape):
    """What a job must know of a tenant before it acts; a tenant has no machine of its own."""

    key: int
    machine: None = None
    name: str
    uuid: str
    is_snapshot: bool
    running: bool
    status: str
    started_at: float | None
