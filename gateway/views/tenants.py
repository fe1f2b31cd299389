"""The views of tenants, how callers name one, and what a job's look changes in them."""

from typing import Any

from gateway.core.ids import TenantKey
from gateway.core.tenant import Tenant, TenantLook, TenantRow
from gateway.core.text import NAME_LIMIT, clean
from gateway.vergeos.client import VergeClient
from gateway.vergeos.tenants import find_tenants, get_tenant, get_tenant_row, list_tenants
from gateway.views.declared import LIST_SECONDS, SINGLE_SECONDS, View
from gateway.views.inventory import Kind
from gateway.views.views import Views


def _id(row: TenantRow) -> TenantKey:
    return row.id


def _name(row: TenantRow) -> str:
    return row.name


TENANTS: View[TenantRow] = View("tenants", "tenants", TenantRow, list_tenants, _id, _name, LIST_SECONDS)


def tenant_row_view(tenant_key: TenantKey) -> View[TenantRow]:
    """Return the view of one tenant as lists show it: a third of the requests of `tenant_view`."""

    async def query(vergeos: VergeClient) -> tuple[TenantRow]:
        return (await get_tenant_row(vergeos, tenant_key),)

    return View(f"tenant-row:{tenant_key}", "tenant", TenantRow, query, _id, _name, SINGLE_SECONDS, listed=TENANTS)


def tenant_view(tenant_key: TenantKey) -> View[Tenant]:
    """Return the view of one tenant with its nodes and storage."""

    async def query(vergeos: VergeClient) -> tuple[Tenant]:
        return (await get_tenant(vergeos, tenant_key),)

    return View(f"tenant:{tenant_key}", "tenant", Tenant, query, _id, _name, SINGLE_SECONDS, listed=TENANTS)


TENANT_KIND: Kind[TenantRow] = Kind("tenant", TENANTS, tenant_row_view, find_tenants)
WHOLE_TENANT_KIND: Kind[TenantRow] = Kind("tenant", TENANTS, tenant_view, find_tenants)  # for who reads that next


async def patch_tenant(views: Views, look: TenantLook) -> dict[str, int]:
    """Let every process see what a job's live look saw; otherwise as `Views.patch`."""
    seen = {
        "name": clean(look.name, NAME_LIMIT),
        "uuid": look.uuid,
        "running": look.running,
        "status": look.status,
        "started_at": None if look.started_at is None else int(look.started_at),
    }
    return await _patched(views, look.key, seen)


async def patch_tenant_power(views: Views, tenant_key: int, running: bool, status: str) -> dict[str, int]:
    """Let every process see a power state that the watcher saw; otherwise as `Views.patch`."""
    return await _patched(views, tenant_key, {"running": running, "status": status})


async def _patched(views: Views, tenant_key: int, members: dict[str, Any]) -> dict[str, int]:
    key = TenantKey(tenant_key)
    return await views.patch(
        TENANTS, key, members, drop=[declare(key).name for declare in (tenant_row_view, tenant_view)]
    )
