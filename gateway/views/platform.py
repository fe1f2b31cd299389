"""The platform as views show it that are held anyway: nothing is asked for it."""

from gateway.core.cluster import NodeRow
from gateway.telemetry.metrics import PlatformMetrics
from gateway.views.cluster import NODES, TIERS
from gateway.views.declared import VMS
from gateway.views.journal import ALARMS, active_alarms
from gateway.views.views import Views

HELD_SECONDS = 600.0  # what is older is not shown
GB = 1 << 30


async def show_platform(views: Views, metrics: PlatformMetrics) -> None:
    """Set the gauges of the platform from what this process or Redis knows; one that nobody reads has no value."""
    vms = await views.known(VMS, max_age=HELD_SECONDS)
    nodes = await views.known(NODES, max_age=HELD_SECONDS)
    tiers = await views.known(TIERS, max_age=HELD_SECONDS)
    alarms = await views.known(ALARMS, max_age=HELD_SECONDS)
    metrics.counted(metrics.vms, () if vms is None else ("running" if row.running else "off" for row in vms.rows))
    metrics.counted(metrics.nodes, () if nodes is None else map(_state, nodes.rows))
    metrics.counted(metrics.alarms, () if alarms is None else (row.level for row in active_alarms(alarms)))
    metrics.tier_used_bytes.clear()
    metrics.tier_capacity_bytes.clear()
    for tier in () if tiers is None else tiers.rows:
        if tier.used_gb is not None and tier.capacity_gb is not None:
            metrics.tier_used_bytes.labels(str(tier.tier)).set(tier.used_gb * GB)
            metrics.tier_capacity_bytes.labels(str(tier.tier)).set(tier.capacity_gb * GB)


def _state(node: NodeRow) -> str:
    if node.maintenance:
        return "maintenance"
    return "running" if node.running else "down"
