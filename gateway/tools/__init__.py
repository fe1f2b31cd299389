"""The declarations of all tools, one module per resource; from them every face derives."""

from gateway.core.tool import Catalog
from gateway.tools import (
    auditing,
    cluster,
    drives,
    guards,
    jobs,
    keys,
    me,
    monitoring,
    networks,
    offboarding,
    overview,
    snapshots,
    tenants,
    vms,
)
from gateway.tools.prompts import PROMPTS
from gateway.tools.resources import RESOURCES

CORE = (
    "list_vms",
    "get_vm",
    "power_on_vm",
    "power_off_vm",
    "reset_vm",
    "modify_vm",
    "get_vm_drives",
    "list_vm_snapshots",
    "create_vm_snapshot",
    "list_networks",
    "list_tenants",
    "list_nodes",
    "get_logs",
    "get_alarms",
    "find",
    "get_overview",
    "diagnose_vm",
    "get_job",
    "list_jobs",
    "cancel_job",
)
"""The small choice: what most conversations need, for models that do better with few tools."""

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
        *guards.TOOLS,
        *me.TOOLS,
        *keys.TOOLS,
        *offboarding.TOOLS,
        *auditing.TOOLS,
    ),
    core=CORE,
    resources=RESOURCES,
    prompts=PROMPTS,
)
