"""Power on, power off, force off and reset: what is wanted, what is seen, so what is next."""

from typing import Literal, cast

from gateway.core import acting
from gateway.core.job import Act, Job, Phase
from gateway.core.step import Ask, Done, Fail, Look, Moment, Recall, Seen, Step, Stopped, Wait
from gateway.core.times import EngineTimes
from gateway.core.wishes import Reset


def power_on(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a power-on; never raises."""
    act = job.act("poweron")
    if act is None and seen is not None:
        if seen.running and seen.status == "stopping":
            return _wait_for_other(job, "stopping", now, times)
        if seen.running:
            return acting.already("was running already", seen)
        if seen.vm is not None and not seen.vm.enabled:
            return Fail("vm_disabled", f"{job.target.name} is disabled", "Enable the VM in VergeOS, then call again.")
    if act is not None and job.cancel is not None and (seen is None or not seen.running):
        return Stopped("cancelled; the start had been asked for and may still happen")
    step = acting.poweron(job, "poweron", seen, now, times)
    return Done("runs", {"running": True, "changed": True}) if step is None else step


def _wait_for_other(job: Job, doing: Literal["starting", "stopping"], now: Moment, times: EngineTimes) -> Step:
    """Somebody else is starting or stopping the VM: what is asked now would be refused or lost."""
    end = job.created_at + times.start_within
    if now.at >= end:
        return Fail(f"still_{doing}", f"{job.target.name} hangs in '{doing}'", "Use force_off_vm, then call again.")
    wake_when: Literal["on", "off"] = "on" if doing == "starting" else "off"
    return Wait(Phase.QUEUED, f"the VM is {doing} just now; waiting until that is over", end, wake_when)


def power_off(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a graceful power-off with its forced fallback; never raises."""
    asked = job.act("poweroff")
    if seen is not None and acting.off(seen):
        return _off(job, now) if asked is not None else acting.already("was off already", seen)
    if asked is None and seen is not None and not seen.running:
        return _wait_for_other(job, "starting", now, times)
    if asked is not None and job.cancel is not None and job.act("kill") is None:
        return Stopped("cancelled; a guest that was asked to shut down may still do so, it will not be forced")
    return acting.bring_down(job, seen, now, times, soft="poweroff", hard="kill", phase=Phase.WAITING)


def _off(job: Job, now: Moment) -> Done:
    """Say how the VM went off, and how long it took from the first request."""
    kill = job.act("kill")
    forced = kill is not None and kill.refused is None
    begun = job.begun_at if job.begun_at is not None else now.at
    seconds = round(max(now.at - begun, 0.0), 1)
    detail = f"off after {seconds:g} s" + (", forced" if forced else "")
    return Done(detail, {"running": False, "forced": forced, "waited_seconds": seconds, "changed": True})


def force_off(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a forced power-off; never raises."""
    if seen is not None and acting.off(seen):
        return _off(job, now) if job.act("kill") is not None else acting.already("was off already", seen)
    return acting.kill(job, "kill", seen, now, times)


def reset(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a reset; a reset that nobody can confirm is sent at most once; never raises.

    A new start shows in the machine's `started` time only (VergeOS API notes 4.3); a guest's own
    reboot may not show at all.
    """
    act = job.act("reset")
    if act is None:
        return _first_reset(job, seen, now, times)
    if act.answered_at is not None and job.cancel is not None:
        return Stopped("cancelled; the reset had been sent and takes its course")
    refused = acting.refusal(act, seen)
    if refused is not None:
        return refused
    if _started_anew(job, seen):
        return Done("started anew", {"running": True, "confirmed": True, "changed": True})
    if act.answered_at is None:
        return acting.unsettled(act, seen, now, times) or Fail(
            "outcome_unknown",
            f"the answer to the reset of {job.target.name} never came and VergeOS shows no new start",
            "Look at the VM's uptime before you reset it again.",
        )
    return _after_reset(job, act, seen, now, times)


def _first_reset(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    hard = cast("Reset", job.wish).hard
    params, words = ({}, "resetting the machine") if hard else ({"graceful": True}, "asking the guest to reboot")
    step = acting.once(job, Ask("reset", Phase.ASKED, words, params=params), seen, now, times)
    if isinstance(step, Look | Recall):
        return step
    if seen is None:
        return Look()
    if not seen.running:
        return Fail("not_running", f"{job.target.name} does not run, there is nothing to reset", "Use power_on_vm.")
    return step


def _started_anew(job: Job, seen: Seen | None) -> bool:
    if seen is None or not seen.running or seen.started_at is None or job.before is None:
        return False
    return job.before.started_at is None or seen.started_at > job.before.started_at


def _after_reset(job: Job, act: Act, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    if seen is not None and not seen.running:
        left = times.start_within - acting.waited(act, now)
        if left > 0:
            return Wait(Phase.STARTING, "waiting until the VM runs again", now.at + left, wake_when="on")
        return Fail("start_failed", f"{job.target.name} is off after its reset", "Use power_on_vm.", explain=True)
    left = times.settle - acting.waited(act, now)
    if left > 0:
        return Wait(Phase.WAITING, "waiting for a new start", now.at + left)
    if seen is None:
        return Look()
    words = (
        "VergeOS took the reset; it does not show a new start"
        if cast("Reset", job.wish).hard
        else "guest was asked to reboot"
    )
    return Done(words, {"running": True, "confirmed": False, "changed": True})
