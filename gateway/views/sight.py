"""What one caller may see: the rows of every view without those of objects that do not exist for him.

A row that stays names no node, cluster or network that he may not see. What is made for one right is kept with the
rows that it was made of, so that all callers of that right share it and nobody else gets it.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core.cluster import Tier
from gateway.core.errors import UpstreamError
from gateway.core.job import Job
from gateway.core.nic import NicRow
from gateway.core.permission import Permission
from gateway.core.policy import Facts, Right, system_facts
from gateway.core.tenant import Tenant, TenantNode, TenantRow
from gateway.vergeos.slices import in_slices
from gateway.views.arranging import indexed
from gateway.views.cluster import NODES
from gateway.views.declared import VMS, T, View
from gateway.views.facts import LISTS, UNTOLD, VmFacts, bare_facts, facts_of, one
from gateway.views.reads import Reads
from gateway.views.rows import Rows
from gateway.views.tags import VM_TAGS
from gateway.views.vm_parts import VM_NETWORKS, by_machine

Keep = Callable[[Any], Any]
"""Returns a row as it may be shown, None where it may not."""

KINDS: Final = {view.name: kind for kind, view in LISTS.items()}
OF_VMS: Final = frozenset(
    {"vm", "vm_status", "vm_drives", "vm_nics", "vm_guest", "vm_snapshots", "snapshots", "vm_tags"}
)
OF_ANYTHING: Final = frozenset({"alarms", "log"})
OF_SYSTEM: Final = frozenset({"tiers", "volumes", "counts"})
SINGLES: Final = {"network": "network", "tenant": "tenant", "node": "node"}
"""The kinds of object that are decided by one row of theirs, whichever view it is of."""
RIGHTS_KEPT: Final = 16  # whose sight of a list is handed on to its next reading
ABOUT_VMS: Final[tuple[tuple[str, View[Any]], ...]] = (("tag", VM_TAGS), ("network", VM_NETWORKS), ("cluster", NODES))
"""What must be known besides a VM's row where a right asks for a field; it may run on a node of another cluster."""
PLACED: Final = frozenset({"tenant"})
"""Views whose rows name nodes and no cluster."""
VERGEOS_WORDS: Final = {"vnet": "network"}


