"""What a step asks of VergeOS and does to it: the one place where a job's words become requests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from gateway.core.audit import shown_arguments
from gateway.core.drive import DriveLook
from gateway.core.errors import UpstreamError, VergeOSForbidden, VergeOSNotFound, VergeOSUnauthorized
from gateway.core.ids import MachineKey, NetworkKey, TenantKey, VmKey
from gateway.core.job import Act, Job, Live
from gateway.core.snapshot import SnapshotLook
from gateway.core.step import Look, Part, Seen
from gateway.core.text import clean
from gateway.core.trail import Sent, kept, note
from gateway.services import Services
from gateway.vergeos import drives, networks, nodes, snapshots, tenants, vms
from gateway.vergeos.client import VergeClient
from gateway.vergeos.looks import live
from gateway.vergeos.together import together
from worker.footprints import asked_in_log

OWNER_LIMIT = 80  # of a name in what VergeOS keeps
EXPLAINING_LINES = 3

Perform = Callable[[VergeClient, Job, Act], Awaitable[int | None]]


async def look(services: Services, job: Job, wanted: Look) -> Seen:
    """Return a live look at a job's object, with what else the decider asked for. Raises `UpstreamError`.

    What can be asked side by side is: a slow VergeOS must fit into the time of a step.
    """
    at = await services.jobs.now()
    if wanted.partial and wanted.part is not None and job.before is not None:
        await services.site.require()
        part_alone, before = await _part(services.vergeos, job, wanted.part), job.before
        return Seen(at, before.running, "", before.started_at, sought=True, part=part_alone, partial=True)
    if services.vergeos.governor.health.open_since is not None:
        await services.site.require()  # alone: only one request may try, and the others' refusal would cut it off
    async with together() as group:
        group.create_task(services.site.require())
        looking = group.create_task(_found(services.vergeos, job))
        log = group.create_task(_in_log(services, job, wanted.log)) if wanted.log and wanted.part is None else None
        part = group.create_task(_part(services.vergeos, job, wanted.part)) if wanted.part is not None else None
    found = looking.result()
    if found is None:
        return Seen(at=at, running=False, status="gone", gone=True, sought=part is not None)
    seen = Seen.of(found, at)
    if log is not None:
        seen = replace(seen, asked_in_log=log.result())
    if part is not None:
        seen = replace(seen, sought=True, part=part.result())
        if wanted.log:
            seen = replace(seen, asked_in_log=await _in_log(services, job, wanted.log, part.result()))
    if wanted.rooms and seen.vm is not None:
        seen = replace(seen, rooms=True, room_mb=await nodes.most_free_ram_mb(services.vergeos, seen.vm))
    return seen


async def _found(client: VergeClient, job: Job) -> Live | None:
    """Return the job's object as VergeOS has it now, None where it is gone."""
    try:
        return await live(client, job.target)
    except VergeOSNotFound:
        return None


async def _part(client: VergeClient, job: Job, part: Part) -> DriveLook | SnapshotLook | None:
    """Return a drive or snapshot of the job's VM, by its key or by the job's mark on it."""
    machine = _machine(job)
    if part.kind == "drive":
        if part.key is None:
            return await drives.find_drive(client, machine, mark(job))
        return await drives.look_drive(client, part.key)
    if part.key is None:
        return await snapshots.find_snapshot(client, machine, mark(job))
    return await snapshots.look_snapshot(client, part.key, with_vm=job.wish.kind == "restore_snapshot")


def mark(job: Job) -> str:
    """Return what is written into VergeOS with everything that a job creates, so that looking finds it."""
    return f"[job {job.id}]"


def _marked(job: Job, act: Act) -> str:
    """Return the description of what a job creates: the caller's words, who he is, and the job's mark."""
    return f"{act.params['description']} (by {clean(job.owner, OWNER_LIMIT)}) {mark(job)}".strip()


def _machine(job: Job) -> MachineKey:
    return MachineKey(job.target.machine_key or 0)


async def perform(services: Services, job: Job, act: Act) -> int | None:
    """Send one act to VergeOS; return the key of what it created.

    Raises `UpstreamError`; its `maybe_done` tells whether the act may have happened.
    """
    try:
        return await _sent_as(services, job, act, job.writes_as)
    except (VergeOSUnauthorized, VergeOSForbidden) as refusal:
        if not job.writes_as:
            raise
        if act.mends:  # whoever lost his key meanwhile must not leave a VM off
            return await _sent_as(services, job, act, "")
        told = f"with the VergeOS key of {job.writes_as}: {refusal.detail}"
        raise VergeOSForbidden(told, next_step="Enrol a VergeOS key that may do this.") from None


