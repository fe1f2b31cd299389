"""Two wishes on one object: join, wait in order, go first, or be refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.errors import TargetBusy
from gateway.core.job import Job
from gateway.core.wishes import Wish


@dataclass(frozen=True)
class Join:
    """The same is already under way: this job."""

    job: Job


@dataclass(frozen=True)
class Queue:
    """Accepted; it goes before the job `before`, or behind all where that is None."""

    before: Job | None = None


def admit(wish: Wish, open_jobs: Sequence[Job], *, again: bool = False, after: str | None = None) -> Join | Queue:
    """Decide about a new wish on an object, given its open jobs in their order.

    A wish whose `after` names an open job goes behind all. Raises `TargetBusy` where an open job wants the opposite
    and `after` does not name an open job.
    """
    standing = [job for job in open_jobs if job.cancel is None]
    behind = after in {job.id for job in open_jobs}
    last = next((job for job in reversed(standing) if job.wish == wish or wish.opposes(job.wish)), None)
    if last is not None and last.wish == wish and not again and after is None:
        return Join(last)
    opposite = next((job for job in standing if wish.opposes(job.wish)), None)
    if opposite is not None and not behind:
        raise TargetBusy(
            f"{opposite.target.name}: {opposite.owner}'s {opposite.tool} is {opposite.phase}"
            f"{': ' + opposite.detail if opposite.detail else ''}",
            next_step=f"Wait for job {opposite.id}, cancel it, or call again with after={opposite.id}.",
            job=opposite.id,
            owner=opposite.owner,
            since=round(opposite.created_at, 3),
        )
    overtaken = next((job for job in open_jobs if job.wish.kind in wish.overtakes), None)
    return Queue(before=None if behind else overtaken)
