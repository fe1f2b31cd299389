"""The facts of objects by which rights decide: those that a row tells, and for VMs their tags and networks besides."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.job import Target
from gateway.core.policy import Facts, Right
from gateway.vergeos.slices import in_slices
from gateway.views.cluster import CLUSTERS, NODES
from gateway.views.declared import VMS, View
from gateway.views.networks import NETWORKS
from gateway.views.reads import Reads
from gateway.views.rows import Rows
from gateway.views.tags import VM_TAGS
from gateway.views.tenants import TENANTS
from gateway.views.vm_parts import VM_NETWORKS

LISTS: Final[Mapping[str, View[Any]]] = {
    "vm": VMS,
    "network": NETWORKS,
    "tenant": TENANTS,
    "node": NODES,
    "cluster": CLUSTERS,
}
"""The list of each kind of object, which decides what is seen of it anywhere."""

UNTOLD: Final = frozenset({"tag", "network", "node", "cluster"})
"""What nobody knows of a VM of which no more than its name is known."""


@dataclass(frozen=True)
class VmFacts:
    """What is known of VMs besides their rows: their tags by VM, their networks by machine."""

    tags: Mapping[int, tuple[str, ...]]
    networks: Mapping[int, tuple[str, ...]]

    @classmethod
    async def of(cls, tagged: Rows[Any] | None, linked: Rows[Any] | None) -> "VmFacts":
        """Return what these views tell; nothing where they are not needed."""
        return cls(await _gathered(tagged, "vm_id", "tag"), await _gathered(linked, "machine", "network"))


NOTHING_ELSE: Final = VmFacts({}, {})


async def _gathered(rows: Rows[Any] | None, by: str, member: str) -> Mapping[int, tuple[str, ...]]:
    """Return a member of all rows that agree in another one, by that; gathered once for each reading."""
    if rows is None:
        return {}
    gathered: Mapping[int, tuple[str, ...]] | None = rows.rendered.get(("gathered", by))
    if gathered is None:
        found = defaultdict[int, tuple[str, ...]](tuple)

        def gather(row: Any) -> None:
            found[getattr(row, by)] += (getattr(row, member),)

        await in_slices(rows.rows, gather)
        gathered = rows.rendered["gathered", by] = found
    return gathered


def facts_of(kind: str, row: Any, site: str, around: VmFacts) -> Facts:
    """Return the facts of an object that its row tells."""
    facts: dict[str, tuple[str, ...]] = {"kind": (kind,), "site": (site,)}
    if kind == "vm":
        facts |= {"name": (row.name,), "node": one(row.node), "cluster": one(row.cluster)}
        facts |= {"tag": around.tags.get(row.id, ()), "network": around.networks.get(row.machine_id, ())}
    elif kind == "node":
        facts |= {"node": (row.name,), "cluster": one(row.cluster)}
    else:
        facts[kind] = (row.name,)
    return facts


async def facts_of_target(views: Reads, target: Target, right: Right, site: str) -> tuple[Facts, Right]:
    """Return the facts of a job's object that `right` asks for, and the right that decides by them.

    Of an object that is gone no more than its name is known. Raises an UpstreamError.
    """
    view = LISTS[target.kind]
    row = (await views.rows(view)).by_key.get(target.key) or (await views.rows(view, max_age=0)).by_key.get(target.key)
    if row is None:
        return bare_facts(target, site), right.blind_to(UNTOLD) if target.kind == "vm" else right
    tagged = await views.rows(VM_TAGS) if "tag" in right.fields else None
    linked = await views.rows(VM_NETWORKS) if "network" in right.fields else None
    return facts_of(target.kind, row, site, await VmFacts.of(tagged, linked)), right


async def facts_in_full(views: Reads, kind: str, row: Any, site: str) -> Facts:
    """Return all facts of an object of a list. Raises an UpstreamError."""
    around = NOTHING_ELSE
    if kind == "vm":
        around = await VmFacts.of(await views.rows(VM_TAGS), await views.rows(VM_NETWORKS))
    return facts_of(kind, row, site, around)


def one(value: str | None) -> tuple[str, ...]:
    """Return the values of a fact that has one or none."""
    return (value,) if value else ()


def bare_facts(target: Target, site: str) -> Facts:
    """Return the facts of an object of which no more than its name is known."""
    name = "name" if target.kind == "vm" else target.kind
    return {"kind": (target.kind,), "site": (site,), name: (target.name,)}
