"""The declarations of all tools, one module per resource; from them every face derives."""

from gateway.core.tool import Catalog
from gateway.tools import cluster, drives, jobs, monitoring, networks, overview, snapshots, tenants, vms

CATALOG = Catalog(
    (
        *vms.TOOLS,
        *drives.TOOLS,
        *snapshots.TOOLS,
        *networks.TOOLS,
        *tenants.TOOLS,
        *cluster.TOOLS,
        *monitoring.TOOLS,
        *overview.TOOLS,
        *jobs.TOOLS,
    )
)
