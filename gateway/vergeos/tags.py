"""The calls about tags, typed."""

from gateway.core.ids import VmKey
from gateway.core.tag import VmTag
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import Row, exact, name, required

TAG_FIELDS = "$key,member,tag#name as tag_name"
VM_MEMBER = "vms/"  # a tag's member is told as a path, e.g. `vms/12` (VergeOS API notes 3.20)


async def list_vm_tags(client: VergeClient) -> list[VmTag]:
    """Return every tag on a VM; one request per 1,000 tagged objects of all kinds."""
    found: list[VmTag] = []
    async for page in client.all_rows("tag_members", fields=TAG_FIELDS, sort="+$key"):
        found += [tag for tag in map(vm_tag, page) if tag is not None]
    return found


def vm_tag(row: Row) -> VmTag | None:
    """Return the tag of a row, None where it is on something else than a VM."""
    member, tag = exact(row, "member"), name(row, "tag_name")
    key = member.removeprefix(VM_MEMBER)
    if tag is None or key == member or not key.isdecimal():
        return None
    return VmTag(id=required(row, "$key"), vm_id=VmKey(int(key)), tag=tag)
