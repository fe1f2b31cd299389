"""The shapes of a VM's drives."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

GB_BYTES: Final = 2**30  # VergeOS counts GiB and calls them GB
HOT_PLUGGABLE: Final = frozenset({"virtio-scsi", "virtio"})  # and of them disks only (VergeOS API notes 3.4)


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class DriveRow(_Shape):
    """One drive of a VM. Its texts are cleaned."""

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
