"""Tools about virtual networks."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading
from gateway.core.errors import CoreNetwork, InvalidArgument
from gateway.core.job import Ordered, Target
from gateway.core.network import Network, NetworkRow, is_guarded
from gateway.core.tool import Effect, tool
from gateway.core.wishes import NetworkAction
from gateway.tools.listing import holds, page
from gateway.tools.parameters import Limit, NamePart, NetworkRef, Offset
from gateway.tools.submitting import submit
from gateway.views.inventory import resolve
from gateway.views.networks import NETWORK_KIND, NETWORKS, network_view
from gateway.views.reads import Reads


@tool("GET /networks", permission=Permission.READ, effect=Effect.READ)
async def list_networks(
    views: Reads,
    *,
    type: Annotated[str | None, Field(max_length=32, description="e.g. internal, external, core, dmz")] = None,
    name: NamePart = None,
    enabled: bool | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[NetworkRow]:
    """List virtual networks with state, address range and pending rules."""
    view = await views.rows(NETWORKS)
    rows = [
        row
        for row in view.rows
        if (type is None or row.type == type.lower()) and enabled in (None, row.enabled) and holds(name, row.name)
    ]
    return page(rows, view, limit=limit, offset=offset)


@tool("GET /networks/{id}", permission=Permission.READ, effect=Effect.READ)
async def get_network(views: Reads, *, id: NetworkRef) -> Reading[Network]:
    """Show one network: state, addressing, DHCP, pending changes, traffic."""
    row = await resolve(views, NETWORK_KIND, id)
    return await views.one(network_view(row.id))


@tool(
    "POST /networks/{id}/{action}",
    permission=Permission.CHANGE,
    effect=Effect.CHANGE,
    escalates={"allow_core": Permission.ADMIN},
)
async def network_action(
    call: Call,
    *,
    id: NetworkRef,
    action: Annotated[
        Literal["poweron", "poweroff", "reset", "apply"],
        Field(description="apply = put pending firewall rules in force"),
    ],
    allow_core: Annotated[bool, Field(description="also for a core or dmz network, on which the system hangs")] = False,
) -> Ordered:
    """Switch a network on or off, reset it, or apply its rules. Answers its job; follow it with get_job.

    Off and reset cut off the VMs on it.
    """
    row = await resolve(call.views, NETWORK_KIND, id)
    if is_guarded(row.type) and not allow_core:
        kind = f"a {row.type} network" if row.type else "a network of unknown type"
        raise CoreNetwork(f"{row.name} is {kind}: the whole system may hang on it; nothing was done")
    if row.machine_id is None:
        raise InvalidArgument(f"network {row.name} has no machine", next_step="Look at the network in VergeOS.")
    target = Target(kind="network", key=row.id, machine_key=row.machine_id, name=row.name, uuid="")
    return await submit(call, "network_action", target, NetworkAction(action=action))


TOOLS = (list_networks, get_network, network_action)
