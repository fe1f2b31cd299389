"""The shapes of a VM's snapshots."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.ids import MachineKey, VmKey


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class SnapshotRow(_Shape):
    """One VM snapshot. Times are Unix seconds; no `expires_at` means that it is kept for ever."""

    columns: ClassVar[tuple[str, ...]] = ("id", "name", "vm", "created_at", "expires_at", "quiesced")

    id: int
    name: str
    vm: str | None = Field(None, description="name of its VM")
    vm_id: VmKey | None = None
    created_at: int | None
    expires_at: int | None = Field(description="absent: never")
    quiesced: bool
    by_hand: bool
    description: str = ""


class StoredSnapshot(SnapshotRow):
    """One VM snapshot as a view keeps it: VergeOS tells the machine, not yet whose it is."""

    machine: MachineKey


class SnapshotLook(_Shape):
    """What a job must know of a VM snapshot, from live requests.

    `machine` is the machine it was taken of, `vm_key` the snapshot's own VM row where that was looked up: only
    through it a restore reaches the right VM (VergeOS API notes 4.8); `copy_machine` is the machine of that row.
    """

    key: int
    name: str
    machine: int
    created_at: int | None
    expires_at: int | None
    quiesced: bool
    deleting: bool
    description: str
    vm_key: int | None = None
    copy_machine: int | None = None
