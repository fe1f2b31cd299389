"""The view of the tags on VMs."""

from gateway.core.ids import VmKey
from gateway.core.tag import VmTag
from gateway.vergeos.tags import list_vm_tags
from gateway.views.declared import View
from gateway.views.reads import Reads

TAG_SECONDS = 60.0  # people tag seldom


def _id(row: VmTag) -> int:
    return row.id


def _tag(row: VmTag) -> str:
    return row.tag


VM_TAGS: View[VmTag] = View("vm-tags", "vm_tags", VmTag, list_vm_tags, _id, _tag, TAG_SECONDS)


async def tagged(views: Reads, tag: str) -> frozenset[VmKey]:
    """Return the VMs that carry a tag of exactly this name; at most 60 s old."""
    return frozenset(row.vm_id for row in (await views.rows(VM_TAGS)).by_name.get(tag, ()))
