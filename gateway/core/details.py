"""All that a job's record tells: who, with what, what was sent, what changed, and every event."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from gateway.core.events import JobEvent
from gateway.core.job import Act, Condition, Job
from gateway.core.trail import UpstreamCall


class JobDetails(BaseModel):
    """What stands behind a job's view; times are Unix seconds. `calls` are the newest requests to VergeOS.

    What one request looks at for all waiting jobs is no job's own.
    """

    model_config = ConfigDict(frozen=True)

    face: str
    client: str
    arguments: dict[str, Any]
    uuid: str
    begun_at: float | None
    updated_at: float
    agent: str | None
    cancelled_by: str | None
    acts: tuple[Act, ...]
    before: Condition | None
    after: Condition | None
    calls: tuple[UpstreamCall, ...]
    events: tuple[JobEvent, ...]


def details(job: Job, calls: Sequence[UpstreamCall], events: Sequence[JobEvent]) -> dict[str, Any]:
    """Return a job's details, ready for JSON and without what says nothing."""
    told = JobDetails(
        face=job.face,
        client=job.client,
        arguments=job.arguments,
        uuid=job.target.uuid,
        begun_at=job.begun_at,
        updated_at=job.updated_at,
        agent=job.agent,
        cancelled_by=None if job.cancel is None else job.cancel.by,
        acts=job.acts,
        before=job.before,
        after=job.at_end,
        calls=tuple(calls),
        events=tuple(events),
    )
    return told.model_dump(mode="json", exclude_none=True)
