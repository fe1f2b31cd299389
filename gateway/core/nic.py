"""The shapes of a VM's network interfaces."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class NicRow(_Shape):
    """One network interface of a VM. Its texts are cleaned; bytes are counted since its start."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "mac_address", "ip_address", "network", "guest_addresses")

    id: int
    name: str
    interface: str
    enabled: bool
    mac_address: str
    ip_address: str = Field(description="as configured in VergeOS; may be empty")
    network: str | None
    network_id: int | None
    link: str
    rx_bytes: int | None
    tx_bytes: int | None
    order: int = 0
    guest_addresses: tuple[str, ...] | None = Field(None, description="told by the guest's agent")


class VmNetwork(_Shape):
    """That a machine, mostly a VM's, has an interface in a network, by name."""

    id: int
    machine: int
    network: str


class GuestNic(_Shape):
    """What the agent inside a guest tells of the interfaces of one MAC address."""

    mac_address: str
    addresses: tuple[str, ...]
