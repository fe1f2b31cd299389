"""Tools that join several reads into one answer: find, overview, diagnoses, history."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Reading, Source
from gateway.core.drive import DriveRow
from gateway.core.job import Job
from gateway.core.journal import Alarm
from gateway.core.overview import Diagnosis, Hit, Moment, Overview, hidden_part
from gateway.core.tool import Effect, tool
from gateway.store.job_pages import Wanted, page_of_jobs
from gateway.tools.listing import holds
from gateway.tools.parameters import TenantRef, VmRef
from gateway.tools.submitting import resolve
from gateway.vergeos.journal import LogQuery
from gateway.views import Rows
from gateway.views.cluster import COUNTS, NODES, tier_fill
from gateway.views.inventory import resolve as resolve_kind
from gateway.views.journal import ALARMS, active_alarms, log_view
from gateway.views.networks import NETWORKS
from gateway.views.reads import Reads
from gateway.views.tenants import TENANTS, WHOLE_TENANT_KIND, tenant_view
from gateway.views.vm_parts import drives_view, nics_view, snapshots_view

SHOWN = 5
LOG_LINES = 10
GRAVE = ("critical", "error", "warning")


@tool("GET /find", permission=Permission.READ, effect=Effect.READ)
async def find(
    views: Reads,
    *,
    name: Annotated[str, Field(min_length=1, max_length=128, description="part of a name, any case")],
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
) -> Page[Hit]:
    """Find VMs, networks, tenants and nodes by part of a name; answers their ids. Use it when a name is not exact."""
    vms, networks, tenants, nodes = await asyncio.gather(
        views.vms(), views.rows(NETWORKS), views.rows(TENANTS), views.rows(NODES)
    )
    hits = [
        *(Hit(kind="vm", id=row.id, name=row.name, status=row.status) for row in vms.rows if holds(name, row.name)),
        *(Hit(kind="network", id=n.id, name=n.name, status=n.status) for n in networks.rows if holds(name, n.name)),
        *(Hit(kind="tenant", id=t.id, name=t.name, status=t.status) for t in tenants.rows if holds(name, t.name)),
        *(Hit(kind="node", id=n.id, name=n.name, status=n.status) for n in nodes.rows if holds(name, n.name)),
    ]
    as_of, source = _freshness(vms, networks, tenants, nodes)
    return Page(items=tuple(hits[:limit]), total=len(hits), as_of=as_of, source=source)


@tool("GET /overview", permission=Permission.READ, effect=Effect.READ)
async def get_overview(call: Call) -> Reading[Overview]:
    """Show the whole system on one screen: counts, alarms, storage, nodes in trouble, open jobs, who you are."""
    services, views = call.services, call.views
    vms, networks, tenants, nodes, alarms, counts = await asyncio.gather(
        views.vms(),
        views.rows(NETWORKS),
        views.rows(TENANTS),
        views.rows(NODES),
        views.rows(ALARMS),
        views.rows(COUNTS),
    )
    tiers, now = await tier_fill(views), await services.jobs.now()
    seen = await services.seen_jobs(call.caller)
    jobs = await page_of_jobs(services.jobs, Wanted(open_only=True, keep=seen), limit=SHOWN)
    raised, since = active_alarms(alarms), await services.watching.blind_since()
    freeze = await services.freezing.present()
    as_of, source = _freshness(vms, networks, tenants, nodes, alarms, counts)
    overview = Overview(
        vms=len(vms.rows),
        vms_running=sum(bool(row.running) for row in vms.rows),
        networks=len(networks.rows),
        tenants=len(tenants.rows),
        nodes=len(nodes.rows),
        nodes_in_trouble=tuple(f"{node.name}: {', '.join(node.trouble)}" for node in nodes.rows if node.trouble),
        alarms=tuple(_alarm(alarm) for alarm in sorted(raised, key=_gravity)[:SHOWN]),
        alarms_total=len(raised),
        tiers_used_percent={str(tier): round(used, 1) for tier, used in tiers.items()},
        jobs_open=jobs.total,
        jobs=tuple(_job(job) for job in jobs.jobs),
        you=call.caller.name,
        you_may=tuple(sorted(call.caller.permissions)),
        oldest_seconds=round(max(now - as_of, 0.0), 1),
        unseen_seconds=None if since is None else round(max(now - since, 0.0), 1),
        requests_left=services.vergeos.governor.requests_left,
        outage=await services.outage(of_all=seen is None),
        frozen=None if freeze is None else freeze.told(),
        hidden=None
        if views.limited
        else hidden_part(counts.rows, vms=len(vms.rows), nodes=len(nodes.rows), tenants=len(tenants.rows)),
    )
    return Reading(value=overview, as_of=as_of, source=source)


@tool("GET /vms/{id}/diagnosis", permission=Permission.READ, effect=Effect.READ)
async def diagnose_vm(call: Call, *, id: VmRef) -> Reading[Diagnosis]:
    """Find out what is wrong with a VM: state, host, drives, NICs, snapshots, alarms, log; the worst first."""
    views = call.views
    row = await resolve(call, id)
    reading = await views.vm(row.id)
    vm = reading.value
    signs = {
        f"status is {vm.status}": vm.status not in {"running", "stopped"},
        "it is disabled": not vm.enabled,
        "a change awaits a power cycle": vm.need_restart,
        "it has no guest agent": vm.running is True and not vm.guest_agent,
    }
    wrong, parts = _shown(signs), {}
    if vm.machine_id is not None:
        drives, nics, snapshots = await asyncio.gather(
            views.rows(drives_view(vm.id, vm.machine_id)),
            views.rows(nics_view(vm.id, vm.machine_id)),
            views.rows(snapshots_view(vm.id, vm.machine_id)),
        )
        wrong += await _wrong_drives(call, drives.rows)
        parts = {"drives": _dumped(drives.rows), "nics": _dumped(nics.rows), "snapshots": _dumped(snapshots.rows)}
    state = vm.model_dump(mode="json", exclude_none=True)
    diagnosis = await _diagnosis(call, "vm", state, wrong, parts, {vm.id})
    return Reading(value=diagnosis, as_of=reading.as_of, source=reading.source)


async def _wrong_drives(call: Call, drives: Sequence[DriveRow]) -> list[str]:
    fill, tight = await tier_fill(call.views), call.services.settings.storage_tight_percent
    told = [f"drive {drive.name} is {drive.status}" for drive in drives if drive.status in {"error", "offline"}]
    for drive in drives:
        used = fill.get(drive.tier, 0.0) if drive.tier is not None else 0.0
        if used > tight:
            told.append(f"drive {drive.name} is on tier {drive.tier}, which is {used:.0f} % full")
    return told


@tool("GET /tenants/{id}/diagnosis", permission=Permission.READ, effect=Effect.READ)
async def diagnose_tenant(call: Call, *, id: TenantRef) -> Reading[Diagnosis]:
    """Find out what is wrong with a tenant: state, nodes, storage, alarms, log; the worst first."""
    views, tight = call.views, call.services.settings.storage_tight_percent
    row = await resolve_kind(views, WHOLE_TENANT_KIND, id)
    reading = await views.one(tenant_view(row.id))
    tenant = reading.value
    wrong = _shown({f"status is {tenant.status}": tenant.running is not True})
    wrong += [f"node {node.name} is {node.status}" for node in tenant.nodes if node.enabled and node.running is False]
    for part in tenant.storage:
        if part.used_percent is not None and part.used_percent > tight:
            wrong.append(f"storage of tier {part.tier} is {part.used_percent:.0f} % used")
    state = tenant.model_dump(mode="json", exclude={"nodes", "storage"}, exclude_none=True)
    parts = {"nodes": _dumped(tenant.nodes), "storage": _dumped(tenant.storage)}
    diagnosis = await _diagnosis(call, "tenant", state, wrong, parts, {node.id for node in tenant.nodes})
    return Reading(value=diagnosis, as_of=reading.as_of, source=reading.source)


async def _diagnosis(
    call: Call,
    kind: Literal["vm", "tenant"],
    state: dict[str, Any],
    wrong: list[str],
    parts: dict[str, tuple[dict[str, Any], ...]],
    alarm_owners: set[int],
) -> Diagnosis:
    """Join what is known of an object with its alarms, its lines of the log and its jobs."""
    views, owner = call.views, {"vm": "vm", "tenant": "tenant_node"}[kind]
    about = LogQuery(LOG_LINES, object_type=kind, object=state["name"])
    alarms, log = await asyncio.gather(views.rows(ALARMS), views.rows(log_view(about)))
    own = [alarm for alarm in active_alarms(alarms) if alarm.object_type == owner and alarm.object_id in alarm_owners]
    own.sort(key=_gravity)
    return Diagnosis(
        kind=kind,
        id=state["id"],
        name=state["name"],
        wrong=(*(_alarm(alarm) for alarm in own), *wrong),
        state={name: value for name, value in state.items() if name not in {"id", "name"}},
        parts=parts,
        log=tuple(f"{line.level}: {line.text}" for line in log.rows[:LOG_LINES]),
        jobs=tuple(_job(job) for job in await call.services.jobs.open_on(f"{kind}:{state['id']}")),
    )


@tool("GET /history", permission=Permission.READ, effect=Effect.READ)
async def history(
    call: Call,
    *,
    vm: VmRef,
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
) -> Page[Moment]:
    """Show what happened to a VM, newest first: our jobs and VergeOS' own log lines in one time line, marked whose."""
    row = await resolve(call, vm)
    jobs = (await page_of_jobs(call.services.jobs, Wanted(target=f"vm:{row.id}"), limit=limit)).jobs
    log = await call.views.rows(log_view(LogQuery(limit, object_type="vm", object=row.name)))
    moments = [
        Moment(
            at=round(job.created_at, 3),
            whose="gateway",
            what=f"{job.tool}: {job.state}, {job.detail}",
            by=job.owner,
            job=job.id,
        )
        for job in jobs
    ]
    moments += [Moment(at=line.logged_at, whose="vergeos", what=line.text, by=line.user) for line in log.rows]
    moments.sort(key=lambda moment: moment.at, reverse=True)
    return Page(items=tuple(moments[:limit]), total=len(moments), as_of=log.as_of, source=log.source)


def _freshness(*read: Rows[Any]) -> tuple[float, Source]:
    """Return the time of the oldest of these reads, and the worst of their sources."""
    sources = {rows.source for rows in read}
    worst = next(source for source in (Source.STALE, Source.CACHE, Source.LIVE) if source in sources)
    return min(rows.as_of for rows in read), worst


def _gravity(alarm: Alarm) -> int:
    return GRAVE.index(alarm.level) if alarm.level in GRAVE else len(GRAVE)


def _alarm(alarm: Alarm) -> str:
    about = f" {alarm.object}" if alarm.object else ""
    return f"{alarm.level}{about}: {alarm.text or alarm.type}"


def _job(job: Job) -> str:
    return f"{job.id} {job.tool} {job.target.name}: {job.detail}"


def _shown(signs: dict[str, bool]) -> list[str]:
    return [sign for sign, shows in signs.items() if shows]


def _dumped(rows: Sequence[BaseModel]) -> tuple[dict[str, Any], ...]:
    return tuple(row.model_dump(mode="json", exclude_none=True) for row in rows)


TOOLS = (find, get_overview, diagnose_vm, diagnose_tenant, history)
