"""What a job saw or changed, laid over the views so that whoever reads next sees it too."""

from gateway.core.ids import VmKey
from gateway.core.job import Job, Target
from gateway.core.step import Seen
from gateway.views.declared import VMS
from gateway.views.networks import patch_network, patch_network_power
from gateway.views.tenants import patch_tenant, patch_tenant_power
from gateway.views.views import Views
from gateway.views.vm_parts import changed_by_jobs

PART_ACTIONS = frozenset(
    {"create_drive", "resize_drive", "hotplugdrive", "create_snapshot", "delete_snapshot", "restore"}
)


async def patch_seen(views: Views, target: Target, seen: Seen) -> dict[str, int]:
    """Let every process see what a job saw of its object; return the changed views with their generations.

    Raises StoreError.
    """
    if seen.vm is not None:
        return await views.patch_vm(seen.vm)
    if seen.network is not None:
        return await patch_network(views, seen.network)
    if seen.tenant is not None:
        return await patch_tenant(views, seen.tenant)
    return await POWER[target.kind](views, target.key, seen.running, seen.status)


async def _vm_power(views: Views, vm_key: int, running: bool, status: str) -> dict[str, int]:
    return await views.patch_power(vm_key, running, status)


POWER = {"vm": _vm_power, "network": patch_network_power, "tenant": patch_tenant_power}


async def drop_changed(views: Views, job: Job) -> dict[str, int]:
    """Let the views of a VM's drives and snapshots be read anew after a job that changed them; otherwise the same."""
    if not any(act.action in PART_ACTIONS for act in job.acts):
        return {}
    return await views.patch(VMS, job.target.key, {}, drop=changed_by_jobs(VmKey(job.target.key)))
