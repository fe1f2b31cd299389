"""Over stdio the first answer names the jobs that were unfinished before: an earlier client's, or one's beside it."""

from collections.abc import Sequence

import mcp_types as t

from gateway.core.errors import StoreError
from gateway.core.job import Job
from gateway.transports.mcp_door import Context, Door

SHOWN = 5


class Leftovers:
    """What the one client over stdio is told once; clients over HTTP share their gateway and hear nothing."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._told = False

    async def found(self, ctx: Context) -> Sequence[Job]:
        """Return the jobs that have not ended, as long as the client has not been told."""
        if ctx.request is not None or self._told:
            return ()
        try:
            jobs = await self._door.services_of().jobs.open()
        except StoreError:
            return ()
        self._told = not jobs
        return jobs

    def named(self, jobs: Sequence[Job], result: t.CallToolResult) -> t.CallToolResult:
        """Return a result that names these jobs after what it says."""
        if not jobs or self._told:
            return result
        self._told = True
        return result.model_copy(update={"content": [*result.content, t.TextContent(text=_words(jobs))]})


def _words(jobs: Sequence[Job]) -> str:
    named = [f"{job.id} ({job.tool} {job.target.name}, {job.phase or job.state})" for job in jobs[:SHOWN]]
    more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
    return f"Unfinished jobs from before this conversation: {', '.join(named)}{more}. They go on; follow with get_job."
