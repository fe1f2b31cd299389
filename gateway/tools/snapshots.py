"""Tools about VM snapshots."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page
from gateway.core.drive import SIZELESS_MEDIA
from gateway.core.errors import InvalidArgument, UnknownObject
from gateway.core.ids import MachineKey, VmKey
from gateway.core.job import Ordered, Target
from gateway.core.snapshot import SnapshotLook, SnapshotRow, StoredSnapshot
from gateway.core.text import NAME_LIMIT
from gateway.core.tool import Effect, tool
from gateway.core.vm import VmRow
from gateway.core.wishes import CreateSnapshot, DeleteSnapshot, RestoreSnapshot
from gateway.store.job_pages import Wanted, page_of_jobs
from gateway.tools.listing import page
from gateway.tools.parameters import Force, Grace, Limit, Offset, VmRef
from gateway.tools.submitting import resolve, submit, vm_target
from gateway.tools.vm_parts import (
    AllowTight,
    Description,
    Key,
    MaybeVmRef,
    machine_of,
    owner_target,
    require_room,
    some_tier_is_tight,
)
from gateway.vergeos.snapshots import look_snapshot
from gateway.views.rows import Rows
from gateway.views.vm_parts import SNAPSHOTS, by_machine, drives_view, snapshots_view

DAY_SECONDS = 86_400
MOST_DAYS = 36_500

SnapshotId = Annotated[Key, Field(description="from list_vm_snapshots")]


@tool("GET /snapshots", "GET /vms/{vm_id}/snapshots", permission=Permission.READ, effect=Effect.READ)
async def list_vm_snapshots(
    call: Call,
    *,
    vm_id: MaybeVmRef = None,
    never_expires: Annotated[bool | None, Field(description="only those kept for ever, or (false) not")] = None,
    older_than_days: Annotated[float | None, Field(ge=0, le=MOST_DAYS)] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[SnapshotRow]:
    """List the snapshots of one VM, or of all VMs, newest first. Use it to find old ones, or one to restore."""
    view, vms = await _snapshots(call, vm_id)
    before = None if older_than_days is None else await call.services.jobs.now() - older_than_days * DAY_SECONDS
    kept = [row for row in view.rows if _wanted(row, never_expires, before)]
    kept.sort(key=lambda row: (row.created_at or 0, row.id), reverse=True)
    found = page(kept, view, limit=limit, offset=offset)
    return Page(
        items=tuple(_with_vm(row, vms.get(row.machine)) for row in found.items),
        total=found.total,
        next=found.next,
        as_of=found.as_of,
        source=found.source,
    )


@tool("POST /vms/{vm_id}/snapshots", permission=Permission.OPERATE, effect=Effect.CHANGE)
async def create_vm_snapshot(
    call: Call,
    *,
    vm_id: VmRef,
    name: Annotated[str, Field(max_length=NAME_LIMIT, description="default: date and time")] = "",
    description: Description = "",
    expires_days: Annotated[int, Field(ge=0, le=MOST_DAYS, description="0 = never")] = 7,
    quiesce: Annotated[bool, Field(description="have the guest's agent flush its disks")] = False,
    allow_tight: AllowTight = False,
) -> Ordered:
    """Take a snapshot of a VM, e.g. before a risky change; it expires after 7 days unless told. Answers its job."""
    target = await vm_target(call, vm_id)
    if not allow_tight and await some_tier_is_tight(call):
        await require_room(call, await _tiers(call, target))
    wish = CreateSnapshot(name=name, description=description, expires_days=expires_days, quiesce=quiesce)
    return await submit(call, "create_vm_snapshot", target, wish)


@tool("DELETE /snapshots/{snapshot_id}", permission=Permission.ADMIN, effect=Effect.DESTROY)
async def delete_vm_snapshot(call: Call, *, snapshot_id: SnapshotId) -> Ordered:
    """Delete a VM snapshot for good; the VM itself stays as it is. Answers its job."""
    target = await _target_of(call, snapshot_id)
    wish = DeleteSnapshot(snapshot_key=snapshot_id)
    return await submit(call, "delete_vm_snapshot", target, wish)


@tool(
    "POST /vms/{vm_id}/snapshots/{snapshot_id}/restore",
    permission=Permission.ADMIN,
    effect=Effect.DESTROY,
    escalates={"force_after_timeout": Permission.FORCE},
)
async def restore_vm_snapshot(
    call: Call,
    *,
    vm_id: VmRef,
    snapshot_id: SnapshotId,
    shutdown_if_running: Annotated[bool, Field(description="stop a running VM for it; it runs again after")] = False,
    wait_timeout: Grace = 60,
    force_after_timeout: Force = False,
) -> Ordered:
    """Put a VM back to a snapshot; all later changes are lost. The VM must be off. Answers its job."""
    target = await vm_target(call, vm_id)
    snapshot = await _look(call, snapshot_id)
    if snapshot.machine != target.machine_key and await owner_target(call, snapshot.machine) is None:
        raise _unknown(snapshot_id)
    if snapshot.machine != target.machine_key:
        raise InvalidArgument(
            f"snapshot {snapshot_id} is not one of {target.name}",
            next_step=f"list_vm_snapshots with vm_id={target.key} shows those it has.",
        )
    wish = RestoreSnapshot(
        snapshot_key=snapshot_id,
        may_stop=shutdown_if_running,
        wait_seconds=wait_timeout,
        force=force_after_timeout,
    )
    return await submit(call, "restore_vm_snapshot", target, wish)


async def _snapshots(call: Call, vm_ref: int | str | None) -> tuple[Rows[StoredSnapshot], Mapping[MachineKey, VmRow]]:
    """Return the snapshots of one VM or of all, and the VMs of their machines."""
    views = call.views
    if vm_ref is not None:
        row = await resolve(call, vm_ref)
        machine = machine_of(row)
        return await views.rows(snapshots_view(row.id, machine)), {machine: row}
    view, vms = await asyncio.gather(views.rows(SNAPSHOTS), views.vms())
    return view, by_machine(vms)


def _wanted(row: StoredSnapshot, never_expires: bool | None, before: float | None) -> bool:
    if never_expires is not None and (row.expires_at is None) != never_expires:
        return False
    return before is None or (row.created_at is not None and row.created_at <= before)


def _with_vm(row: StoredSnapshot, vm: VmRow | None) -> SnapshotRow:
    """Return what callers see of a snapshot; one of a VM that nobody may see has none."""
    shown = row.model_dump(exclude={"machine", "vm", "vm_id"})
    return SnapshotRow(**shown) if vm is None else SnapshotRow(**shown, vm=vm.name, vm_id=vm.id)


async def _tiers(call: Call, target: Target) -> Collection[int]:
    """Return the storage tiers that a VM's disks are on."""
    machine = MachineKey(target.machine_key or 0)
    view = await call.views.rows(drives_view(VmKey(target.key), machine))
    return {row.tier for row in view.rows if row.tier is not None and row.media not in SIZELESS_MEDIA}


