"""What a job saw or changed, laid over the views so that whoever reads next sees it too."""

from gateway.core.job import Seen, Target
from gateway.views.views import Views


async def patch_seen(views: Views, target: Target, seen: Seen) -> dict[str, int]:
    """Let every process see what a job saw of its object; return the changed views with their generations.

    Raises StoreError.
    """
    if seen.vm is not None:
        return await views.patch_vm(seen.vm)
    if target.kind == "vm":
        return await views.patch_power(target.key, seen.running, seen.status)
    return {}
