"""Tools about the platform itself: nodes, clusters, storage tiers and NAS volumes."""

from typing import Annotated

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading
from gateway.core.cluster import ClusterStatus, NodeRow, NodeStats, Tier, Volume
from gateway.core.tool import Effect, tool
from gateway.tools.listing import page
from gateway.tools.parameters import Limit, Offset, Ref
from gateway.views.cluster import CLUSTERS, NODE_KIND, NODES, TIERS, VOLUMES, node_view
from gateway.views.inventory import resolve

NodeRef = Annotated[Ref, Field(description="node id or exact name")]


@tool("GET /nodes", permission=Permission.READ, effect=Effect.READ)
async def list_nodes(call: Call, *, limit: Limit = 50, offset: Offset = 0) -> Page[NodeRow]:
    """List the nodes (hosts): state, load, RAM given to VMs, maintenance, pending restart."""
    view = await call.services.views.rows(NODES)
    return page(view.rows, view, limit=limit, offset=offset)


@tool("GET /nodes/{id}/stats", permission=Permission.READ, effect=Effect.READ)
async def get_node_stats(call: Call, *, id: NodeRef) -> Reading[NodeStats]:
    """Show one node's present CPU and RAM use and temperature, no older than 5 s."""
    services = call.services
    row = await resolve(services.views, services.vergeos, NODE_KIND, id)
    node = await services.views.one(node_view(row.id))
    stats = NodeStats.model_validate(node.value, from_attributes=True)
    return Reading(value=stats, as_of=node.as_of, source=node.source)


@tool("GET /cluster/status", permission=Permission.READ, effect=Effect.READ)
async def get_cluster_status(call: Call) -> Page[ClusterStatus]:
    """Show whether the clusters are healthy, and how many nodes, cores and how much RAM are online and used."""
    view = await call.services.views.rows(CLUSTERS)
    return page(view.rows, view, limit=len(view.rows), offset=0)


@tool("GET /cluster/stats", permission=Permission.READ, effect=Effect.READ)
async def get_cluster_stats(call: Call) -> Page[Tier]:
    """Show how full and how healthy each storage tier is, in the whole system and in each cluster."""
    view = await call.services.views.rows(TIERS)
    return page(view.rows, view, limit=len(view.rows), offset=0)


@tool("GET /volumes", permission=Permission.READ, effect=Effect.READ)
async def list_volumes(call: Call, *, limit: Limit = 50, offset: Offset = 0) -> Page[Volume]:
    """List NAS volumes with size, use and mount state. VM drives are in get_vm_drives."""
    view = await call.services.views.rows(VOLUMES)
    return page(view.rows, view, limit=limit, offset=offset)


TOOLS = (list_nodes, get_node_stats, get_cluster_status, get_cluster_stats, list_volumes)
