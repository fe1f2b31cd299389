"""Tools about the drives and network interfaces of VMs."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page
from gateway.core.drive import GB_BYTES, SIZELESS_MEDIA, DiskInterface, DriveLook, DriveRow, gb_as_bytes
from gateway.core.errors import InvalidArgument, UnknownObject
from gateway.core.job import Ordered, Target
from gateway.core.nic import GuestNic, NicRow
from gateway.core.text import NAME_LIMIT
from gateway.core.tool import Effect, tool
from gateway.core.wishes import AddDrive, ResizeDrive
from gateway.tools.listing import page
from gateway.tools.parameters import VmRef
from gateway.tools.submitting import submit, vm_target
from gateway.tools.vm_parts import (
    AllowTight,
    Description,
    Key,
    MaybeVmRef,
    machine_of,
    owner_target,
    require_room,
    tiers_to_check,
)
from gateway.vergeos.drives import look_drive
from gateway.views.inventory import resolve_vm
from gateway.views.reads import Reads
from gateway.views.vm_parts import drives_view, guest_view, nics_view

MOST_GB = 1_048_576  # 1 PiB: more is a slip

SizeGb = Annotated[float, Field(ge=1, le=MOST_GB, description="GB of 2^30 bytes")]
Named = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]


@tool("GET /vms/{id}/drives", permission=Permission.READ, effect=Effect.READ)
async def get_vm_drives(views: Reads, *, id: VmRef) -> Page[DriveRow]:
    """List a VM's drives in boot order: size, use, interface, storage tier, state; with the ids for resize_drive."""
    row = await resolve_vm(views, id)
    view = await views.rows(drives_view(row.id, machine_of(row)))
    return page(view.rows, view, limit=max(len(view.rows), 1), offset=0)


@tool("GET /vms/{id}/nics", permission=Permission.READ, effect=Effect.READ)
async def get_vm_nics(
    views: Reads,
    *,
    id: VmRef,
    guest_addresses: Annotated[bool, Field(description="ask the guest's agent as well")] = True,
) -> Page[NicRow]:
    """List a VM's network interfaces: MAC, network, link, traffic, and the addresses its guest tells."""
    row = await resolve_vm(views, id)
    machine = machine_of(row)
    nics = views.rows(nics_view(row.id, machine))
    if not guest_addresses or row.running is False:
        view = await nics
        found = view.rows
    else:
        view, guest = await asyncio.gather(nics, views.rows(guest_view(row.id, machine)))
        found = tuple(_with_addresses(view.rows, guest.rows))
    return page(found, view, limit=max(len(found), 1), offset=0)


@tool("POST /vms/{id}/drives", permission=Permission.CHANGE, effect=Effect.CHANGE)
async def add_drive(
    call: Call,
    *,
    name: Named,
    size_gb: SizeGb,
    id: MaybeVmRef = None,
    machine_id: Annotated[Key | None, Field(description="in place of id")] = None,
    interface_type: DiskInterface = "virtio-scsi",
    description: Description = "",
    tier: Annotated[int | None, Field(ge=1, le=5, description="storage tier")] = None,
    allow_tight: AllowTight = False,
) -> Ordered:
    """Add a disk to a VM, attached at once to a running one where it can be. Answers its job."""
    if (id is None) == (machine_id is None):
        raise InvalidArgument("add_drive: give either id or machine_id", next_step="Name the VM by its id or name.")
    target = await vm_target(call, id) if id is not None else await _vm_of_machine(call, machine_id or 0)
    if not allow_tight:
        await require_room(call, await tiers_to_check(call, tier))
    wish = AddDrive(
        name=name,
        description=description,
        size_bytes=gb_as_bytes(size_gb),
        interface=interface_type,
        tier=tier,
    )
    return await submit(call, "add_drive", target, wish)


@tool("PUT /drives/{drive_id}", permission=Permission.CHANGE, effect=Effect.CHANGE)
async def resize_drive(
    call: Call,
    *,
    drive_id: Annotated[Key, Field(description="from get_vm_drives")],
    new_size_gb: SizeGb,
) -> Ordered:
    """Enlarge a VM's disk, also while it runs; the guest extends its file system itself. Answers its job."""
    drive = await look_drive(call.services.vergeos, drive_id)
    target = await owner_target(call, None if drive is None else drive.machine)
    if drive is None or target is None:
        raise UnknownObject(f"no VM has a drive {drive_id}", next_step="get_vm_drives lists a VM's drives.")
    size_bytes = gb_as_bytes(new_size_gb)
    _require_growth(drive, size_bytes)
    wish = ResizeDrive(drive_key=drive_id, size_bytes=size_bytes)
    return await submit(call, "resize_drive", target, wish)


async def _vm_of_machine(call: Call, machine_key: int) -> Target:
    target = await owner_target(call, machine_key)
    if target is None:
        raise UnknownObject(
            f"machine {machine_key} is no VM's; nodes and networks have machines too",
            next_step="Use the VM's id or name, or its machine_id from list_vms.",
        )
    return target


def _require_growth(drive: DriveLook, size_bytes: int) -> None:
    """Raise InvalidArgument where VergeOS would refuse: what is no disk, and a smaller size (VergeOS API notes 3.4)."""
    if drive.media in SIZELESS_MEDIA:
        raise InvalidArgument(f"drive {drive.key} is a {drive.media}, not a disk", next_step="Choose a disk.")
    if drive.size_bytes is not None and size_bytes < drive.size_bytes:
        size = f"{drive.size_bytes / GB_BYTES:g} GB"
        raise InvalidArgument(
            f"new_size_gb: drive {drive.key} has {size} already, and drives only grow",
            next_step=f"Ask for more than {size}.",
        )


def _with_addresses(nics: Sequence[NicRow], guest: Sequence[GuestNic]) -> Sequence[NicRow]:
    """Return the interfaces with what the guest tells of their MACs: its own names for them say nothing here."""
    told = {nic.mac_address: nic.addresses for nic in guest}
    return [
        nic.model_copy(update={"guest_addresses": told[nic.mac_address]}) if nic.mac_address in told else nic
        for nic in nics
    ]


TOOLS = (get_vm_drives, get_vm_nics, add_drive, resize_drive)
