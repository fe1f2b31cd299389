"""Networks and tenants: on, off, started anew, rules applied; what is wanted, what is seen, so what is next."""

from typing import Literal, cast

from gateway.core import acting
from gateway.core.job import Act, Job, Phase
from gateway.core.step import Ask, Confirm, Done, Fail, Look, Moment, Recall, Seen, Step, Stopped, Wait
from gateway.core.times import EngineTimes
from gateway.core.wishes import NetworkAction, TenantAction


def network_action(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step for a network; never raises."""
    action = cast("NetworkAction", job.wish).action
    return _apply(job, seen, now, times) if action == "apply" else _switch(job, action, seen, now, times)


def tenant_action(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step for a tenant; never raises."""
    return _switch(job, cast("TenantAction", job.wish).action, seen, now, times)


def _switch(job: Job, action: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    act = job.act(action)
    if act is not None and job.cancel is not None:
        return _cancelled(act)
    if action == "poweron":
        return _power_on(job, act, seen, now, times)
    return _power_off(job, act, seen, now, times) if action == "poweroff" else _reset(job, act, seen, now, times)


def _cancelled(act: Act) -> Stopped:
    sent = "may have been sent" if act.answered_at is None else "had been sent"
    return Stopped(f"cancelled; '{act.action}' {sent} and takes its course")


def _power_on(job: Job, act: Act | None, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    if act is None and seen is not None and seen.running:
        if seen.status == "stopping":
            return _wait_for_other(job, "stopping", now, times)
        return acting.already("was running already", seen)
    step = acting.poweron(job, "poweron", seen, now, times)
    return Done("runs", {"running": True, "changed": True}) if step is None else step


def _wait_for_other(job: Job, doing: Literal["starting", "stopping"], now: Moment, times: EngineTimes) -> Step:
    """Somebody else is starting or stopping it: what is asked now would be refused."""
    end = job.created_at + times.start_within
    if now.at >= end:
        return Fail(f"still_{doing}", f"{job.target.name} hangs in '{doing}'", "Look at it in VergeOS.")
    wake_when: Literal["on", "off"] = "on" if doing == "starting" else "off"
    return Wait(Phase.QUEUED, f"it is {doing} just now; waiting until that is over", end, wake_when)


def _power_off(job: Job, act: Act | None, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    if seen is not None and acting.off(seen):
        if act is None:
            return acting.already("was off already", seen)
        return Done("off", {"running": False, "changed": True})
    if act is None:
        if seen is not None and not seen.running:
            return _wait_for_other(job, "starting", now, times)
        return Look() if seen is None else Ask("poweroff", Phase.ASKED, "powering off")
    if act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        again = Confirm("poweroff") if acting.shows_poweroff(seen) else Ask("poweroff", Phase.ASKED, "powering off")
        return late or again
    left = times.start_within - acting.waited(act, now)
    if act.refused is None and left > 0:
        return Wait(Phase.STOPPING, "waiting until it is off", now.at + left, wake_when="off")
    return acting.refusal(act, seen) or Fail(
        "still_running", f"{job.target.name} still runs", "Look at it in VergeOS before you ask again."
    )


def _reset(job: Job, act: Act | None, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """A reset shows in a new start only; without an answer it is not sent again."""
    if act is None:
        return _first_reset(job, seen, now, times)
    if _started_anew(job, seen):
        return Done("started anew", {"running": True, "changed": True})
    if act.answered_at is None:
        return acting.unsettled(act, seen, now, times) or Fail(
            "outcome_unknown",
            f"the answer to the reset of {job.target.name} never came and VergeOS shows no new start",
            "Look at it before you reset it again.",
        )
    left = times.start_within - acting.waited(act, now)
    if act.refused is None and left > 0:
        return Wait(Phase.STARTING, "waiting until it runs again", now.at + left)
    return acting.refusal(act, seen) or Fail(
        "start_timeout", f"{job.target.name} shows no new start", "Look at it in VergeOS.", explain=True
    )


def _first_reset(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    params = {"apply": True} if job.target.kind == "network" else {}
    step = acting.once(job, Ask("reset", Phase.ASKED, "resetting", params=params), seen, now, times)
    if isinstance(step, Look | Recall):
        return step
    if seen is None:
        return Look()
    if not seen.running:
        return Fail("not_running", f"{job.target.name} is off, there is nothing to reset", "Power it on instead.")
    return step


def _started_anew(job: Job, seen: Seen | None) -> bool:
    if seen is None or not seen.running or seen.started_at is None or job.before is None:
        return False
    return job.before.started_at is None or seen.started_at > job.before.started_at


def _apply(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Apply pending rules: VergeOS calls that `refresh`, and clears its flag when it is done (notes 4.12)."""
    act = job.act("apply")
    if act is not None and act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        if late is not None and not isinstance(late, Look):
            return late
    network = seen.network if seen is not None else None
    if seen is None or network is None or (act is not None and act.answered_at and seen.at < act.answered_at):
        return Look()
    if not network.need_fw_apply:
        words = "rules are applied" if act is not None else "no rules were pending"
        return Done(words, {"need_fw_apply": False, "changed": act is not None})
    if act is not None and job.cancel is not None:
        return _cancelled(act)
    if act is None or act.answered_at is None:
        if not network.running:
            return Fail(
                "not_running", f"{job.target.name} is off", "Power the network on first; that applies its rules."
            )
        return Ask("refresh", Phase.CHANGING, "applying the rules", label="apply")
    left = times.stop_within - acting.waited(act, now)
    if act.refused is None and left > 0:
        return Wait(Phase.CHANGING, "waiting until the rules are applied", now.at + min(left, times.watch_fast))
    return acting.refusal(act, seen) or Fail("not_applied", "the rules are still pending", "Look at the network.")
