"""The calls about nodes, typed."""

from gateway.core.vm import VmLook
from gateway.vergeos import rows
from gateway.vergeos.client import VergeClient
from gateway.vergeos.filters import eq


async def most_free_ram_mb(client: VergeClient, vm: VmLook) -> int | None:
    """Return the most RAM in MB that one node could give `vm` once it is off; None where VergeOS does not tell.

    One request. What the VM itself uses counts as free on its own node (VergeOS API notes 3.12).
    """
    found = await client.rows("nodes", fields=rows.NODE_ROOM_FIELDS, filter=eq("physical", True))
    rooms = [room for room in (rows.node_room(row, vm) for row in found) if room is not None]
    return max(rooms, default=None)
