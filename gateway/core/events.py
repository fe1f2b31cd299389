"""What happened to a job, one event a save."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from gateway.core.job import Job, JobState, Phase, Problem


class JobEvent(BaseModel):
    """One change of a job; `seq` counts a job's events from 1, `at` is Redis' Unix seconds."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    seq: int
    at: float
    state: JobState
    phase: Phase | None = None
    detail: str = ""
    question: str | None = None
    result: dict[str, Any] | None = None
    problem: Problem | None = None

    @classmethod
    def of(cls, job: Job) -> "JobEvent":
        """Return the event that tells the job's present state."""
        return cls(
            job_id=job.id,
            seq=job.seq,
            at=round(job.updated_at, 3),
            state=job.state,
            phase=None if job.state.final else job.phase,
            detail=job.detail,
            question=job.asks.text if job.asks else None,
            result=job.result,
            problem=job.trouble,
        )
