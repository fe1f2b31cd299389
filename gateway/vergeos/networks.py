"""The calls about virtual networks, typed, and the conversion of their rows (VergeOS API notes 3.10, 4.12)."""

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import VergeOSBadAnswer
from gateway.core.ids import MachineKey, NetworkKey
from gateway.core.network import Network, NetworkLook, NetworkRow
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, exact, flag, moment, name, number, required, running, text, word
from gateway.vergeos.filters import eq

SAME_NAME_LIMIT = 20

_POWER = "machine#status#running as running,machine#status#status as status"  # the table's own `powerstate` is stale
LIST_FIELDS = (
    "$key,name,type,enabled,network,ipaddress,gateway,dhcp_enabled,layer2_type,layer2_id,need_fw_apply,need_restart,"
    f"machine,{_POWER}"
)
FIELDS = (
    f"{LIST_FIELDS},description,dns,domain,dhcp_start,dhcp_stop,mtu,interface_vnet,need_dns_apply,on_power_loss,"
    "rate_limit,monitor_gateway,nic#stats#rx_bytes as rx_bytes,nic#stats#tx_bytes as tx_bytes"
)
LOOK_FIELDS = f"$key,name,type,need_fw_apply,machine,{_POWER},machine#status#started as started"


async def list_networks(client: VergeClient) -> list[NetworkRow]:
    """Return every network, by name; one request per 1,000."""
    found: dict[NetworkKey, NetworkRow] = {}
    async for page in client.all_rows("vnets", fields=LIST_FIELDS, sort="+name"):
        found.update((row.id, row) for row in map(network_row, page))
    return list(found.values())


async def find_networks(client: VergeClient, network_name: str) -> list[NetworkRow]:
    """Return the networks whose name is exactly `network_name`, at most 20 and mostly one; one request."""
    named = eq("name", network_name)
    found = await client.rows("vnets", fields=LIST_FIELDS, filter=named, limit=SAME_NAME_LIMIT)
    return [network_row(row) for row in found if exact(row, "name") == network_name]


async def get_network(client: VergeClient, network_key: NetworkKey) -> Network:
    """Return one network with configuration and traffic; one request. Raises VergeOSNotFound."""
    return network(await client.row("vnets", network_key, fields=FIELDS))


async def look(client: VergeClient, network_key: NetworkKey) -> NetworkLook:
    """Return what a job must know before it acts; one live request.

    Raises VergeOSNotFound, and VergeOSBadAnswer where VergeOS does not tell the power state.
    """
    return network_look(await client.row("vnets", network_key, fields=LOOK_FIELDS))


async def vnet_action(
    client: VergeClient, network_key: NetworkKey, action: str, params: Mapping[str, Any] | None = None
) -> None:
    """Ask VergeOS to do `action` with a network; its acceptance says nothing of the outcome.

    `refresh` applies pending firewall rules and is refused while the network is off.
    """
    await client.action("vnet_actions", {"vnet": network_key, "action": action, "params": dict(params or {})})


async def machines_on(client: VergeClient, network_key: NetworkKey) -> set[MachineKey]:
    """Return the machines that have a NIC on a network; one request per 1,000 NICs (VergeOS API notes 3.5).

    They are those of VMs, tenants' nodes and other networks alike: match them with the list of VMs.
    """
    machines: set[MachineKey] = set()
    on_network = eq("vnet", network_key)
    async for page in client.all_rows("machine_nics", fields="machine", filter=on_network, sort="+machine"):
        machines.update(MachineKey(key) for key in (number(row, "machine") for row in page) if key is not None)
    return machines


def network_row(row: Row) -> NetworkRow:
    """Return the list row of a network; raises VergeOSBadAnswer if the row has no key."""
    return NetworkRow(**_listed(row))


def network(row: Row) -> Network:
    """Return a network with configuration and traffic; raises VergeOSBadAnswer if the row has no key."""
    return Network(
        **_listed(row),
        description=text(row, "description"),
        dns=word(row, "dns"),
        domain=word(row, "domain"),
        dhcp_start=word(row, "dhcp_start"),
        dhcp_stop=word(row, "dhcp_stop"),
        mtu=number(row, "mtu"),
        interface_network=number(row, "interface_vnet"),
        need_dns_apply=flag(row, "need_dns_apply"),
        on_power_loss=word(row, "on_power_loss"),
        rate_limit=number(row, "rate_limit") or None,  # 0 is no limit
        monitor_gateway=flag(row, "monitor_gateway"),
        rx_bytes=number(row, "rx_bytes"),
        tx_bytes=number(row, "tx_bytes"),
    )


def network_look(row: Row) -> NetworkLook:
    """Return what a job's decision needs; raises VergeOSBadAnswer if key or power state is missing.

    A missing power state taken for "off" would end a power-off that never happened.
    """
    runs = running(row)
    if runs is None:
        raise VergeOSBadAnswer(f"VergeOS does not tell the power state of network {required(row, '$key')}")
    return NetworkLook(
        key=required(row, "$key"),
        machine=number(row, "machine"),
        name=exact(row, "name"),
        type=word(row, "type"),
        running=runs,
        status=word(row, "status") or "unknown",
        started_at=moment(row, "started"),
        need_fw_apply=flag(row, "need_fw_apply"),
    )


def _listed(row: Row) -> dict[str, Any]:
    machine = number(row, "machine")
    return {
        "id": NetworkKey(required(row, "$key")),
        "name": name(row, "name") or "",
        "type": word(row, "type"),
        "enabled": flag(row, "enabled", missing=True),
        "running": running(row),
        "status": word(row, "status") or "unknown",
        "network": word(row, "network"),
        "ipaddress": word(row, "ipaddress"),
        "gateway": word(row, "gateway"),
        "dhcp_enabled": flag(row, "dhcp_enabled"),
        "layer2_type": word(row, "layer2_type"),
        "layer2_id": number(row, "layer2_id"),
        "need_fw_apply": flag(row, "need_fw_apply"),
        "need_restart": flag(row, "need_restart"),
        "machine_id": None if machine is None else MachineKey(machine),
    }
