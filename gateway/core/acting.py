"""What the deciders of all kinds share: acts without an answer, stopping a VM, starting it."""

from gateway.core.job import Act, Ask, Confirm, Done, Fail, Inquire, Job, Look, Moment, Phase, Seen, Step, Wait
from gateway.core.times import EngineTimes

NOT_STARTING = frozenset({"stopped", "error", "unlicensed", "hibernated"})


def unsettled(act: Act, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Return what to do first about an act whose answer never came, None once a late look is there.

    Until the request's time is surely over it may still take effect, so looking earlier proves nothing.
    """
    over_at = act.intended_at + times.settle
    if now.at < over_at:
        return Wait(Phase.ASKED, f"no answer to '{act.action}' yet; looking whether it happened", over_at)
    by_log = act.action == "poweroff"  # a guest that ignores it leaves no other trace
    if seen is None or seen.vm is None or seen.at < over_at or (by_log and seen.asked_in_log is None):
        return Look(log=by_log)
    return None


def poweroff(job: Job, label: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Ask a running VM's guest to shut down; None once VergeOS has answered that it took the request."""
    ask = Ask("poweroff", Phase.ASKED, "asking the guest to shut down", label)
    act = job.act(label)
    if act is None:
        return Look() if seen is None else ask
    if act.answered_at is None:
        late = unsettled(act, seen, now, times)
        if late is not None:
            return late
        happened = seen is not None and (seen.asked_in_log or seen.status == "stopping")
        return Confirm(label) if happened else ask
    return refusal(act, seen)


def kill(job: Job, label: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Cut the power of a VM that is known to run, and wait until it is off."""
    name = job.target.name
    ask = Ask("kill", Phase.STOPPING, "cutting the power", label)
    act = job.act(label)
    if act is None:
        return Look() if seen is None else ask
    if act.answered_at is None:
        return unsettled(act, seen, now, times) or ask
    refused = refusal(act, seen)
    if refused is not None:
        return refused
    left = (act.patient_at or act.answered_at) + times.stop_within - now.patient
    if left > 0:
        return Wait(Phase.STOPPING, "power cut; waiting until the VM is off", now.at + left, wake_when="off")
    return Fail("kill_had_no_effect", f"{name} still runs after its power was cut", "Look at the VM in VergeOS.")


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
        return Look() if seen is None else ask
    if act.answered_at is None:
        late = unsettled(act, seen, now, times)
        if late is not None:
            return late
        begun = seen is not None and (seen.running or seen.status not in NOT_STARTING)
        return Confirm(label) if begun else ask
    if seen is not None and seen.running:
        return None
    return refusal(act, seen) or _starting(job, act, act.answered_at, seen, now, times)


def _starting(job: Job, act: Act, answered_at: float, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    name = job.target.name
    look_in_log = "Mend what VergeOS names, then call power_on_vm."
    if seen is not None and seen.status in NOT_STARTING and seen.at >= answered_at + times.settle:
        return Fail("start_failed", f"{name} fell back to '{seen.status}' after its start", look_in_log, explain=True)
    left = (act.patient_at or answered_at) + times.start_within - now.patient
    if left <= 0:
        return Fail(
            "start_timeout", f"{name} does not run {times.start_within:g} s after its start", look_in_log, explain=True
        )
    first_look = answered_at + times.settle
    until = first_look if now.at < first_look else now.at + left
    return Wait(Phase.STARTING, "waiting until the VM runs", min(until, now.at + left), wake_when="on")


def refusal(act: Act, seen: Seen | None) -> Step | None:
    """Return the failure of an act that VergeOS refused, after a look; None where it was accepted."""
    if act.refused is None:
        return None
    if seen is None:
        return Look()
    return Fail("refused", f"VergeOS refused '{act.action}': {act.refused}", "Mend what VergeOS names and call again.")


def may_force(job: Job, force: bool | None, grace_seconds: float) -> bool | Inquire:
    """Tell whether the power may be cut after the grace, or what to ask a person first."""
    asked = job.question if job.question is not None and job.question.about == "force" else None
    if force is not None or (asked is not None and asked.yes is not None):
        return bool(force) or bool(asked is not None and asked.yes)
    if not job.may_ask or grace_seconds <= 0:
        return False
    return Inquire(f"{job.target.name} still runs after {grace_seconds:g} s. Force it off?", "force")


def already(detail: str, seen: Seen) -> Done:
    """Return the end of a job that found its wish fulfilled."""
    return Done(detail, {"running": seen.running, "changed": False})
