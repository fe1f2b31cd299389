"""What stands between a decided step and its act: the freeze and what is protected, asked again before every act."""

from gateway.core.access import Caller
from gateway.core.errors import Forbidden, GatewayError, NotEnrolled, OutsideWindow, Protected
from gateway.core.guard import Freeze, brings_back, harmless
from gateway.core.job import Job, Phase
from gateway.core.step import Ask, Fail, Moment, Step, Undo, Wait
from gateway.services import Services

AGAIN = "Call again when the freeze is over."


async def frozen(services: Services, job: Job, now: Moment) -> Step | None:
    """Return the wait of a job that has not begun while all changes are frozen."""
    freeze = await services.freezing.present() if job.begun_at is None else None
    return None if freeze is None else _held(services, freeze, now)


async def permitted(services: Services, job: Job, step: Step, now: Moment) -> Step:
    """Return the step, or what is done in place of an act that is not permitted now.

    What mends is always permitted. A job that may have stopped its object for something else gives that up, and
    brings back what was before; every other one waits for the end of a freeze, and fails on what is protected.
    What began in its window may end after it. Raises `UpstreamError` where a tag decides and VergeOS does not tell it.
    """
    if not isinstance(step, Ask) or step.mends:
        return step
    freeze = await services.freezing.present()
    if freeze is not None:
        return Undo("frozen", freeze.told(), AGAIN) if left_between(job) else _held(services, freeze, now)
    if not await services.writers.holds(job.writes_as):
        refusal = NotEnrolled(f"{job.writes_as} has no VergeOS key enrolled any more")
        return _refused(job, step, refusal)
    try:
        await _require_right(services, job)
        await _require(services, job, step)
    except (Forbidden, Protected, OutsideWindow) as refusal:
        return _refused(job, step, refusal)
    return step


def _refused(job: Job, ask: Ask, refusal: GatewayError) -> Fail | Undo:
    """Return how a job goes on whose next act is not permitted any more."""
    if left_between(job):
        return Undo(refusal.code, refusal.detail, refusal.next_step)
    done = "nothing was done" if job.begun_at is None else f"'{ask.action}' was not asked for"
    return Fail(refusal.code, f"{refusal.detail}; {done}", refusal.next_step)


async def _require_right(services: Services, job: Job) -> None:
    """Raise `Forbidden` where its owner has no longer the right by which the job was accepted."""
    if job.standing is None:
        return
    await services.directory.refresh()
    right = services.directory.present(job.standing)
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
