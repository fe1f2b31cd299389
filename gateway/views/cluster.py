"""The views of nodes, clusters, storage tiers, NAS volumes and of the platform's own counts."""

from gateway.core.cluster import ClusterStatus, Counts, Node, NodeRow, Tier, Volume
from gateway.core.ids import NodeKey
from gateway.vergeos import clusters, nodes, storage
from gateway.vergeos.client import VergeClient
from gateway.views.declared import LIST_SECONDS, SINGLE_SECONDS, View
from gateway.views.inventory import Kind
from gateway.views.reads import Reads

PLATFORM_SECONDS = 60.0  # nodes, clusters and tiers change slowly


def _id(row: NodeRow | ClusterStatus) -> int:
    return row.id


def _name(row: NodeRow | ClusterStatus) -> str:
    return row.name


def _volume_id(row: Volume) -> str:
    return row.id


def _volume_name(row: Volume) -> str:
    return row.name


def _tier(row: Tier) -> int:
    return row.tier


def _tier_label(row: Tier) -> str:
    return row.description


def _tier_place(row: Tier) -> tuple[float]:
    return (row.tier,)


async def _counts(vergeos: VergeClient) -> tuple[Counts]:
    return (await clusters.get_counts(vergeos),)


NODES: View[NodeRow] = View("nodes", "nodes", NodeRow, nodes.list_nodes, _id, _name, PLATFORM_SECONDS)
CLUSTERS: View[ClusterStatus] = View(
    "clusters", "clusters", ClusterStatus, clusters.list_clusters, _id, _name, PLATFORM_SECONDS
)
TIERS: View[Tier] = View(
    "tiers", "tiers", Tier, storage.list_tiers, _tier, _tier_label, PLATFORM_SECONDS, place=_tier_place
)
VOLUMES: View[Volume] = View("volumes", "volumes", Volume, storage.list_volumes, _volume_id, _volume_name, LIST_SECONDS)
COUNTS: View[Counts] = View("counts", "counts", Counts, _counts, lambda _: 0, lambda _: "", LIST_SECONDS)


def node_view(node_key: NodeKey) -> View[Node]:
    """Return the view of one node with its load."""

    async def query(vergeos: VergeClient) -> tuple[Node]:
        return (await nodes.get_node(vergeos, node_key),)

    return View(f"node:{node_key}", "node", Node, query, _id, _name, SINGLE_SECONDS)


NODE_KIND: Kind[NodeRow] = Kind("node", NODES, node_view, nodes.find_nodes)


async def tier_fill(views: Reads) -> dict[int, float]:
    """Return how full each storage tier is, in percent by its number; without those of which VergeOS tells nothing.

    No request where the tiers are known, else two. Raises an UpstreamError.
    """
    tiers = (await views.rows(TIERS)).rows
    return {tier.tier: tier.used_percent for tier in tiers if tier.used_percent is not None}
