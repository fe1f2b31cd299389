"""The calls about the drives of VMs, typed, and their rows turned into the core's shapes (VergeOS API notes 3.4)."""

from typing import Any

from gateway.core.drive import GB_BYTES, DriveLook, DriveRow
from gateway.core.errors import VergeOSBadAnswer, VergeOSNotFound
from gateway.core.ids import MachineKey
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, exact, flag, name, number, required, text, word
from gateway.vergeos.filters import eq

TABLE = "machine_drives"
_STATUS = "status#status as status"
LIST_FIELDS = (
    "$key,orderid,name,description,interface,media,enabled,disksize,used_bytes,preferred_tier,readonly,"
    f"{_STATUS},media_source#name as media_file"
)
LOOK_FIELDS = f"$key,name,machine,disksize,media,interface,{_STATUS},description"


async def list_drives(client: VergeClient, machine_key: MachineKey) -> list[DriveRow]:
    """Return the drives of one machine; one request, and no other machine's rows (VergeOS API notes 6.1)."""
    found = await client.rows(TABLE, fields=LIST_FIELDS, filter=eq("machine", machine_key), sort="+orderid")
    return [drive_row(row) for row in found]


async def look_drive(client: VergeClient, drive_key: int) -> DriveLook | None:
    """Return a drive as it is now, None where there is none; one request."""
    try:
        return drive_look(await client.row(TABLE, drive_key, fields=LOOK_FIELDS))
    except VergeOSNotFound:
        return None


async def find_drive(client: VergeClient, machine_key: MachineKey, marker: str) -> DriveLook | None:
    """Return the drive of a machine whose description holds `marker`, None where none does; one request.

    The machine's drives are few and are compared here: a filter that VergeOS misread would have a drive made twice.
    """
    found = await client.rows(TABLE, fields=LOOK_FIELDS, filter=eq("machine", machine_key), sort="+orderid")
    return next((drive_look(row) for row in found if marker in exact(row, "description")), None)


async def create_drive(
    client: VergeClient,
    machine_key: MachineKey,
    *,
    name: str,
    description: str,
    size_bytes: int,
    interface: str,
    tier: int | None,
) -> int:
    """Make a disk and return its key; without `tier` VergeOS chooses one. A running VM does not see it yet.

    Never tried twice (VergeOS API notes 3.4, 4.5).
    """
    body: dict[str, Any] = {"machine": machine_key, "name": name, "description": description}
    body |= {"interface": interface, "media": "disk", "disksize": size_bytes}
    if tier is not None:
        body["preferred_tier"] = str(tier)  # a text; a field `tier` would be passed over (VergeOS API notes 3.4)
    made = (await client.create(TABLE, body)).key
    if not isinstance(made, int):
        raise VergeOSBadAnswer("VergeOS does not tell the key of the drive that it made as a number")
    return made


async def set_drive_size(client: VergeClient, drive_key: int, size_bytes: int) -> None:
    """Enlarge a drive; VergeOS refuses a smaller size. Look afterwards (VergeOS API notes 2.6, 4.6)."""
    await client.update(TABLE, drive_key, {"disksize": size_bytes})


def drive_row(row: Row) -> DriveRow:
    """Return the list row of a drive; raises VergeOSBadAnswer if the row has no key."""
    return DriveRow(
        id=required(row, "$key"),
        name=name(row, "name") or "",
        size_gb=_gb(row, "disksize"),
        used_gb=_gb(row, "used_bytes"),
        interface=word(row, "interface"),
        media=word(row, "media"),
        tier=number(row, "preferred_tier"),
        status=word(row, "status") or "unknown",
        enabled=flag(row, "enabled", missing=True),
        read_only=flag(row, "readonly"),
        order=number(row, "orderid") or 0,
        media_file=name(row, "media_file"),
        description=text(row, "description"),
    )


def drive_look(row: Row) -> DriveLook:
    """Return what a job's decision needs; raises VergeOSBadAnswer if key or machine is missing."""
    return DriveLook(
        key=required(row, "$key"),
        name=name(row, "name") or "",
        machine=required(row, "machine"),
        size_bytes=number(row, "disksize"),
        interface=word(row, "interface"),
        media=word(row, "media"),
        status=word(row, "status") or "unknown",
        description=text(row, "description"),
    )


def _gb(row: Row, field: str) -> float | None:
    size_bytes = number(row, field)
    return None if size_bytes is None else round(size_bytes / GB_BYTES, 2)
