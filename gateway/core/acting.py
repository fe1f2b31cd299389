"""What the deciders of all kinds share: acts without an answer, stopping a VM, starting it."""

from typing import cast

from gateway.core.job import Act, Job, Phase
from gateway.core.step import Ask, Confirm, Done, Fail, Inquire, Look, Moment, Recall, Seen, Step, Stopped, Wait
from gateway.core.times import EngineTimes
from gateway.core.wishes import PowerOff, Resize

NOT_STARTING = frozenset({"stopped", "error", "unlicensed", "hibernated"})
STARTING = frozenset({"initializing", "starting"})  # `running` is still false, yet the VM is not off
UNDER_WAY = STARTING | {"stopping"}  # a start that is asked for now is refused


def off(seen: Seen) -> bool:
    """Tell whether the VM is off and nobody is starting it."""
    return not seen.running and seen.status not in STARTING


def waited(act: Act, now: Moment) -> float:
    """Return for how many seconds an act stands answered, not counting the time when VergeOS could not be seen.

    Without an answer it is the plain time since its intent.
    """
    return now.at - act.intended_at if act.patient_at is None else now.patient - act.patient_at


def settled_at(act: Act, now: Moment, times: EngineTimes) -> float:
    """Return when an act without an answer has happened or never will, in Redis' time.

    The time in which VergeOS could not be seen does not count: what stalls may have the request before it still.
    """
    blind = 0.0 if act.patient_intent is None else (now.at - now.patient) - (act.intended_at - act.patient_intent)
    return act.intended_at + times.settle + max(blind, 0.0)


def started_since(act: Act, seen: Seen | None) -> bool:
    """Tell whether the VM was started since the act was intended, whatever became of it after that."""
    return act.started_before is not None and seen is not None and (seen.started_at or 0.0) > act.started_before


def may_have_forgotten(job: Job, now: Moment, times: EngineTimes) -> bool:
    """Tell whether a job without an act may have acted all the same: Redis may have come back from an older copy.

    One that was accepted just now has not. Others look for what they create before they create it.
    """
    return now.at >= job.created_at + times.settle


