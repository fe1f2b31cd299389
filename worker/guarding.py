"""What stands between a decided step and its act: the freeze and what is protected, asked again before every act."""

from contextlib import suppress

from gateway.core.access import Caller
from gateway.core.errors import (
    Forbidden,
    GatewayError,
    JobEnded,
    NotEnrolled,
    OutsideWindow,
    Protected,
    UnknownJob,
    UpstreamError,
)
from gateway.core.guard import Freeze, brings_back, harmless
from gateway.core.job import Job, Phase
from gateway.core.step import Ask, Fail, Moment, Step, Undo, Wait
from gateway.services import Services
from gateway.store.jobs import Moved
from gateway.telemetry.logs import get_logger

AGAIN = "Call again when the freeze is over."

log = get_logger(__name__)


async def frozen(services: Services, job: Job, now: Moment) -> Step | None:
    """Return the wait of a job that has not begun while all changes are frozen."""
    freeze = await services.freezing.present() if job.begun_at is None else None
    return None if freeze is None else _held(services, freeze, now)


async def permitted(services: Services, job: Job, step: Step, now: Moment) -> Step:
    """Return the step, or what is done in place of an act that is not permitted now.

    What mends is always permitted. A job that may have stopped its object for something else gives that up, and
    brings back what was before; every other one waits for the end of a freeze, and fails on what is protected.
    What began in its window may end after it. Raises `UpstreamError` where a tag decides and VergeOS does not tell it,
    `Moved` where the job is another's from now on.
    """
    if not isinstance(step, Ask) or step.mends:
        return step
    freeze = await services.freezing.present()
    if freeze is not None:
        return Undo("frozen", freeze.told(), AGAIN) if left_between(job) else _held(services, freeze, now)
    try:
        await _require_owner(services, job)
        await _require(services, job, step)
    except (Forbidden, Protected, OutsideWindow) as refusal:
        return _refused(job, refusal, f"'{step.action}' was not asked for")
    return step


async def in_line(services: Services, job: Job) -> Fail | Undo | None:
    """Return the end of a job that waits for its turn and whose owner may not have it any more; raises `Moved`.

    What cannot be told for want of VergeOS is asked again when it is the job's turn.
    """
    try:
        await _require_owner(services, job)
    except Forbidden as refusal:
        return _refused(job, refusal)
    except UpstreamError:
        return None
    return None


def _refused(job: Job, refusal: GatewayError, not_done: str = "") -> Fail | Undo:
    """Return how a job goes on whose next act is not permitted any more."""
    if left_between(job):
        return Undo(refusal.code, refusal.detail, refusal.next_step)
    done = "nothing was done" if job.begun_at is None else not_done
    return Fail(refusal.code, f"{refusal.detail}; {done}", refusal.next_step)


async def _require_owner(services: Services, job: Job) -> None:
    """Raise `Forbidden` where its owner may not have the job done any more and nobody shares it.

    Somebody who does has it from now on, by his own right: then `Moved`.
    """
    try:
        if not await services.writers.holds(job.writes_as):
            raise NotEnrolled(f"{job.writes_as} has no VergeOS key enrolled any more")
        await _require_right(services, job)
    except Forbidden as refusal:
        joiners = (await services.jobs.get(job.id)).joiners  # some may have joined since the step began
        if joiners:
            with suppress(Forbidden, JobEnded, UnknownJob):  # somebody was quicker
                await services.jobs.cancel(job.id, job.owner, may_others=False)
            log.info("job handed over", was=job.owner, now=joiners[0].name, why=refusal.detail)
            raise Moved(job.id) from None
        raise


async def _require_right(services: Services, job: Job) -> None:
    """Raise `Forbidden` where its owner has no longer the right by which the job was accepted."""
    if job.standing is None:
        return
    await services.directory.refresh()
    try:
        await _require_known_right(services, job)
    except Forbidden:  # what was given a moment ago may not be known here yet
        await services.directory.refresh(within=0.0)
        await _require_known_right(services, job)


async def _require_known_right(services: Services, job: Job) -> None:
    right = None if job.standing is None else services.directory.present(job.standing)
    missing = set(job.needs) if right is None else set(job.needs) - right.permissions
    if right is None or missing:
        told = f"{job.owner} has no longer the right to do this"
        raise Forbidden(told, next_step="Ask an administrator of the gateway, then call again.")
    await services.require_on(Caller(job.owner, right.permissions, right=right), job.needs, job.target)


async def _require(services: Services, job: Job, ask: Ask) -> None:
    if job.begun_at is None:
        await services.protection.require(job.target, job.wish, services.jobs.now)
    elif not harmless(job.wish):
        hard_reset = ask.action == "reset" and job.target.kind == "vm" and not ask.params.get("graceful")
        await services.protection.require_touchable(job.target, force=hard_reset or ask.action == "kill")


def left_between(job: Job) -> bool:
    """Tell whether the job has stopped its VM and not yet done what for: it can still bring back what was before."""
    return brings_back(job) and job.act("restore") is None and job.undoing is None


def _held(services: Services, freeze: Freeze, now: Moment) -> Wait:
    again = now.at + services.settings.times.fallback
    return Wait(Phase.HELD, freeze.told(), again if freeze.until is None else min(again, freeze.until))
