"""Tools about jobs."""

from typing import Annotated

from pydantic import Field

from gateway.calls import Call, awaited
from gateway.core.access import Permission
from gateway.core.answer import CursorPage, Source
from gateway.core.job import Job, JobState, JobView
from gateway.core.tool import Effect, tool
from gateway.store.job_pages import Wanted, page_of_jobs, unknown_cursor
from gateway.tools.parameters import JobId, Limit, Ref
from gateway.views.inventory import matches, parse_ref

MOST_WAIT_SECONDS = 45  # agents' clients hang up after 60 s
CURSOR_LIMIT = 400
OPEN = frozenset({JobState.WORKING, JobState.INPUT_REQUIRED})

Moment = Annotated[float | None, Field(ge=0, description="Unix seconds")]


@tool("GET /jobs/{id}", permission=Permission.READ, effect=Effect.READ)
async def get_job(
    call: Call,
    *,
    id: JobId,
    wait: Annotated[float, Field(ge=0, le=MOST_WAIT_SECONDS, description="seconds to wait for its end")] = 0,
    details: Annotated[bool, Field(description="also arguments, acts, requests, before and after, events")] = False,
) -> JobView:
    """Show how a job stands, or wait up to 45 s for its end. Use it after any tool that answers a job."""
    await call.services.job_for(call.caller, id)
    view = await call.services.follow(call.caller, id, wait, call.report)
    return view.model_copy(update={"details": await call.services.details(id)}) if details else view


@tool("GET /jobs", permission=Permission.READ, effect=Effect.READ)
async def list_jobs(
    call: Call,
    *,
    state: Annotated[JobState | None, Field(description="only jobs in this state")] = None,
    vm: Annotated[Ref | None, Field(description="only jobs on this VM, by id or name")] = None,
    caller: Annotated[str | None, Field(max_length=200, description="only jobs of this caller")] = None,
    tool: Annotated[str | None, Field(max_length=64, description="only jobs made by this tool")] = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 20,
    offset: Annotated[int, Field(ge=0, le=10**9, description="rows to skip")] = 0,
    cursor: Annotated[str | None, Field(max_length=CURSOR_LIMIT, description="`next` of the last answer")] = None,
) -> CursorPage[JobView]:
    """List jobs, newest first: what runs, what waits for whom, what ended and how."""
    services = call.services
    ref, seen = None if vm is None else parse_ref(vm), await services.seen_jobs(call.caller)

    def keep(job: Job) -> bool:
        return (
            (seen is None or seen(job))
            and (state is None or job.state is state)
            and (vm is None or matches(vm, job.target.key, job.target.name))
            and (caller is None or job.belongs_to(caller))
            and (tool is None or job.tool == tool)
        )

    wanted = Wanted(
        target=f"vm:{ref}" if isinstance(ref, int) else None,
        open_only=state in OPEN and ref is None,
        since=since,
        until=until,
        keep=None if (state, vm, caller, tool, seen) == (None,) * 5 else keep,
    )
    sealed = seen is not None or call.caller.standing is not None
    at = await _opened(call, cursor) if sealed and cursor is not None else cursor
    found = await page_of_jobs(services.jobs, wanted, limit=limit, offset=offset, cursor=at)
    return CursorPage(
        items=tuple(await services.show_all(found.jobs)),
        total=found.total,
        next=await _sealed(call, found.next) if sealed and found.next is not None else found.next,
        as_of=await services.jobs.now(),
        source=Source.LIVE,
        note=await services.outage(of_all=seen is None),
    )


async def _sealed(call: Call, job_id: str) -> str:
    """Return the cursor of one caller alone; it names no job, for a page may end at one that he does not see."""
    return await call.services.sealing.seal(f"{job_id} {call.caller.name}".encode())


async def _opened(call: Call, cursor: str) -> str:
    """Return the job that a sealed cursor names; raise `InvalidArgument` for one that was not made for this caller."""
    end = f" {call.caller.name}".encode()
    content = await call.services.sealing.unseal(cursor, max_age_seconds=None, fits=lambda told: told.endswith(end))
    if content is None:
        raise unknown_cursor()
    return content.removesuffix(end).decode()


@tool("POST /jobs/{id}/cancel", permission=Permission.OPERATE, effect=Effect.CHANGE)
async def cancel_job(call: Call, *, id: JobId) -> JobView:
    """Withdraw a job: what has not begun never happens; a resize brings the VM back as it was."""
    services, caller = call.services, call.caller
    job = await services.job_for(caller, id)
    mine = job.belongs_to(caller.name) or job.owner.startswith(f"{caller.name}/")  # his own, or his agent's
    if not mine:
        await services.require_on(caller, {Permission.OPERATE, *job.needs}, job.target)
    others = all(map(caller.may, {Permission.OPERATE, *job.needs}))
    job = await services.jobs.cancel(id, caller.name, may_others=mine or others)
    return await awaited(call, job.id, 5.0)


TOOLS = (get_job, list_jobs, cancel_job)
