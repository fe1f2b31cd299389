"""The calls that tell whose a machine is: drives and snapshots know their machine, never their VM."""

from gateway.core.ids import MachineKey, VmKey
from gateway.core.vm import VmRow
from gateway.vergeos import rows
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import flag, number, required
from gateway.vergeos.filters import Filter, all_of, eq


async def vm_of_machine(client: VergeClient, machine_key: MachineKey) -> VmRow | None:
    """Return the VM whose machine this is; None for a node's, a network's or a snapshot's. One request."""
    found = await client.rows("vms", fields=rows.VM_LIST_FIELDS, filter=_owner(machine_key, snapshot=False), limit=2)
    fitting = [row for row in found if number(row, "machine") == machine_key]
    return rows.vm_row(fitting[0]) if len(fitting) == 1 else None


async def snapshot_vm_of_machine(client: VergeClient, machine_key: MachineKey) -> VmKey | None:
    """Return the key of the hidden VM that holds a snapshot; None where there is not exactly one. One request.

    Restoring through any other key could reach another VM (VergeOS API notes 4.8).
    """
    fields = "$key,machine,is_snapshot"
    found = await client.rows("vms", fields=fields, filter=_owner(machine_key, snapshot=True), limit=2)
    fitting = [row for row in found if number(row, "machine") == machine_key and flag(row, "is_snapshot")]
    return VmKey(required(fitting[0], "$key")) if len(fitting) == 1 else None


def _owner(machine_key: MachineKey, *, snapshot: bool) -> Filter:
    return all_of(eq("machine", machine_key), eq("is_snapshot", snapshot))
