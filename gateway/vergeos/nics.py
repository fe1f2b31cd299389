"""The calls about the network interfaces of VMs, typed, and what a guest's agent tells of them, not to be trusted."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.core.ids import MachineKey
from gateway.core.nic import GuestNic, NicRow, VmNetwork
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, flag, name, number, required, word
from gateway.vergeos.filters import eq

LIST_FIELDS = (
    "$key,orderid,name,interface,enabled,macaddress,ipaddress,vnet,vnet#name as vnet_name,status#status as link,"
    "stats#rx_bytes as rx_bytes,stats#tx_bytes as tx_bytes"
)
LINK_FIELDS = "$key,machine,vnet#name as vnet_name"
GUEST_FIELDS = "machine,agent_guest_info"
ADDRESSES_A_NIC = 16  # a guest may claim any number
NICS_A_GUEST = 64


async def list_nics(client: VergeClient, machine_key: MachineKey) -> list[NicRow]:
    """Return the interfaces of one machine; one request. The table holds those of nodes and networks as well.

    VergeOS passes over `?machine=`, so a filter it is (VergeOS API notes 3.5, 6.1).
    """
    of_machine = eq("machine", machine_key)
    found = await client.rows("machine_nics", fields=LIST_FIELDS, filter=of_machine, sort="+orderid")
    return [nic_row(row) for row in found]


async def list_vm_networks(client: VergeClient) -> list[VmNetwork]:
    """Return which machines are on which networks; one request per 1,000 interfaces."""
    found: list[VmNetwork] = []
    async for page in client.all_rows("machine_nics", fields=LINK_FIELDS, sort="+$key"):
        for row in page:
            machine, network = number(row, "machine"), name(row, "vnet_name")
            if machine is not None and network is not None:
                found.append(VmNetwork(id=required(row, "$key"), machine=machine, network=network))
    return found


async def guest_nics(client: VergeClient, machine_key: MachineKey) -> list[GuestNic]:
    """Return what the agent in a machine's guest tells, none without an agent; one request (VergeOS API notes 3.2)."""
    found = await client.rows("machine_status", fields=GUEST_FIELDS, filter=eq("machine", machine_key), limit=1)
    return [nic for row in found for nic in guest_told(row)]


def nic_row(row: Row) -> NicRow:
    """Return the list row of an interface; raises VergeOSBadAnswer if the row has no key."""
    return NicRow(
        id=required(row, "$key"),
        name=name(row, "name") or "",
        interface=word(row, "interface"),
        enabled=flag(row, "enabled", missing=True),
        mac_address=_mac(row.get("macaddress")),
        ip_address=word(row, "ipaddress"),
        network=name(row, "vnet_name"),
        network_id=number(row, "vnet"),
        link=word(row, "link") or "unknown",
        rx_bytes=number(row, "rx_bytes"),
        tx_bytes=number(row, "tx_bytes"),
        order=number(row, "orderid") or 0,
    )


def guest_told(row: Row) -> list[GuestNic]:
    """Return the addresses of a `machine_status` row by MAC; what is no address is left out.

    Lists may come as maps, the whole as text (VergeOS API notes 3.2, 6.1). Addresses that only the guest
    itself or its own link knows say nothing to others, but for 169.254: there DHCP failed.
    """
    told: dict[str, dict[str, None]] = {}
    info = _decoded(row.get("agent_guest_info"))
    for nic in _items(info.get("network") if isinstance(info, Mapping) else None)[:NICS_A_GUEST]:
        mac = _mac(nic.get("hardware-address"))
        addresses = (_address(one.get("ip-address")) for one in _items(nic.get("ip-addresses")))
        if mac:
            told.setdefault(mac, {}).update((address, None) for address in addresses if address is not None)
    return [GuestNic(mac_address=mac, addresses=tuple(known)[:ADDRESSES_A_NIC]) for mac, known in told.items()]


def _decoded(told: Any) -> Any:
    if not isinstance(told, str):
        return told
    try:
        return orjson.loads(told)
    except orjson.JSONDecodeError:
        return None


def _items(told: Any) -> list[Row]:
    """Return the objects in a list, or in a map that stands for one."""
    found: Iterable[Any] = told.values() if isinstance(told, Mapping) else told if isinstance(told, list) else ()
    return [item for item in found if isinstance(item, Mapping)]


def _mac(told: Any) -> str:
    return word({"mac": told}, "mac").lower().replace("-", ":")


def _address(told: Any) -> str | None:
    try:
        address = ipaddress.ip_address(str(told).partition("%")[0])  # a zone is free text of the guest's
    except ValueError:
        return None
    hidden = address.is_loopback or address.is_unspecified or (address.version == 6 and address.is_link_local)
    return None if hidden else str(address)
