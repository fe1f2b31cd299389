"""The shapes of virtual networks."""

from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.ids import MachineKey, NetworkKey

GUARDED_TYPES: Final = frozenset({"core", "dmz"})  # the platform itself hangs on these


def is_guarded(network_type: str) -> bool:
    """Tell whether a network of this type is switched only on purpose; so is one whose type is not known."""
    return network_type in GUARDED_TYPES or not network_type


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class NetworkRow(_Shape):
    """One network in a list. Its texts are cleaned."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "type", "status", "network", "need_fw_apply")

    id: NetworkKey
    name: str
    type: str
    enabled: bool
    running: bool | None
    status: str
    network: str
    ipaddress: str
    gateway: str
    dhcp_enabled: bool
    layer2_type: str
    layer2_id: int | None
    need_fw_apply: bool
    need_restart: bool
    machine_id: MachineKey | None


class Network(NetworkRow):
    """One network with its configuration and its traffic since start."""

    description: str
    dns: str
    domain: str
    dhcp_start: str
    dhcp_stop: str
    mtu: int | None
    interface_network: int | None
    need_dns_apply: bool
    on_power_loss: str
    rate_limit: int | None = Field(description="In the unit that is set on the network; null where there is no limit.")
    monitor_gateway: bool
    rx_bytes: int | None
    tx_bytes: int | None


class NetworkLook(_Shape):
    """What a job must know of a network before it acts; a network has no uuid, so that is empty."""

    key: int
    machine: int | None
    name: str
    uuid: str = ""
    type: str
    running: bool
    status: str
    started_at: float | None
    need_fw_apply: bool
