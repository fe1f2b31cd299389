"""Tools about tenants."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading
from gateway.core.job import Ordered, Target
from gateway.core.tenant import Tenant, TenantRow
from gateway.core.tool import Effect, tool
from gateway.core.wishes import TenantAction
from gateway.tools.listing import holds, page
from gateway.tools.parameters import Limit, NamePart, Offset, TenantRef
from gateway.tools.submitting import submit
from gateway.views.inventory import resolve
from gateway.views.reads import Reads
from gateway.views.tenants import TENANT_KIND, TENANTS, WHOLE_TENANT_KIND, tenant_view


@tool("GET /tenants", permission=Permission.READ, effect=Effect.READ)
async def list_tenants(
    views: Reads,
    *,
    running: Annotated[bool | None, Field(description="only running (true) or stopped (false) tenants")] = None,
    name: NamePart = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[TenantRow]:
    """List tenants with state, URL and address."""
    view = await views.rows(TENANTS)
    rows = [row for row in view.rows if (running is None or bool(row.running) == running) and holds(name, row.name)]
    return page(rows, view, limit=limit, offset=offset)


@tool("GET /tenants/{id}", permission=Permission.READ, effect=Effect.READ)
async def get_tenant(views: Reads, *, id: TenantRef) -> Reading[Tenant]:
    """Show one tenant: state, addresses, its nodes, its storage per tier."""
    row = await resolve(views, WHOLE_TENANT_KIND, id)
    return await views.one(tenant_view(row.id))


@tool("POST /tenants/{id}/{action}", permission=Permission.ADMIN, effect=Effect.CHANGE)
async def tenant_action(
    call: Call,
    *,
    id: TenantRef,
    action: Literal["poweron", "poweroff", "reset"],
) -> Ordered:
    """Switch a tenant on or off, or reset it, with all that runs in it. Answers its job; follow it with get_job."""
    row = await resolve(call.views, TENANT_KIND, id)
    target = Target(kind="tenant", key=row.id, machine_key=None, name=row.name, uuid=row.uuid)
    return await submit(call, "tenant_action", target, TenantAction(action=action))


TOOLS = (list_tenants, get_tenant, tenant_action)
