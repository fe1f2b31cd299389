"""Making, copying and removing machines with all the rows that belong to them."""

import uuid
from typing import Any

from gateway.simulator.figures import noise
from gateway.simulator.model import Database, Row

_COPIED_WITH_A_VM = frozenset({"$key", "machine", "name", "uuid", "created", "modified", "is_snapshot", "need_restart"})


def repeatable_uuid(seed: int, *parts: object) -> str:
    """A UUID that repeats by seed."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}/{'/'.join(map(str, parts))}"))


def add_machine(db: Database, kind: str, name: str, cluster: int | None, owner: str, key: int | None = None) -> int:
    """Add a stopped machine with its status and stats rows; returns the machine key."""
    machine = db["machines"].take_key() if key is None else key
    status = db["machine_status"].insert({"machine": machine})
    stats = db["machine_stats"].insert({"machine": machine})
    db["machines"].insert(
        {
            "$key": machine,
            "name": name,
            "type": kind,
            "owner": owner,
            "cluster": cluster,
            "status": status["$key"],
            "stats": stats["$key"],
        }
    )
    return machine


def add_drive(db: Database, machine: int, values: dict[str, Any], *, online: bool = False) -> Row:
    """Add a drive with its status and stats rows; returns the drive's row."""
    drives = db["machine_drives"]
    key = drives.take_key()
    status = db["machine_drive_status"].insert({"parent_drive": key, "status": "online" if online else "offline"})
    stats = db["machine_drive_stats"].insert({"parent_drive": key})
    keys = {"machine": machine, "status": status["$key"], "stats": stats["$key"]}
    return drives.insert({"$key": key, **values, **keys})


def add_nic(db: Database, machine: int, values: dict[str, Any], *, up: bool = False) -> Row:
    """Add a NIC with its status and stats rows; returns the NIC's row."""
    nics = db["machine_nics"]
    key = nics.take_key()
    status = db["machine_nic_status"].insert({"parent_nic": key, "status": "up" if up else "down"})
    stats = db["machine_nic_stats"].insert({"parent_nic": key})
    values.setdefault("macaddress", mac_address(db.seed, key))
    return nics.insert({"$key": key, **values, "machine": machine, "status": status["$key"], "stats": stats["$key"]})


def mac_address(seed: int, key: int) -> str:
    """A repeatable MAC address, lower case with colons."""
    number = int(noise(seed, key, 9) * 0xFFFF)
    return f"f0:db:30:{number >> 8:02x}:{key >> 8 & 0xFF:02x}:{key & 0xFF:02x}"


def remove_drive(db: Database, drive: Row) -> None:
    """Remove a drive and its status and stats rows."""
    db["machine_drive_status"].remove(drive["status"])
    db["machine_drive_stats"].remove(drive["stats"])
    db["machine_drives"].remove(drive["$key"])


def remove_nic(db: Database, nic: Row) -> None:
    """Remove a NIC and its status and stats rows."""
    db["machine_nic_status"].remove(nic["status"])
    db["machine_nic_stats"].remove(nic["stats"])
    db["machine_nics"].remove(nic["$key"])


def remove_machine(db: Database, machine: int) -> None:
    """Remove a machine and every row that belongs to it."""
    for drive in db["machine_drives"].where("machine", machine):
        remove_drive(db, drive)
    for nic in db["machine_nics"].where("machine", machine):
        remove_nic(db, nic)
    row = db["machines"].remove(machine)
    if row is not None:
        db["machine_status"].remove(row["status"])
        db["machine_stats"].remove(row["stats"])


def remove_vm(db: Database, vm: Row) -> None:
    """Remove a VM with its machine and its snapshots."""
    for snapshot in db["machine_snapshots"].where("machine", vm["machine"]):
        remove_snapshot(db, snapshot)
    remove_machine(db, vm["machine"])
    db["vms"].remove(vm["$key"])


def remove_snapshot(db: Database, snapshot: Row) -> None:
    """Remove a VM snapshot and the hidden VM that holds its copy."""
    db["machine_snapshots"].remove(snapshot["$key"])
    hidden = db["vms"].first("machine", snapshot["snap_machine"])
    if hidden is not None:
        remove_vm(db, hidden)


def copy_vm(db: Database, vm: Row, name: str, *, is_snapshot: bool, keep_macs: bool) -> Row:
    """Copy a VM with its drives and NICs under a new VM key and a new machine key; returns the new, stopped VM."""
    now = int(db.now())
    key = db["vms"].take_key()
    cluster = db["machines"].rows[vm["machine"]].get("cluster")
    machine = add_machine(db, "vm", name, cluster, f"vms/{key}")
    values = {column: value for column, value in vm.items() if column not in _COPIED_WITH_A_VM}
    copy = db["vms"].insert(
        {
            "$key": key,
            "machine": machine,
            "name": name,
            **values,
            "is_snapshot": is_snapshot,
            "uuid": str(uuid.uuid4()),
            "created": now,
            "modified": now,
        }
    )
    copy_devices(db, vm["machine"], machine, keep_macs=keep_macs)
    return copy


def copy_devices(db: Database, source: int, target: int, *, keep_macs: bool) -> None:
    """Copy all drives and NICs of one machine to another."""
    for drive in db["machine_drives"].where("machine", source):
        add_drive(db, target, _without(drive, "$key", "machine", "status", "stats"))
    for nic in db["machine_nics"].where("machine", source):
        dropped = () if keep_macs else ("macaddress",)
        add_nic(db, target, _without(nic, "$key", "machine", "status", "stats", *dropped))


def _without(row: Row, *columns: str) -> dict[str, Any]:
    return {column: value for column, value in row.items() if column not in columns}


def add_snapshot(db: Database, vm: Row, values: dict[str, Any]) -> Row:
    """Add a VM snapshot: its row, and a hidden VM with an own machine that holds the copy (VergeOS API notes 3.6)."""
    hidden = copy_vm(db, vm, vm["name"], is_snapshot=True, keep_macs=True)
    return db["machine_snapshots"].insert({**values, "machine": vm["machine"], "snap_machine": hidden["machine"]})


def restore_from(db: Database, target: Row, hidden: Row) -> None:
    """Put a VM back to what its snapshot holds: settings, drives and NICs; its keys, name and identity stay."""
    values = {column: value for column, value in hidden.items() if column not in _COPIED_WITH_A_VM}
    db["vms"].change(target, {**values, "modified": int(db.now())})
    for drive in db["machine_drives"].where("machine", target["machine"]):
        remove_drive(db, drive)
    for nic in db["machine_nics"].where("machine", target["machine"]):
        remove_nic(db, nic)
    copy_devices(db, hidden["machine"], target["machine"], keep_macs=True)
