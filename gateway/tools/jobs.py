"""Tools about jobs."""

from typing import Annotated

from pydantic import Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Source
from gateway.core.job import Job, JobState, JobView
from gateway.core.tool import Effect, tool
from gateway.tools.parameters import JobId, Limit, Offset, Ref
from gateway.views.inventory import matches

MOST_WAIT_SECONDS = 45  # agents' clients hang up after 60 s


@tool("GET /jobs/{id}", permission=Permission.READ, effect=Effect.READ)
async def get_job(
    call: Call,
    *,
    id: JobId,
    wait: Annotated[float, Field(ge=0, le=MOST_WAIT_SECONDS, description="seconds to wait for its end")] = 0,
    details: Annotated[
        bool, Field(description="add arguments, acts, requests to VergeOS, before, after, events")
    ] = False,
) -> JobView:
    """Show how a job stands, or wait up to 45 s for its end. Use it after any tool that answers a job."""
    view = await call.services.follow(id, wait, call.report)
    return view.model_copy(update={"details": await call.services.details(id)}) if details else view


@tool("GET /jobs", permission=Permission.READ, effect=Effect.READ)
async def list_jobs(
    call: Call,
    *,
    state: Annotated[JobState | None, Field(description="only jobs in this state")] = None,
    vm: Annotated[Ref | None, Field(description="only jobs on this VM, by id or name")] = None,
    limit: Limit = 20,
    offset: Offset = 0,
) -> Page[JobView]:
    """List jobs, newest first: what runs, what waits for whom, what ended and how."""
    jobs = call.services.jobs

    def keep(job: Job) -> bool:
        return (state is None or job.state is state) and (vm is None or matches(vm, job.target.key, job.target.name))

    found, total = await jobs.newest(limit=limit, offset=offset, keep=keep)
    end = offset + limit
    return Page(
        items=tuple([await call.services.show(job) for job in found]),
        total=total,
        next=end if end < total else None,
        as_of=await jobs.now(),
        source=Source.LIVE,
    )


@tool("POST /jobs/{id}/cancel", permission=Permission.OPERATE, effect=Effect.CHANGE)
async def cancel_job(call: Call, *, id: JobId) -> JobView:
    """Withdraw a job: what has not begun never happens; a resize brings the VM back as it was."""
    job = await call.services.jobs.cancel(id, call.caller.name, may_others=call.caller.may(Permission.OPERATE))
    return await call.services.follow(job.id, min(call.wait_seconds, 5.0), call.report)


TOOLS = (get_job, list_jobs, cancel_job)
