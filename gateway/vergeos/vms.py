"""The calls about virtual machines, typed: what is asked of VergeOS, in how many requests."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from gateway.core.ids import MachineKey, VmKey
from gateway.core.vm import LogLine, MachineState, Vm, VmLook, VmRow, VmStatus
from gateway.vergeos import rows
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import exact
from gateway.vergeos.filters import Filter, all_of, any_of, at_least, at_most, eq
from gateway.vergeos.slices import in_slices

SAME_NAME_LIMIT = 20  # more VMs of one name than anybody needs to be told apart
MACHINES_A_REQUEST = 200
FILTER_BYTES = 6_500  # with host, path and fields the request line stays below 7,000 bytes
_NOT_SNAPSHOTS = eq("is_snapshot", False)


async def list_vms(client: VergeClient) -> list[VmRow]:
    """Return every VM but the snapshots' hidden copies, by name; one request per 1,000 (VergeOS API notes 3.1)."""
    found: dict[VmKey, VmRow] = {}
    async for page in client.all_rows("vms", fields=rows.VM_LIST_FIELDS, filter=_NOT_SNAPSHOTS, sort="+name"):
        found.update((row.id, row) for row in await in_slices(page, rows.vm_row))
    return list(found.values())


async def find_vms(client: VergeClient, name: str) -> list[VmRow]:
    """Return the VMs whose name is exactly `name`, at most 20 and mostly one; one request.

    What VergeOS returns is compared once more: a filter that it misreads must not choose a VM.
    """
    named = all_of(_NOT_SNAPSHOTS, eq("name", name))
    found = await client.rows("vms", fields=rows.VM_LIST_FIELDS, filter=named, limit=SAME_NAME_LIMIT)
    return [rows.vm_row(row) for row in found if exact(row, "name") == name]


async def get_vm(client: VergeClient, vm_key: VmKey) -> Vm:
    """Return one VM with configuration and use; one request. Raises VergeOSNotFound."""
    return rows.vm(await client.row("vms", vm_key, fields=rows.VM_FIELDS))


async def get_vm_status(client: VergeClient, vm_key: VmKey) -> VmStatus:
    """Return the power state of one VM; one small request. Raises VergeOSNotFound."""
    return rows.vm_status(await client.row("vms", vm_key, fields=rows.VM_STATUS_FIELDS))


async def look(client: VergeClient, vm_key: VmKey) -> VmLook:
    """Return what a job must know before it acts; one live request.

    Raises VergeOSNotFound, and VergeOSBadAnswer where VergeOS does not tell the power state.
    """
    return rows.vm_look(await client.row("vms", vm_key, fields=rows.VM_LOOK_FIELDS))


async def machine_states(client: VergeClient, machine_keys: Collection[MachineKey]) -> dict[MachineKey, MachineState]:
    """Return the power state of each machine that VergeOS tells one of.

    One request for up to 200 machines, two for up to 400; above, pages of 1,000 rows of the table between
    the lowest and the highest key, so at most max(2, its rows / 1000) requests.
    """
    machines = set(machine_keys)
    wanted = sorted(machines)
    conditions = list(_conditions(wanted))
    if len(conditions) > 2:
        conditions = [all_of(at_least("machine", wanted[0]), at_most("machine", wanted[-1]))]
    states: dict[MachineKey, MachineState] = {}
    for condition in conditions:
        async for found in _states(client, condition):
            states.update((key, found[key]) for key in found.keys() & machines)
            if len(states) == len(wanted):
                break
    return states


async def _states(client: VergeClient, condition: Filter) -> AsyncIterator[dict[MachineKey, MachineState]]:
    fields = rows.MACHINE_STATE_FIELDS
    async for page in client.all_rows("machine_status", fields=fields, filter=condition, sort="+machine"):
        yield {state.machine: state for state in map(rows.machine_state, page) if state is not None}


def _conditions(machines: Iterable[MachineKey]) -> Iterable[Filter]:
    """Yield the filters for `machines`, each for at most 200 of them and short enough for a request line."""
    chosen: list[Filter] = []
    length = 0
    for condition in (eq("machine", machine) for machine in machines):
        cost = len(condition) + len(" or ") + 2 * 4  # each space is sent as three characters
        if len(chosen) == MACHINES_A_REQUEST or length + cost > FILTER_BYTES:
            yield any_of(*chosen)
            chosen, length = [], 0
        chosen.append(condition)
        length += cost
    if chosen:
        yield any_of(*chosen)


async def vm_action(client: VergeClient, vm_key: VmKey, action: str, params: Mapping[str, Any] | None = None) -> None:
    """Ask VergeOS to do `action` with a VM; its acceptance says nothing of the outcome (VergeOS API notes 3.7)."""
    await client.action("vm_actions", {"vm": vm_key, "action": action, "params": dict(params or {})})


async def set_vm_size(
    client: VergeClient, vm_key: VmKey, *, cpu_cores: int | None = None, ram_mb: int | None = None
) -> None:
    """Change cores and RAM, of which at least one is given; a running VM takes them at its next power cycle.

    VergeOS answers 200 also when it changed nothing (VergeOS API notes 2.6): look afterwards.
    """
    size = {"cpu_cores": cpu_cores, "ram": ram_mb}
    await client.update("vms", vm_key, {field: value for field, value in size.items() if value is not None})


async def recent_machine_log(client: VergeClient, machine_key: MachineKey, limit: int) -> list[LogLine]:
    """Return the last `limit` lines of a machine's log, newest first: the only place that tells why a start failed."""
    of_machine = eq("machine", machine_key)
    found = await client.rows(
        "machine_logs", fields=rows.MACHINE_LOG_FIELDS, filter=of_machine, sort="-timestamp", limit=limit
    )
    return [rows.log_line(row) for row in found]
