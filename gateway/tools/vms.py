"""Tools about virtual machines."""

from typing import Annotated

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading
from gateway.core.errors import InvalidArgument
from gateway.core.job import Ordered
from gateway.core.text import NAME_LIMIT
from gateway.core.tool import Effect, tool
from gateway.core.vm import RAM_STEP_MB, Vm, VmRow, VmStatus, round_up_ram_mb
from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize
from gateway.tools.listing import holds, page
from gateway.tools.parameters import Force, Grace, Limit, NamePart, Offset, VmRef
from gateway.tools.submitting import submit, vm_target
from gateway.views.inventory import resolve_vm
from gateway.views.reads import Reads
from gateway.views.tags import tagged

MOST_CORES = 1024
LEAST_RAM_MB, MOST_RAM_MB = 256, 1_048_576


@tool("GET /vms", permission=Permission.READ, effect=Effect.READ)
async def list_vms(
    views: Reads,
    *,
    running: Annotated[bool | None, Field(description="only running (true) or stopped (false) VMs")] = None,
    name: NamePart = None,
    node: Annotated[str | None, Field(max_length=NAME_LIMIT, description="exact name of the node it runs on")] = None,
    tag: Annotated[str | None, Field(max_length=NAME_LIMIT, description="exact name of a tag it carries")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[VmRow]:
    """List VMs by name, with state, size and node. Start here to find a VM's id."""
    view = await views.vms()
    carriers = None if tag is None else await tagged(views, tag)
    rows = [
        row
        for row in view.rows
        if (running is None or bool(row.running) == running)
        and holds(name, row.name)
        and (node is None or row.node == node)
        and (carriers is None or row.id in carriers)
    ]
    return page(rows, view, limit=limit, offset=offset)


@tool("GET /vms/{id}", permission=Permission.READ, effect=Effect.READ)
async def get_vm(views: Reads, *, id: VmRef) -> Reading[Vm]:
    """Show one VM: state, configuration and present use."""
    row = await resolve_vm(views, id)
    return await views.vm(row.id)


@tool("GET /vms/{id}/status", permission=Permission.READ, effect=Effect.READ)
async def get_vm_status(views: Reads, *, id: VmRef) -> Reading[VmStatus]:
    """Show whether a VM runs, where, since when, and whether a change awaits a restart."""
    row = await resolve_vm(views, id)
    return await views.vm_status(row.id)


@tool("POST /vms/{id}/poweron", permission=Permission.OPERATE, effect=Effect.CHANGE)
async def power_on_vm(call: Call, *, id: VmRef) -> Ordered:
    """Start a VM and wait until it runs. Answers its job; follow it with get_job."""
    return await submit(call, "power_on_vm", await vm_target(call, id), PowerOn())


@tool(
    "POST /vms/{id}/poweroff",
    permission=Permission.OPERATE,
    effect=Effect.CHANGE,
    escalates={"force_after_timeout": Permission.FORCE},
)
async def power_off_vm(
    call: Call,
    *,
    id: VmRef,
    wait_timeout: Grace = 0,
    force_after_timeout: Force = None,
) -> Ordered:
    """Shut a VM down gracefully. Answers its job; follow it with get_job.

    The guest is asked once and has `wait_timeout` seconds; with `force_after_timeout` its power is then
    cut. With a wait of 0 nothing is forced and the VM is watched for 5 minutes.
    """
    wish = PowerOff(wait_seconds=wait_timeout, force=force_after_timeout if wait_timeout else False)
    return await submit(call, "power_off_vm", await vm_target(call, id), wish)


@tool("POST /vms/{id}/forceoff", permission=Permission.FORCE, effect=Effect.DESTROY)
async def force_off_vm(call: Call, *, id: VmRef) -> Ordered:
    """Cut a VM's power at once, as if its plug were pulled; the guest may lose data. Prefer power_off_vm."""
    return await submit(call, "force_off_vm", await vm_target(call, id), ForceOff())


@tool(
    "POST /vms/{id}/reset",
    permission=Permission.OPERATE,
    effect=Effect.CHANGE,
    escalates={"hard": Permission.FORCE},
)
async def reset_vm(
    call: Call,
    *,
    id: VmRef,
    hard: Annotated[bool, Field(description="reset the machine without asking the guest")] = False,
) -> Ordered:
    """Reboot a running VM: its guest is asked, or with `hard` the machine is reset. Answers its job."""
    return await submit(call, "reset_vm", await vm_target(call, id), Reset(hard=hard))


@tool(
    "PATCH /vms/{id}",
    permission=Permission.CHANGE,
    effect=Effect.CHANGE,
    escalates={"force_after_timeout": Permission.FORCE},
)
async def modify_vm(
    call: Call,
    *,
    id: VmRef,
    cpu_cores: Annotated[int | None, Field(ge=1, le=MOST_CORES)] = None,
    ram_mb: Annotated[
        int | None, Field(ge=LEAST_RAM_MB, le=MOST_RAM_MB, description=f"rounded up to {RAM_STEP_MB} MB")
    ] = None,
    shutdown_if_running: Annotated[bool, Field(description="stop a running VM so that the change counts")] = False,
    wait_timeout: Grace = 60,
    force_after_timeout: Force = False,
    restart: Annotated[bool, Field(description="a VM that ran runs again at the end")] = True,
) -> Ordered:
    """Change a VM's CPU cores or RAM. Answers its job; follow it with get_job.

    A running VM takes the change at its next power cycle; with `shutdown_if_running` it is stopped,
    changed and started again, and gets its old size back where that fails.
    """
    if cpu_cores is None and ram_mb is None:
        raise InvalidArgument("modify_vm: give cpu_cores or ram_mb", next_step="Name at least one new size.")
    wish = Resize(
        cpu_cores=cpu_cores,
        ram_mb=None if ram_mb is None else round_up_ram_mb(ram_mb),
        asked_ram_mb=ram_mb,
        may_stop=shutdown_if_running,
        wait_seconds=wait_timeout,
        force=force_after_timeout,
        restart=restart,
    )
    return await submit(call, "modify_vm", await vm_target(call, id), wish)


TOOLS = (list_vms, get_vm, get_vm_status, power_on_vm, power_off_vm, force_off_vm, reset_vm, modify_vm)