def once(job: Job, ask: Ask, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Send what must not be sent twice and has no act in the record, unless it was sent and Redis forgot that.

    Nothing but VergeOS' own log tells; whatever it shows, `seen` is a look that is good enough to act on.
    """
    if not may_have_forgotten(job, now, times):
        return ask
    if seen is None or seen.asked_in_log is None:
        return Look(log=ask.action)
    return Recall(ask) if seen.asked_in_log else ask


def unsettled(act: Act, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Return what to do first about an act whose answer never came, None once a late look is there.

    Until the request's time is surely over it may still take effect, so looking earlier proves nothing.
    """
    over_at = settled_at(act, now, times)
    if now.at < over_at:
        return Wait(Phase.ASKED, f"no answer to '{act.action}' yet; looking whether it happened", over_at)
    log = act.action if act.action == "poweroff" else ""  # a guest that ignores it leaves no other trace
    if seen is None or not seen.live or seen.at < over_at or (log and seen.asked_in_log is None):
        return Look(log=log)
    return None


def still_landing(job: Job, now: Moment, times: EngineTimes) -> Wait | None:
    """Wait while a request without an answer may still take effect: what comes next must not meet it."""
    over_at = max((settled_at(act, now, times) for act in job.acts if act.answered_at is None), default=now.at)
    if now.at >= over_at:
        return None
    return Wait(job.phase, "a request without an answer may still take effect; waiting until that is over", over_at)


def shows_poweroff(seen: Seen | None) -> bool:
    """Tell whether a late look shows that the guest was asked to shut down."""
    return seen is not None and (bool(seen.asked_in_log) or seen.status == "stopping")


def poweroff(job: Job, label: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Ask a running VM's guest to shut down; None once VergeOS has answered that it took the request."""
    ask = Ask("poweroff", Phase.ASKED, "asking the guest to shut down", label)
    act = job.act(label)
    if act is None:
        return Look() if seen is None else ask
    if act.answered_at is None:
        return unsettled(act, seen, now, times) or (Confirm(label) if shows_poweroff(seen) else ask)
    return refusal(act, seen)


def kill(job: Job, label: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Cut the power of a VM that is not off, and wait until it is; after a cancel it is not asked for again."""
    name = job.target.name
    ask = Ask("kill", Phase.STOPPING, "cutting the power", label)
    act = job.act(label)
    if act is None:
        return Look() if seen is None else ask
    if act.answered_at is None:
        again: Step = ask if job.cancel is None else Stopped(f"cancelled; the power of {name} was not cut")
        if started_since(act, seen):
            again = Confirm(label)  # it was off meanwhile: who runs now was started by somebody else
        return unsettled(act, seen, now, times) or again
    refused = refusal(act, seen)
    if refused is not None:
        return refused
    left = times.stop_within - waited(act, now)
    if left > 0:
        return Wait(Phase.STOPPING, "power cut; waiting until the VM is off", now.at + left, wake_when="off")
    return Fail("kill_had_no_effect", f"{name} still runs after its power was cut", "Look at the VM in VergeOS.")


def bring_down(
    job: Job, seen: Seen | None, now: Moment, times: EngineTimes, *, soft: str, hard: str, phase: Phase
) -> Step:
    """Shut down a VM that is not off: ask its guest, wait out its grace, then cut the power, ask a person or give up.

    `soft` and `hard` are the labels of the two acts, `phase` is that of the grace. A VM that was started since its
    guest was asked is left alone: whoever started it wants it to run.
    """
    wish, asked = cast("PowerOff | Resize", job.wish), job.act(soft)
    if asked is not None and job.act(hard) is None and started_since(asked, seen):
        return Fail(
            "started_meanwhile",
            f"{job.target.name} was started anew after its guest was asked to shut down; it was not forced",
            "Call again if it is still wanted off.",
        )
    step = poweroff(job, soft, seen, now, times)
    if asked is None or step is not None:
        return step or Look()
    if job.act(hard) is not None:
        return kill(job, hard, seen, now, times)
    patience = wish.wait_seconds or times.watch_unforced
    left = patience - waited(asked, now)
    if left > 0:
        grace = f"waiting up to {patience:g} s for the guest to shut down"
        return Wait(phase, grace, now.at + left, wake_when="off")
    force = may_force(job, wish.force, wish.wait_seconds)
    if isinstance(force, Inquire):
        open_question = job.question is not None and job.question.about == force.about
        return Wait(phase, force.text, job.question.expires_at, "off") if open_question and job.question else force
    if force:
        return kill(job, hard, seen, now, times)
    if seen is None:
        return Look()
    return Fail(
        "still_running",
        f"{job.target.name} still runs {patience:g} s after its guest was asked to shut down; it was not forced",
        "Call again with a longer wait_timeout or with force_after_timeout=true, or use force_off_vm.",
        result={"running": True, "forced": False},
    )


def may_force(job: Job, force: bool | None, grace_seconds: float) -> bool | Inquire:
    """Tell whether the power may be cut after the grace, or what to ask a person first; without a grace never."""
    if grace_seconds <= 0:
        return False
    asked = job.question if job.question is not None and job.question.about == "force" else None
    if force is not None or (asked is not None and asked.yes is not None):
        return bool(force) or bool(asked is not None and asked.yes)
    if not job.may_ask:
        return False
    return Inquire(f"{job.target.name} still runs after {grace_seconds:g} s. Force it off?", "force")


def poweron(
    job: Job, label: str, seen: Seen | None, now: Moment, times: EngineTimes, *, mends: bool = False
) -> Step | None:
    """Start a VM and wait until it runs; None once it was seen running after the answer.

    A start may be answered with OK and fall back to stopped; the reason then stands in the machine's
    log only (VergeOS API notes 3.7).
    """
    ask = Ask("poweron", Phase.STARTING, "starting the VM", label, mends=mends)
    act = job.act(label)
    if act is None:
        return Look() if seen is None else under_way(job, seen, now, times) or ask
    if act.answered_at is None:
        late = unsettled(act, seen, now, times)
        if late is not None:
            return late
        begun = seen is not None and (seen.running or seen.status not in NOT_STARTING or started_since(act, seen))
        return Confirm(label) if begun else ask
    if seen is not None and seen.running:
        return None
    refused = None if seen is not None and seen.status in STARTING else refusal(act, seen)
    return refused or _starting(job, act, act.answered_at, seen, now, times)


def under_way(job: Job, seen: Seen, now: Moment, times: EngineTimes) -> Wait | None:
    """Wait while the VM is between off and on; past `start_within` try all the same."""
    last = max((act.intended_at for act in job.acts), default=job.created_at)
    end = last + times.start_within
    if seen.running or seen.status not in UNDER_WAY or now.at >= end:
        return None
    return Wait(job.phase, f"the VM is '{seen.status}'; waiting for what comes of it", end)


def _starting(job: Job, act: Act, answered_at: float, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Wait until a VM whose start was answered runs; a VM that is still off after `settle` has fallen back."""
    name, look_in_log = job.target.name, "Mend what VergeOS names, then call power_on_vm."
    first_look = answered_at + times.settle
    if now.at >= first_look and (seen is None or seen.at < first_look):
        return Look()
    if seen is not None and seen.status in NOT_STARTING and seen.at >= first_look:
        return Fail("start_failed", f"{name} fell back to '{seen.status}' after its start", look_in_log, explain=True)
    left = times.start_within - waited(act, now)
    if left <= 0:
        return Fail(
            "start_timeout", f"{name} does not run {times.start_within:g} s after its start", look_in_log, explain=True
        )
    until = first_look if now.at < first_look else now.at + left
    return Wait(Phase.STARTING, "waiting until the VM runs", min(until, now.at + left), wake_when="on")


def refusal(act: Act, seen: Seen | None) -> Step | None:
    """Return the failure of an act that VergeOS refused, after a look; None where it was accepted."""
    if act.refused is None:
        return None
    if seen is None:
        return Look()
    return Fail("refused", f"VergeOS refused '{act.action}': {act.refused}", "Mend what VergeOS names and call again.")


def already(detail: str, seen: Seen) -> Done:
    """Return the end of a job that found its wish fulfilled."""
    return Done(detail, {"running": seen.running, "changed": False})
