"""The shapes of a VM's drives."""

import math
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

GB_BYTES: Final = 2**30  # VergeOS counts GiB and calls them GB
MB_BYTES: Final = 2**20
HOT_PLUGGABLE: Final = frozenset({"virtio-scsi", "virtio"})  # and of them disks only (VergeOS API notes 3.4)
SIZELESS_MEDIA: Final = frozenset(  # no disk of a size that somebody chose (VergeOS API notes 3.4)
    {"cdrom", "efidisk", "dir", "9p", "clone9p", "clonedir", "nonpersistent9p", "nonpersistentdir"}
)

DiskInterface = Literal[
    "virtio-scsi",
    "virtio",
    "ide",
    "ahci",
    "nvme",
    "virtio-scsi-dedicated",
    "lsi53c895a",
    "megasas",
    "megasas-gen2",
    "mptsas1068",
    "usb",
]
"""The interfaces that a new disk may have; VergeOS' others are for what is no disk (VergeOS API notes 3.4)."""


def gb_as_bytes(size_gb: float) -> int:
    """Return a size in bytes, rounded up to whole MB: VergeOS shall keep it as it is, since jobs read it back."""
    return math.ceil(size_gb * (GB_BYTES // MB_BYTES)) * MB_BYTES


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class DriveRow(_Shape):
    """One drive of a VM. Its texts are cleaned."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "size_gb", "used_gb", "interface", "tier")

    id: int
    name: str
    size_gb: float | None
    used_gb: float | None
    interface: str
    media: str
    tier: int | None
    status: str
    enabled: bool
    read_only: bool
    order: int = Field(0, description="drives are tried in this order at start")
    media_file: str | None = Field(None, description="image of a CD or an import")
    description: str = ""


class DriveLook(_Shape):
    """What a job must know of a drive, from one live request."""

    key: int
    name: str
    machine: int
    size_bytes: int | None
    interface: str
    media: str
    status: str
    description: str
