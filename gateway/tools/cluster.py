"""Tools about the platform itself: nodes, clusters, storage tiers and NAS volumes."""

from typing import Annotated

from pydantic import Field

from gateway.core.access import Permission
from gateway.core.answer import Page, Reading
from gateway.core.cluster import ClusterStatus, NodeRow, NodeStats, Tier, Volume
from gateway.core.tool import Effect, tool
from gateway.tools.listing import page
from gateway.tools.parameters import Limit, Offset, Ref
from gateway.views.cluster import CLUSTERS, NODE_KIND, NODES, TIERS, VOLUMES, node_view
from gateway.views.inventory import resolve
from gateway.views.reads import Reads

NodeRef = Annotated[Ref, Field(description="node id or exact name")]


@tool("GET /nodes", permission=Permission.READ, effect=Effect.READ)
async def list_nodes(views: Reads, *, limit: Limit = 50, offset: Offset = 0) -> Page[NodeRow]:
    """List the nodes (hosts): state, load, RAM given to VMs, maintenance, pending restart."""
    view = await views.rows(NODES)
    return page(view.rows, view, limit=limit, offset=offset)


@tool("GET /nodes/{id}/stats", permission=Permission.READ, effect=Effect.READ)
async def get_node_stats(views: Reads, *, id: NodeRef) -> Reading[NodeStats]:
    """Show one node's present CPU and RAM use and temperature, no older than 5 s."""
    row = await resolve(views, NODE_KIND, id)
    node = await views.one(node_view(row.id))
    stats = NodeStats.model_validate(node.value, from_attributes=True)
    return Reading(value=stats, as_of=node.as_of, source=node.source)


@tool("GET /cluster/status", permission=Permission.READ, effect=Effect.READ)
async def get_cluster_status(views: Reads) -> Page[ClusterStatus]:
    """Show whether the clusters are healthy, and how many nodes, cores and how much RAM are online and used."""
    view = await views.rows(CLUSTERS)
    return page(view.rows, view, limit=len(view.rows), offset=0)


@tool("GET /cluster/stats", permission=Permission.READ, effect=Effect.READ)
async def get_cluster_stats(views: Reads) -> Page[Tier]:
    """Show how full and how healthy each storage tier is, in the whole system and in each cluster."""
    view = await views.rows(TIERS)
    return page(view.rows, view, limit=len(view.rows), offset=0)


@tool("GET /volumes", permission=Permission.READ, effect=Effect.READ)
async def list_volumes(views: Reads, *, limit: Limit = 50, offset: Offset = 0) -> Page[Volume]:
    """List NAS volumes with size, use and mount state. VM drives are in get_vm_drives."""
    view = await views.rows(VOLUMES)
    return page(view.rows, view, limit=limit, offset=offset)


TOOLS = (list_nodes, get_node_stats, get_cluster_status, get_cluster_stats, list_volumes)