async def _target_of(call: Call, snapshot_key: int) -> Target:
    """Return the VM of a snapshot; of one that is gone, the VM of the job that deleted it.

    So a deletion whose answer was lost can be asked for once more; one of a VM that may not be seen is looked for like
    one that is gone. Raises UnknownObject.
    """
    snapshot = await look_snapshot(call.services.vergeos, snapshot_key)
    target = await owner_target(call, None if snapshot is None else snapshot.machine)
    if target is not None:
        return target
    wish = DeleteSnapshot(snapshot_key=snapshot_key)
    seen = await call.services.seen_jobs(call.caller)
    wanted = Wanted(keep=lambda job: job.wish == wish and (seen is None or seen(job)))
    found = await page_of_jobs(call.services.jobs, wanted, limit=1)
    if not found.jobs:
        raise _unknown(snapshot_key)
    return found.jobs[0].target


async def _look(call: Call, snapshot_key: int) -> SnapshotLook:
    snapshot = await look_snapshot(call.services.vergeos, snapshot_key)
    if snapshot is None:
        raise _unknown(snapshot_key)
    return snapshot


def _unknown(snapshot_key: int) -> UnknownObject:
    told = f"there is no snapshot {snapshot_key}; it may have expired"
    return UnknownObject(told, next_step="list_vm_snapshots shows those there are.")


TOOLS = (list_vm_snapshots, create_vm_snapshot, delete_vm_snapshot, restore_vm_snapshot)
