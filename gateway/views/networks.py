"""The views of networks, how callers name one, and what a job's look changes in them."""

from typing import Any

from gateway.core.ids import NetworkKey
from gateway.core.network import Network, NetworkLook, NetworkRow
from gateway.core.text import NAME_LIMIT, clean
from gateway.vergeos.client import VergeClient
from gateway.vergeos.networks import find_networks, get_network, list_networks
from gateway.views.declared import LIST_SECONDS, SINGLE_SECONDS, View
from gateway.views.inventory import Kind
from gateway.views.views import Views


def _id(row: NetworkRow) -> NetworkKey:
    return row.id


def _name(row: NetworkRow) -> str:
    return row.name


NETWORKS: View[NetworkRow] = View("networks", "networks", NetworkRow, list_networks, _id, _name, LIST_SECONDS)


def network_view(network_key: NetworkKey) -> View[Network]:
    """Return the view of one network with configuration and traffic."""

    async def query(vergeos: VergeClient) -> tuple[Network]:
        return (await get_network(vergeos, network_key),)

    return View(f"network:{network_key}", "network", Network, query, _id, _name, SINGLE_SECONDS, listed=NETWORKS)


NETWORK_KIND: Kind[NetworkRow] = Kind("network", NETWORKS, network_view, find_networks)


async def patch_network(views: Views, look: NetworkLook) -> dict[str, int]:
    """Let every process see what a job's live look saw; otherwise as `Views.patch`."""
    seen = {
        "name": clean(look.name, NAME_LIMIT),
        "type": look.type,
        "running": look.running,
        "status": look.status,
        "need_fw_apply": look.need_fw_apply,
        "machine_id": look.machine,
    }
    return await _patched(views, look.key, seen)


async def patch_network_power(views: Views, network_key: int, running: bool, status: str) -> dict[str, int]:
    """Let every process see a power state that the watcher saw; otherwise as `Views.patch`."""
    return await _patched(views, network_key, {"running": running, "status": status})


async def _patched(views: Views, network_key: int, members: dict[str, Any]) -> dict[str, int]:
    return await views.patch(NETWORKS, network_key, members, drop=[network_view(NetworkKey(network_key)).name])
