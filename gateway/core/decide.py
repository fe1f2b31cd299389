"""Which decider belongs to which kind of job, and the rules that hold for all of them."""

from collections.abc import Callable, Mapping

from gateway.core.acting import still_landing
from gateway.core.drives import add_drive, resize_drive
from gateway.core.job import Job, Wished
from gateway.core.power import force_off, power_off, power_on, reset
from gateway.core.resize import resize
from gateway.core.snapshots import create_snapshot, delete_snapshot, restore_snapshot
from gateway.core.step import Ask, Done, Fail, Inquire, Moment, Seen, Step, Stopped, Wait
from gateway.core.switching import network_action, tenant_action
from gateway.core.times import EngineTimes

Decider = Callable[[Job, Seen | None, Moment, EngineTimes], Step]

DECIDERS: Mapping[str, Decider] = {
    "power_on": power_on,
    "power_off": power_off,
    "force_off": force_off,
    "reset": reset,
    "resize": resize,
    "create_snapshot": create_snapshot,
    "delete_snapshot": delete_snapshot,
    "restore_snapshot": restore_snapshot,
    "add_drive": add_drive,
    "resize_drive": resize_drive,
    "network_action": network_action,
    "tenant_action": tenant_action,
}
GAP = "gap"


def before_begun(job: Job, now: Moment, times: EngineTimes) -> Step | None:
    """Return the end of a job that was cancelled or grew old before its first act; needs no look at VergeOS."""
    if job.begun_at is not None:
        return None
    if job.cancel is not None:
        return Stopped(f"cancelled by {job.cancel.by} before anything was done")
    if now.at >= job.created_at + times.begin_within:
        return Fail(
            "expired",
            f"not begun within {times.begin_within:g} s; nothing was done and it will never fire later",
            "Call again if it is still wanted.",
        )
    return None


def held_too_long(job: Job, now: Moment, times: EngineTimes) -> Fail | None:
    """Return the end of a begun job that has not come on for days since VergeOS cannot be asked; None before that.

    What has not begun expires long before. Were VergeOS back after that time, nobody would expect the job to go on.
    """
    if job.begun_at is None or now.at < job.progress_at + times.held_at_most:
        return None
    sent = ", ".join(act.action for act in job.acts)
    return Fail(
        "outcome_unknown",
        f"VergeOS could not be asked for {round((now.at - job.progress_at) / 3600)} h; sent before: {sent}; "
        "nothing more will be done",
        f"Look at {job.target.name} in VergeOS, then call again for what is still wanted.",
    )


def next_step(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide what to do next for a job, from what is known of its object.

    A step that acts or fails is to be decided on a live look; the caller sees to that. A begun job
    that stood still for long asks a person before it goes on, unless it only mends. No job ends while
    a request of its own may still take effect: it would strike whatever comes after.
    """
    if seen is not None and seen.gone and job.act("restore") is None:  # a restored VM cannot be read for a while
        return Fail("target_gone", f"{job.target.name} is no longer there", "Look it up again.")
    step = DECIDERS[job.wish.kind](job, seen, now, times)
    if isinstance(step, Done | Fail | Stopped):
        return still_landing(job, now, times) or step
    if isinstance(step, Ask) and not step.mends and job.begun_at is not None:
        return _gap(job, step, now, times) or step
    return step


def _gap(job: Job, ask: Ask, now: Moment, times: EngineTimes) -> Wait | Inquire | None:
    """Return the question whether to go on after a gap, or the wait for its answer."""
    question = job.question
    if question is not None and question.about == GAP and question.yes is None:
        return Wait(job.phase, question.text, question.expires_at)
    stood_still = now.at - job.progress_at
    if stood_still <= times.gap_asks_after:
        return None
    minutes = round(stood_still / 60)
    return Inquire(f"{job.target.name}: nothing was seen for {minutes} min. Go on with '{ask.action}'?", GAP)


def with_answers(job: Job, now: Moment) -> Job:
    """Return the job with an unanswered question that ran out taken as no, and a no to going on as a cancel."""
    question = job.question
    if question is None:
        return job
    if question.yes is None and now.at >= question.expires_at:
        question = question.model_copy(update={"yes": False, "answered_at": now.at})
        job = job.model_copy(update={"question": question})
    if question.about == GAP and question.yes is False and job.cancel is None:
        refused = Wished(by="nobody", at=now.at, reason="nobody said to go on after the gap")
        return job.model_copy(update={"cancel": refused})
    if question.about == GAP and question.yes and question.answered_at is not None:
        return job.model_copy(update={"progress_at": max(job.progress_at, question.answered_at)})
    return job
