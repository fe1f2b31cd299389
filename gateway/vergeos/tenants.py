"""The calls about tenants, typed, and the conversion of their rows (VergeOS API notes 3.11, 4.11)."""

from collections.abc import Collection, Mapping
from typing import Any

from gateway.core.drive import GB_BYTES
from gateway.core.errors import VergeOSBadAnswer, VergeOSNotFound
from gateway.core.ids import TenantKey
from gateway.core.tenant import Tenant, TenantLook, TenantNode, TenantRow, TenantState, TenantStorage
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, decimal, exact, flag, moment, name, number, required, running, text, word
from gateway.vergeos.filters import all_of, any_of, eq
from gateway.vergeos.together import together

SAME_NAME_LIMIT = 20
TENANTS_A_REQUEST = 200
_NOT_SNAPSHOTS = eq("is_snapshot", False)

_POWER = "status#running as running,status#status as status"
_STARTED = "status#started as started"
ROW_FIELDS = (
    f"$key,name,description,url,uuid,isolate,created,is_snapshot,{_POWER},status#state as state,{_STARTED},"
    "ui_address#ip as ui_ip,vnet#name as network_name"
)
LOOK_FIELDS = f"$key,name,uuid,is_snapshot,{_POWER},{_STARTED}"
STATE_FIELDS = "tenant,running,status,started"
NODE_FIELDS = (
    "$key,name,nodeid,cpu_cores,ram,enabled,machine#status#running as running,machine#status#status as status,"
    "machine#status#node#$display as host_node"
)
STORAGE_FIELDS = "$key,tier#tier as tier_number,provisioned,used,allocated,used_pct"


async def list_tenants(client: VergeClient) -> list[TenantRow]:
    """Return every tenant but their snapshots, by name; one request per 1,000."""
    found: dict[TenantKey, TenantRow] = {}
    async for page in client.all_rows("tenants", fields=ROW_FIELDS, filter=_NOT_SNAPSHOTS, sort="+name"):
        found.update((row.id, row) for row in map(tenant_row, page))
    return list(found.values())


async def find_tenants(client: VergeClient, tenant_name: str) -> list[TenantRow]:
    """Return the tenants whose name is exactly `tenant_name`, at most 20 and mostly one; one request."""
    named = all_of(_NOT_SNAPSHOTS, eq("name", tenant_name))
    found = await client.rows("tenants", fields=ROW_FIELDS, filter=named, limit=SAME_NAME_LIMIT)
    return [tenant_row(row) for row in found if exact(row, "name") == tenant_name]


async def get_tenant_row(client: VergeClient, tenant_key: TenantKey) -> TenantRow:
    """Return one tenant as lists show it; one request. Raises VergeOSNotFound, also for a tenant's snapshot."""
    return tenant_row(await _row(client, tenant_key))


async def get_tenant(client: VergeClient, tenant_key: TenantKey) -> Tenant:
    """Return one tenant with its nodes and storage; three requests at once.

    Raises VergeOSNotFound, also for a tenant's snapshot.
    """
    of_tenant = eq("tenant", tenant_key)
    if client.governor.health.open_since is not None:
        await _row(client, tenant_key)  # alone: only one request may try, and the others' refusal would cut it off
    async with together() as group:
        row = group.create_task(_row(client, tenant_key))
        nodes = group.create_task(client.rows("tenant_nodes", fields=NODE_FIELDS, filter=of_tenant, sort="+nodeid"))
        storage = group.create_task(client.rows("tenant_storage", fields=STORAGE_FIELDS, filter=of_tenant))
    return tenant(row.result(), nodes.result(), storage.result())


async def look(client: VergeClient, tenant_key: TenantKey) -> TenantLook:
    """Return what a job must know before it acts; one live request.

    Raises VergeOSNotFound, and VergeOSBadAnswer where VergeOS does not tell the power state.
    """
    return tenant_look(await client.row("tenants", tenant_key, fields=LOOK_FIELDS))


async def tenant_action(
    client: VergeClient, tenant_key: TenantKey, action: str, params: Mapping[str, Any] | None = None
) -> None:
    """Ask VergeOS to do `action` with a tenant; its acceptance says nothing of the outcome."""
    await client.action("tenant_actions", {"tenant": tenant_key, "action": action, "params": dict(params or {})})


