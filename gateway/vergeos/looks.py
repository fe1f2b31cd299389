"""One live look at the object of a job, whatever kind it is."""

from gateway.core.ids import NetworkKey, TenantKey, VmKey
from gateway.core.job import Live, Target
from gateway.vergeos import networks, tenants, vms
from gateway.vergeos.client import VergeClient


async def live(client: VergeClient, target: Target) -> Live:
    """Return the object as VergeOS has it now; one request. Raises VergeOSNotFound and every UpstreamError."""
    match target.kind:
        case "vm":
            return await vms.look(client, VmKey(target.key))
        case "network":
            return await networks.look(client, NetworkKey(target.key))
        case "tenant":
            return await tenants.look(client, TenantKey(target.key))
