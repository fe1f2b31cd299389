"""The calls about VM snapshots, typed, and their rows turned into the core's shapes (VergeOS API notes 3.6)."""

from typing import Any

from gateway.core.errors import VergeOSBadAnswer, VergeOSNotFound
from gateway.core.ids import MachineKey, VmKey
from gateway.core.snapshot import SnapshotLook, StoredSnapshot
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, exact, flag, moment, name, number, required, text
from gateway.vergeos.filters import eq
from gateway.vergeos.machines import snapshot_vm_of_machine
from gateway.vergeos.vms import vm_action

TABLE = "machine_snapshots"
LIST_FIELDS = "$key,name,description,created,expires,quiesced,created_manually,queue_delete,machine"
LOOK_FIELDS = "$key,name,description,created,expires,quiesced,queue_delete,machine,snap_machine"


async def list_snapshots(client: VergeClient, machine_key: MachineKey | None = None) -> list[StoredSnapshot]:
    """Return the snapshots of one machine, or of all; one request per 1,000.

    Without those that belong to no machine, and those that VergeOS is about to delete.
    """
    found: dict[int, StoredSnapshot] = {}
    of_machine = None if machine_key is None else eq("machine", machine_key)
    async for page in client.all_rows(TABLE, fields=LIST_FIELDS, filter=of_machine, sort="+$key"):
        found.update((row.id, row) for row in map(stored_snapshot, page) if row is not None)
    return list(found.values())


async def look_snapshot(client: VergeClient, snapshot_key: int, *, with_vm: bool = False) -> SnapshotLook | None:
    """Return a snapshot as it is now, None where there is none; one request.

    `with_vm` asks for the snapshot's own VM row as well, with a second one: `snap_machine` is the key of that
    row's machine, not of a VM (VergeOS API notes 4.8).
    """
    try:
        row = await client.row(TABLE, snapshot_key, fields=LOOK_FIELDS)
    except VergeOSNotFound:
        return None
    copy = number(row, "snap_machine") if with_vm else None
    return snapshot_look(row, None if copy is None else await snapshot_vm_of_machine(client, MachineKey(copy)))


async def find_snapshot(client: VergeClient, machine_key: MachineKey, marker: str) -> SnapshotLook | None:
    """Return the snapshot of a machine whose description holds `marker`, None where none does.

    The machine's snapshots are compared here, newest first: a filter that VergeOS misread would have one
    taken twice. One request per 1,000 of them.
    """
    of_machine = eq("machine", machine_key)
    async for page in client.all_rows(TABLE, fields=LOOK_FIELDS, filter=of_machine, sort="-$key"):
        for row in page:
            if marker in exact(row, "description"):
                return snapshot_look(row)
    return None


async def create_snapshot(
    client: VergeClient, machine_key: MachineKey, *, name: str, description: str, expires_at: int | None, quiesce: bool
) -> int:
    """Take a snapshot and return its key; `expires_at` is in Unix seconds, None keeps it for ever.

    Never tried twice. The expiry is always said: VergeOS would choose some days (VergeOS API notes 3.6, 4.7).
    """
    body: dict[str, Any] = {"machine": machine_key, "name": name, "description": description}
    body |= {"created_manually": True, "quiesce": quiesce}
    body |= {"expires_type": "never"} if expires_at is None else {"expires_type": "date", "expires": expires_at}
    made = (await client.create(TABLE, body)).key
    if not isinstance(made, int):
        raise VergeOSBadAnswer("VergeOS does not tell the key of the snapshot that it took as a number")
    return made


async def delete_snapshot(client: VergeClient, snapshot_key: int) -> None:
    """Have a snapshot deleted; its row stays a while, marked as going (VergeOS API notes 4.7)."""
    await client.delete(TABLE, snapshot_key)


async def restore_snapshot(client: VergeClient, snapshot_vm_key: VmKey, snapshot_key: int) -> None:
    """Put the VM back to a snapshot, by the snapshot's own VM row; the VM must be off and stays off.

    Any other VM's key would restore something else, or nothing (VergeOS API notes 4.8).
    """
    await vm_action(client, snapshot_vm_key, "restore", {"snapshot": snapshot_key, "poweron": False})


def stored_snapshot(row: Row) -> StoredSnapshot | None:
    """Return the list row of a snapshot, None where it belongs to no machine or is about to go.

    Raises VergeOSBadAnswer if the row has no key.
    """
    machine = number(row, "machine")
    if machine is None or flag(row, "queue_delete"):
        return None
    return StoredSnapshot(
        id=required(row, "$key"),
        name=name(row, "name") or "",
        created_at=moment(row, "created"),
        expires_at=moment(row, "expires"),
        quiesced=flag(row, "quiesced"),
        by_hand=flag(row, "created_manually"),
        description=text(row, "description"),
        machine=MachineKey(machine),
    )


def snapshot_look(row: Row, vm_key: VmKey | None = None) -> SnapshotLook:
    """Return what a job's decision needs; raises VergeOSBadAnswer if key or machine is missing."""
    return SnapshotLook(
        key=required(row, "$key"),
        name=name(row, "name") or "",
        machine=required(row, "machine"),
        created_at=moment(row, "created"),
        expires_at=moment(row, "expires"),
        quiesced=flag(row, "quiesced"),
        deleting=flag(row, "queue_delete"),
        description=text(row, "description"),
        vm_key=vm_key,
        copy_machine=number(row, "snap_machine"),
    )