class Sight:
    """What somebody of this right sees, as one call needs it: told first what is known of VMs, then of all else."""

    def __init__(self, right: Right, site: str) -> None:
        self._right, self._site = right, site
        self._known: dict[str, Rows[Any]] = {}
        self._places: dict[tuple[str | None, str | None], dict[str, None]] = {}

    def needs(self, view: View[Any]) -> tuple[View[Any], ...]:
        """Return the views that must be known, all of their rows, before anything of `view` is decided."""
        if view.name == VMS.name or view.kind in OF_VMS | OF_ANYTHING:
            fields = self._right.sight_fields
            about = [known for field, known in ABOUT_VMS if field in fields]
            lists = [VMS] if view.kind in OF_VMS else list(LISTS.values()) if view.kind in OF_ANYTHING else []
            return tuple(dict.fromkeys((*about, *lists)))
        return (NODES,) if view.kind in PLACED and "cluster" in self._right.sight_fields else ()

    def knows(self, view: View[Any]) -> bool:
        """Tell whether a view that is needed is known."""
        return view.name in self._known

    def learn(self, view: View[Any], rows: Rows[Any]) -> None:
        """Know all rows of a view that is needed."""
        self._known[view.name] = rows

    def seen(self, view: View[T], rows: Rows[T]) -> Rows[T] | None:
        """Return what `look` brought for these rows; None where it was not asked yet."""
        seen: Rows[T] | None = rows.rendered.get(self._name(view))
        return seen

    async def look(self, view: View[T], rows: Rows[T]) -> Rows[T]:
        """Return what is seen of the rows of a view, once all that it needs is known; all who ask share the work."""
        seen = self.seen(view, rows)
        if seen is not None:
            return seen
        for needed in self.needs(view):
            if needed.name in KINDS:
                await self.look(needed, self._of(needed))
        name = self._name(view)
        async with rows.rendered.setdefault(("looking", *name), asyncio.Lock()):
            if name not in rows.rendered:
                rows.rendered[name] = await self._looked(view, rows)
        looked: Rows[T] = rows.rendered[name]
        return looked

    async def _looked(self, view: View[T], rows: Rows[T]) -> Rows[T]:
        """Decide what is seen, in short slices, and of a row that was decided before as then."""
        last: Looked | None = rows.looked.get(self._right.token)
        if last is not None and last.made_of != self._made_of(view):
            last = None
        if last is not None and last.before is rows.rows:
            return last.again(rows)
        keep = self._keep(view, await self._around())
        if last is not None:
            keep = last.first(view, keep)
        shown = tuple(row for row in await in_slices(rows.rows, keep) if row is not None)
        by_key, by_name = await indexed(view, shown)
        seen = dataclasses.replace(rows, rows=shown, by_key=by_key, by_name=by_name).bare()
        if view.name in KINDS:
            if len(rows.looked) >= RIGHTS_KEPT:
                rows.looked.clear()
            rows.looked[self._right.token] = Looked(self._made_of(view), rows.rows, rows.by_key, seen.bare())
        return seen

    def _made_of(self, view: View[Any]) -> tuple[tuple[int, float], ...]:
        return tuple((known.generation, known.as_of) for known in map(self._of, self.needs(view)))

    def _name(self, view: View[Any]) -> tuple[str, str, tuple[tuple[int, float], ...]]:
        return "sight", self._right.token, self._made_of(view)

    def _of(self, view: View[Any]) -> Rows[Any]:
        return self._known[view.name]

    def _listed(self, kind: str) -> Rows[Any]:
        """Return what is seen of a list that was looked at."""
        view = LISTS[kind]
        rows: Rows[Any] = self._of(view).rendered[self._name(view)]
        return rows

    def _keep(self, view: View[Any], around: "VmFacts") -> Keep:
        kind = KINDS.get(view.name) or SINGLES.get(view.kind)
        if kind is not None:
            return lambda row: self._shown(row) if self._sees(facts_of(kind, row, self._site, around)) else None
        if view.kind in OF_VMS:
            return self._keep_of_vms(view)
        if view.kind in OF_ANYTHING:
            return self._keep_of_anything(view)
        whole = view.kind in OF_SYSTEM and self._sees(system_facts(self._site))
        return self._shown_of_system if whole else lambda _row: None

    def _keep_of_vms(self, view: View[Any]) -> Keep:
        vms = self._listed("vm")
        if view.kind in {"vm", "vm_status"}:
            return lambda row: self._shown(row) if row.id in vms.by_key else None
        if view.kind == "vm_tags":
            return lambda row: row if row.vm_id in vms.by_key else None
        if view.kind == "snapshots":
            machines = by_machine(vms)
            return lambda row: row if row.machine in machines else None
        of_a_seen_vm = int(view.name.rpartition(":")[2]) in vms.by_key
        return lambda row: self._shown(row) if of_a_seen_vm else None

    def _keep_of_anything(self, view: View[Any]) -> Keep:
        """Keep what is about an object that is seen; of several with one name all must be."""

        def keep(row: Any) -> Any:
            kind = VERGEOS_WORDS.get(row.object_type, row.object_type)
            if kind not in LISTS:
                about = {"kind": ("tenant",), "site": (self._site,)} if kind == "tenant_node" else None
                return row if self._sees(about or system_facts(self._site)) else None
            seen, everything = self._listed(kind), self._of(LISTS[kind])
            if view.kind == "alarms" and row.object_id in everything.by_key:
                return row if row.object_id in seen.by_key else None
            named = seen.by_name.get(row.object, ())
            return row if named and len(named) == len(everything.by_name[row.object]) else None

        return keep

    async def _around(self) -> "VmFacts":
        return await VmFacts.of(self._known.get(VM_TAGS.name), self._known.get(VM_NETWORKS.name))

    def _sees(self, facts: Facts) -> bool:
        return self._right.decide(Permission.READ, facts).allowed

    def _shown(self, row: Any) -> Any:
        """Return a row without the names of nodes, clusters and networks that may not be seen."""
        hidden: dict[str, Any] = {**self._hidden_place(getattr(row, "cluster", None), getattr(row, "node", None))}
        if isinstance(row, NicRow | TenantRow) and row.network and not self._sees_network(row.network):
            hidden |= {"network": None} | ({"network_id": None} if isinstance(row, NicRow) else {})
        if isinstance(row, Tenant):
            hidden["nodes"] = tuple(map(self._shown_tenant_node, row.nodes))
        if getattr(row, "interface_network", None) is not None and not self._sees_network(""):
            hidden["interface_network"] = None
        return row.model_copy(update=hidden) if hidden else row

    def _shown_tenant_node(self, node: TenantNode) -> TenantNode:
        hidden = self._hidden_place(None, node.host_node)
        return node.model_copy(update={"host_node": None}) if hidden else node

    def _shown_of_system(self, row: Any) -> Any:
        """Return a row without the clusters, and the VM of a NAS, that may not be seen; of the VM the name decides."""
        if isinstance(row, Tier):
            seen = (part for part in row.clusters if not self._hidden_place(part.cluster, None))
            return row.model_copy(update={"clusters": tuple(seen)})
        vm: Facts = {"kind": ("vm",), "site": (self._site,), "name": one(getattr(row, "nas", None))}
        if vm["name"] and not self._right.blind_to(UNTOLD).decide(Permission.READ, vm).allowed:
            return row.model_copy(update={"nas": None})
        return row

    def _hidden_place(self, cluster: str | None, node: str | None) -> Mapping[str, None]:
        """Return what of a place may not be seen; of thousands of rows most are at a place of another one."""
        hidden = self._places.get((cluster, node))
        if hidden is None:
            hidden = self._places[cluster, node] = {}
            site, where, on = (self._site,), one(cluster), one(node)
            if where and not self._sees({"kind": ("cluster",), "site": site, "cluster": where}):
                hidden["cluster"] = None
            if on and not self._sees({"kind": ("node",), "site": site, "node": on, "cluster": self._cluster_of(node)}):
                hidden["node"] = None
        return hidden

    def _cluster_of(self, node: str | None) -> tuple[str, ...]:
        """Return the cluster that a node belongs to, where it is known."""
        nodes = self._known.get(NODES.name)
        return tuple(row.cluster for row in (nodes.by_name.get(node, ()) if nodes and node else ()) if row.cluster)

    def _sees_network(self, name: str) -> bool:
        return self._sees({"kind": ("network",), "site": (self._site,), "network": one(name)})


