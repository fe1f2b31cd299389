"""What may be read by URI, each through a tool, as data beside the tools."""

from gateway.core.offer import Names, Resource

VM_NAMES = Names("list_vms", part="name")
NODE_NAMES = Names("list_nodes")
TENANT_NAMES = Names("list_tenants", part="name")
JOB_IDS = Names("list_jobs", member="id")

RESOURCES = (
    Resource(
        "vergeos://cluster/status",
        "cluster status",
        "The clusters: health and totals.",
        "get_cluster_status",
        follows=("clusters",),
    ),
    Resource(
        "vergeos://vms/list", "VMs", "The virtual machines, by name.", "list_vms", {"limit": 1000}, follows=("vms",)
    ),
    Resource(
        "vergeos://networks/list",
        "networks",
        "The virtual networks.",
        "list_networks",
        {"limit": 1000},
        follows=("networks",),
    ),
    Resource(
        "vergeos://alarms/active",
        "active alarms",
        "What is wrong now.",
        "get_alarms",
        {"limit": 1000},
        follows=("alarms",),
    ),
    Resource(
        "vergeos://vms/{id}",
        "VM",
        "One VM, by id or exact name.",
        "get_vm",
        completes={"id": VM_NAMES},
        follows=("vm:{id}",),
    ),
    Resource(
        "vergeos://jobs/{id}", "job", "How one job stands.", "get_job", completes={"id": JOB_IDS}, follows=("job:{id}",)
    ),
    Resource(
        "vergeos://nodes/{id}",
        "node",
        "The load of one node, by id or exact name.",
        "get_node_stats",
        completes={"id": NODE_NAMES},
        follows=("node:{id}",),
    ),
    Resource(
        "vergeos://tenants/{id}",
        "tenant",
        "One tenant with its nodes and storage, by id or exact name.",
        "get_tenant",
        completes={"id": TENANT_NAMES},
        follows=("tenant:{id}",),
    ),
)