async def _sent_as(services: Services, job: Job, act: Act, person: str) -> int | None:
    """Send one act with the VergeOS key of a person, "" the gateway's own; return the key of what it created."""
    client = await services.writers.client(person)
    if client is None:
        raise VergeOSForbidden(f"{person} has no VergeOS key enrolled any more")
    patient = client.patient(wait=True)  # the look before it has paid its turn: do not waste that
    async with _told(services, job, act, person) as told:
        made = await ACTIONS.get(act.action, POWER[job.target.kind])(patient, job, act)
        told["made"] = made
    return made


@asynccontextmanager
async def _told(services: Services, job: Job, act: Act, person: str) -> AsyncIterator[dict[str, Any]]:
    """Tell the audit of an act before it is sent, and how it was answered. Raises `StoreError` where it cannot."""
    target = job.target.model_dump(include={"kind", "key", "name"})
    about = {"job": job.id, "act": act.label, "action": act.action}
    by = {"by": job.owner, "agent": job.agent, "written_as": person or "service", "tool": job.tool, "target": target}
    await services.audit.record_first("act", **about, **by, arguments=shown_arguments(act.params))
    answer: dict[str, Any] = {"outcome": "cancelled"}
    sent: list[Sent] = []
    try:
        with kept() as sent:
            yield answer
        answer["outcome"] = "ok"
    except UpstreamError as error:
        answer |= {"outcome": error.code, "detail": error.detail}
        raise
    finally:
        calls = [{"method": s.method, "endpoint": s.endpoint, "outcome": s.outcome} for s in sent]
        services.audit.record("answer", **about, **answer, calls=calls)
        for request in sent:
            note(request)


def tell_end(services: Services, job: Job) -> None:
    """Tell the audit how a job ended, and how its object was before and is after it."""
    before, after = (seen and seen.model_dump(exclude_none=True) for seen in (job.before, job.at_end))
    told = {"state": job.state.value, "detail": job.detail, "before": before, "after": after}
    services.audit.record("end", job=job.id, by=job.owner, tool=job.tool, **told)


async def _vm_action(client: VergeClient, job: Job, act: Act) -> None:
    await vms.vm_action(client, VmKey(job.target.key), act.action, act.params)


async def _network_action(client: VergeClient, job: Job, act: Act) -> None:
    await networks.vnet_action(client, NetworkKey(job.target.key), act.action, act.params)


async def _tenant_action(client: VergeClient, job: Job, act: Act) -> None:
    await tenants.tenant_action(client, TenantKey(job.target.key), act.action, act.params)


async def _set_size(client: VergeClient, job: Job, act: Act) -> None:
    await vms.set_vm_size(client, VmKey(job.target.key), **act.params)


async def _create_drive(client: VergeClient, job: Job, act: Act) -> int:
    return await drives.create_drive(client, _machine(job), **{**act.params, "description": _marked(job, act)})


async def _resize_drive(client: VergeClient, _job: Job, act: Act) -> None:
    await drives.set_drive_size(client, act.params["drive_key"], act.params["size_bytes"])


async def _create_snapshot(client: VergeClient, job: Job, act: Act) -> int:
    return await snapshots.create_snapshot(client, _machine(job), **{**act.params, "description": _marked(job, act)})


async def _delete_snapshot(client: VergeClient, _job: Job, act: Act) -> None:
    await snapshots.delete_snapshot(client, act.params["snapshot_key"])


async def _restore(client: VergeClient, _job: Job, act: Act) -> None:
    await snapshots.restore_snapshot(client, VmKey(act.params["snapshot_vm"]), act.params["snapshot_key"])


POWER: Mapping[str, Perform] = {"vm": _vm_action, "network": _network_action, "tenant": _tenant_action}
ACTIONS: Mapping[str, Perform] = {
    "set_size": _set_size,
    "create_drive": _create_drive,
    "resize_drive": _resize_drive,
    "create_snapshot": _create_snapshot,
    "delete_snapshot": _delete_snapshot,
    "restore": _restore,
}


async def explanation(services: Services, job: Job) -> str:
    """Return the last lines of the machine's own log, newest first: the only place that tells why a start failed."""
    if job.target.machine_key is None:
        return ""
    lines = await vms.recent_machine_log(services.vergeos, _machine(job), EXPLAINING_LINES)
    return " / ".join(line.text for line in lines)


async def _in_log(services: Services, job: Job, action: str, part: DriveLook | SnapshotLook | None = None) -> bool:
    """Tell whether VergeOS' log shows that the action was asked for; a restore goes to its snapshot's own VM row."""
    own = None if job.target.machine_key is None else _machine(job)
    copy = part.copy_machine if isinstance(part, SnapshotLook) else None
    return await asked_in_log(services, job, action, *(MachineKey(key) for key in (own, copy) if key is not None))