@dataclasses.dataclass(frozen=True)
class Looked:
    """What somebody of one right saw of a list lately, of all the rows that it had before, also by their keys.

    It was `made_of` readings of other views besides.
    """

    made_of: tuple[tuple[int, float], ...]
    before: tuple[Any, ...]
    before_by_key: Mapping[int | str, Any]
    seen: Rows[Any]

    def again(self, rows: Rows[Any]) -> Rows[Any]:
        """Return what is seen of the very same rows, as fresh as those."""
        seen = self.seen
        return dataclasses.replace(rows, rows=seen.rows, by_key=seen.by_key, by_name=seen.by_name).bare()

    def first(self, view: View[Any], keep: Keep) -> Keep:
        """Return what does as `keep`, but for rows that are still the same."""

        def known(row: Any) -> Any:
            key = view.key(row)
            return self.seen.by_key.get(key) if self.before_by_key.get(key) is row else keep(row)

        return known


async def job_filter(views: Reads, right: Right, site: str) -> Callable[[Job], bool]:
    """Return what tells whether a job's object may be seen.

    One that is gone is judged by its name alone, and so is every one while VergeOS cannot be asked: what a denial
    asks besides may hold.
    """
    sight, blind, lists = Sight(right, site), right.blind_to(UNTOLD), dict[str, tuple[Rows[Any], Rows[Any]]]()
    for kind in ("vm", "network", "tenant"):
        try:
            for needed in sight.needs(LISTS[kind]):
                sight.learn(needed, await views.rows(needed))
            everything = await views.rows(LISTS[kind])
        except UpstreamError:
            continue
        lists[kind] = everything, await sight.look(LISTS[kind], everything)

    def seen(job: Job) -> bool:
        everything, shown = lists.get(job.target.kind, (None, None))
        if everything is not None and shown is not None and job.target.key in everything.by_key:
            return job.target.key in shown.by_key
        known = blind if job.target.kind == "vm" else right
        return known.decide(Permission.READ, bare_facts(job.target, site)).allowed

    return seen