async def tenant_states(client: VergeClient, tenant_keys: Collection[TenantKey]) -> dict[TenantKey, TenantState]:
    """Return the power state of each tenant that VergeOS tells one of; one request per 200 tenants."""
    tenants = set(tenant_keys)
    wanted = sorted(tenants)
    states: dict[TenantKey, TenantState] = {}
    for start in range(0, len(wanted), TENANTS_A_REQUEST):
        part = any_of(*(eq("tenant", key) for key in wanted[start : start + TENANTS_A_REQUEST]))
        found = await client.rows("tenant_status", fields=STATE_FIELDS, filter=part)
        known = [state for state in map(tenant_state, found) if state is not None]
        states.update((state.tenant, state) for state in known if state.tenant in tenants)
    return states


def tenant_row(row: Row) -> TenantRow:
    """Return the list row of a tenant; raises VergeOSBadAnswer if the row has no key."""
    return TenantRow(**_listed(row))


def tenant(row: Row, nodes: list[dict[str, Any]], storage: list[dict[str, Any]]) -> Tenant:
    """Return a tenant with its nodes and storage; raises VergeOSBadAnswer if a row has no key."""
    tiers = sorted(map(tenant_storage, storage), key=lambda of: (of.tier is None, of.tier))
    return Tenant(**_listed(row), nodes=tuple(map(tenant_node, nodes)), storage=tuple(tiers))


def tenant_node(row: Row) -> TenantNode:
    """Return a virtual node of a tenant; raises VergeOSBadAnswer if the row has no key."""
    return TenantNode(
        id=required(row, "$key"),
        name=name(row, "name") or "",
        cpu_cores=number(row, "cpu_cores") or 0,
        ram_mb=number(row, "ram") or 0,
        running=running(row),
        status=word(row, "status") or "unknown",
        enabled=flag(row, "enabled", missing=True),
        host_node=name(row, "host_node"),
    )


def tenant_storage(row: Row) -> TenantStorage:
    """Return what a tenant has of one tier, bytes turned into GB."""
    return TenantStorage(
        tier=number(row, "tier_number"),
        provisioned_gb=_gb(row, "provisioned"),
        used_gb=_gb(row, "used"),
        allocated_gb=_gb(row, "allocated"),
        used_percent=decimal(row, "used_pct"),
    )


def tenant_state(row: Row) -> TenantState | None:
    """Return the power state of a tenant, or None where VergeOS tells no tenant or no state."""
    key, runs = number(row, "tenant"), running(row)
    if key is None or runs is None:
        return None
    status = word(row, "status") or "unknown"
    return TenantState(tenant=TenantKey(key), running=runs, status=status, started_at=moment(row, "started"))


def tenant_look(row: Row) -> TenantLook:
    """Return what a job's decision needs; raises VergeOSBadAnswer if key or power state is missing.

    A missing power state taken for "off" would end a power-off that never happened.
    """
    runs = running(row)
    if runs is None:
        raise VergeOSBadAnswer(f"VergeOS does not tell the power state of tenant {required(row, '$key')}")
    return TenantLook(
        key=required(row, "$key"),
        name=exact(row, "name"),
        uuid=word(row, "uuid"),
        is_snapshot=flag(row, "is_snapshot"),
        running=runs,
        status=word(row, "status") or "unknown",
        started_at=moment(row, "started"),
    )


async def _row(client: VergeClient, tenant_key: TenantKey) -> Row:
    row = await client.row("tenants", tenant_key, fields=ROW_FIELDS)
    if flag(row, "is_snapshot"):
        raise VergeOSNotFound(f"GET tenants/{tenant_key}: that is a snapshot of a tenant")
    return row


def _listed(row: Row) -> dict[str, Any]:
    return {
        "id": TenantKey(required(row, "$key")),
        "name": name(row, "name") or "",
        "running": running(row),
        "status": word(row, "status") or "unknown",
        "state": word(row, "state"),
        "url": word(row, "url"),
        "ui_ip": word(row, "ui_ip"),
        "network": name(row, "network_name"),
        "isolated": flag(row, "isolate"),
        "uuid": word(row, "uuid"),
        "description": text(row, "description"),
        "created_at": moment(row, "created"),
        "started_at": moment(row, "started"),
    }


def _gb(row: Row, field: str) -> float | None:
    size_bytes = number(row, field)
    return None if size_bytes is None else round(size_bytes / GB_BYTES, 2)
