"""Resize: change the sizes, stop and start the VM so that they count, and bring everything back where that fails.

CPU and RAM are not hot-pluggable: a change of a running VM is stored with `need_restart` and counts after
the next power cycle (VergeOS API notes 3.8).
"""

from typing import Any, cast

from gateway.core import acting
from gateway.core.job import Act, Job, Phase
from gateway.core.step import Ask, Confirm, Done, Fail, Look, Moment, Seen, Step, Stopped, Undo, Wait
from gateway.core.times import EngineTimes
from gateway.core.vm import VmLook
from gateway.core.wishes import Resize


def resize(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a resize; never raises.

    Acts, by label: `change` the sizes, `stop`, `stop_hard`, `change_off` (where VergeOS refuses the change
    while the VM runs), `start`; and to bring things back: `put_back`, `start_again`.
    """
    if job.undoing is not None:
        return _undo(job, job.undoing.code, seen, now, times)
    if job.cancel is not None and job.acts:
        return Undo("cancelled", "cancelled", "")
    step = _change(job, seen, now, times)
    if step is None and _must_cycle(job):
        step = _stop(job, seen, now, times) or _change_off(job, seen, now, times) or _start(job, seen, now, times)
    return _given_up(job, step) if isinstance(step, Fail) else step or _verify(job, seen)


def _given_up(job: Job, failed: Fail) -> Step:
    """A failure before the first act is the end; after it, what was before comes back first."""
    return Undo(failed.code, failed.detail, failed.next_step) if job.acts else failed


def _wish(job: Job) -> Resize:
    return cast("Resize", job.wish)


def _applied(job: Job, vm: VmLook) -> bool:
    return all(getattr(vm, name) == value for name, value in _wish(job).wanted().items())


def _ran_before(job: Job) -> bool:
    return job.before is not None and job.before.running


def _must_cycle(job: Job) -> bool:
    return _ran_before(job) and _wish(job).may_stop


def _change(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Store the new sizes; None once they are stored, or must wait until the VM is off."""
    act = job.act("change")
    if act is None:
        return _first_look(job, seen, now, times) if job.act("stop") is None else None
    if act.answered_at is None:
        return _unanswered_sizes(job, act, _wish(job).wanted(), seen, now, times)
    if job.act("stop") is not None or (act.refused is not None and _must_cycle(job)):
        return None
    if seen is None or seen.vm is None:
        return Look()
    return acting.refusal(act, seen) or (None if _applied(job, seen.vm) else _ignored(job))


def _first_look(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Check the wish and store it; None where it is stored already and only the power cycle is missing."""
    rooms = _wish(job).ram_mb is not None and _wish(job).may_stop
    if seen is None or seen.vm is None or seen.rooms < rooms:
        return Look(rooms=rooms)
    stored = _applied(job, seen.vm)
    if stored and not (seen.vm.need_restart and _must_cycle(job)):
        return Done("had these sizes already", {**_told(seen.vm), "changed": False})
    held = _refused_by_limits(job, seen.vm, seen.room_mb) or acting.under_way(job, seen, now, times)
    return held or (None if stored else _set_sizes("change", _wish(job).wanted()))


def _refused_by_limits(job: Job, vm: VmLook, room_mb: int | None) -> Fail | None:
    wish, name = _wish(job), job.target.name
    for value, limit, what in (
        (wish.cpu_cores, vm.max_cores_per_vm, "cores"),
        (wish.ram_mb, vm.max_ram_mb_per_vm, "MB of RAM"),
    ):
        if value is not None and limit and value > limit:
            return Fail("over_limit", f"{name}'s cluster allows {limit} {what} per VM, not {value}", "Ask for less.")
    if wish.ram_mb is not None and wish.ram_mb > vm.ram_mb and room_mb is not None and wish.ram_mb > room_mb:
        return Fail("no_room", f"no node has {wish.ram_mb} MB of RAM free; the most is {room_mb} MB", "Ask for less.")
    return None


def _set_sizes(label: str, sizes: dict[str, Any], *, mends: bool = False) -> Ask:
    words = "putting the old size back" if mends else "changing the size"
    return Ask("set_size", Phase.UNDOING if mends else Phase.CHANGING, words, label, sizes, mends)


def _unanswered_sizes(
    job: Job, act: Act, sizes: dict[str, Any], seen: Seen | None, now: Moment, times: EngineTimes
) -> Step:
    """The sizes tell whether the request arrived; where they are not somebody else's by now, it may go again."""
    late = acting.unsettled(act, seen, now, times)
    if late is not None:
        return late
    vm = seen.vm if seen is not None else None
    if vm is not None and _set_by_others(job, vm):
        return Fail(
            "changed_by_others",
            f"{job.target.name} was given another size meanwhile: {vm.cpu_cores} cores and {vm.ram_mb} MB of RAM",
            "Agree with whoever did that, then call again.",
        )
    stored = vm is not None and all(getattr(vm, name) == value for name, value in sizes.items())
    return Confirm(act.label) if stored else _set_sizes(act.label, sizes, mends=job.undoing is not None)


def _set_by_others(job: Job, vm: VmLook) -> bool:
    """Tell whether the VM has sizes that it neither had before nor was to have: storing ours would undo theirs."""
    before = job.before
    return before is not None and any(
        getattr(vm, name) not in {getattr(before, name), value} for name, value in _wish(job).wanted().items()
    )


def _ignored(job: Job) -> Fail:
    return Fail(
        "not_applied",
        f"VergeOS took the change of {job.target.name} and did not do it",
        "Look at the VM in VergeOS; the gateway's user may lack the right to modify it.",
    )


def _stop(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Bring the running VM down; None once it was seen off and no request of ours can fell it any more.

    Or once it was started since: the new size counts then, whoever did that.
    """
    if job.act("start") is not None:
        return None
    if _cycled(job, seen):
        return acting.still_landing(job, now, times)
    if seen is None or not acting.off(seen):
        return acting.bring_down(job, seen, now, times, soft="stop", hard="stop_hard", phase=Phase.STOPPING)
    return acting.still_landing(job, now, times)


def _change_off(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Store the sizes now that the VM is off, where VergeOS refused that while it ran."""
    changed = job.act("change")
    if changed is None or changed.refused is None:
        return None
    act = job.act("change_off")
    if act is None and _cycled(job, seen):
        if seen is None or seen.vm is None:
            return Look()
        return None if _applied(job, seen.vm) else acting.refusal(changed, seen)
    if act is None:
        return _set_sizes("change_off", _wish(job).wanted())
    if act.answered_at is None:
        return _unanswered_sizes(job, act, _wish(job).wanted(), seen, now, times)
    return acting.refusal(act, seen)


def _cycled(job: Job, seen: Seen | None) -> bool:
    """Tell whether the VM runs again since its guest was asked to shut down, and no start of ours is known."""
    stop = job.act("stop")
    started = stop is not None and seen is not None and seen.running and acting.started_since(stop, seen)
    return started and job.act("stop_hard") is None and job.act("start") is None


def _start(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Start the VM that was stopped; that only brings back what was, so it needs no leave after a gap."""
    if _cycled(job, seen):
        return None
    return acting.poweron(job, "start", seen, now, times, mends=True) if _wish(job).restart else None


def _verify(job: Job, seen: Seen | None) -> Step:
    """Read back what the VM has now."""
    vm = seen.vm if seen is not None else None
    if vm is None:
        return Look()
    if not _applied(job, vm):
        return _given_up(job, _ignored(job))
    pending = vm.running and vm.need_restart
    words = "size is stored and counts after the next power cycle" if pending else "has the new size"
    wish = _wish(job)
    if wish.asked_ram_mb not in {None, wish.ram_mb}:
        words += f"; RAM is rounded up from {wish.asked_ram_mb} to {wish.ram_mb} MB"
    return Done(words if vm.running else f"{words}; the VM is off", {**_told(vm), "changed": True})


def _told(vm: VmLook) -> dict[str, Any]:
    return {
        "cpu_cores": vm.cpu_cores,
        "ram_mb": vm.ram_mb,
        "running": vm.running,
        "need_restart": vm.need_restart,
    }


def _undo(job: Job, reason: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Bring back the old sizes, and a VM that ran; then end with the reason."""
    interrupted = job.open_act
    if interrupted is not None and interrupted.label not in {"put_back", "start_again"}:
        late = acting.unsettled(interrupted, seen, now, times)
        if late is not None:
            return late
        if interrupted.label == "stop" and acting.shows_poweroff(seen):
            return Confirm("stop")
    return _put_back(job, seen, now, times) or _run_again(job, reason, seen, now, times) or _end(job, reason, seen)


def _put_back(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Store the old sizes; None once they are back, are somebody else's, or VergeOS refuses: running matters more."""
    act, before = job.act("put_back"), job.before
    if before is None or (act is not None and act.answered_at is not None):
        return None
    sizes = {name: getattr(before, name) for name in _wish(job).wanted()}
    if act is not None:
        step = _unanswered_sizes(job, act, sizes, seen, now, times)
        return None if isinstance(step, Fail) else step
    if seen is None or seen.vm is None:
        return Look()
    if all(getattr(seen.vm, name) == value for name, value in sizes.items()) or _set_by_others(job, seen.vm):
        return None
    return acting.under_way(job, seen, now, times) or _set_sizes("put_back", sizes, mends=True)


def _run_again(job: Job, reason: str, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """See to it that a VM that this job may have stopped runs; None once no shutdown is under way any more."""
    stop = job.act("stop")
    if not _ran_before(job) or stop is None or stop.refused is not None:
        return None
    if seen is None:
        return Look()
    if not seen.running or job.act("start_again") is not None:
        step = acting.poweron(job, "start_again", seen, now, times, mends=True)
        return _left_off(job, reason, step) if isinstance(step, Fail) else step
    if job.act("start") is not None:
        return None
    patience = times.watch_unforced * (2 if seen.status == "stopping" else 1)
    left = patience - acting.waited(stop, now)
    if left <= 0:
        return None
    words = "old size is back; watching so that a late shutdown does not leave the VM off"
    return Wait(Phase.UNDOING, words, now.at + left, wake_when="off")


def _left_off(job: Job, reason: str, failed: Fail) -> Fail:
    """The worst end: say it first."""
    return Fail(
        "left_off",
        f"{job.target.name} IS NOT RUNNING: it could not be started again after '{reason}': {failed.detail}",
        failed.next_step,
        explain=failed.explain,
        result={"running": False},
    )


def _end(job: Job, reason: str, seen: Seen | None) -> Step:
    """End with the reason, and with what a last look shows: the old size may have been refused."""
    vm, undoing = seen.vm if seen is not None else None, job.undoing
    if vm is None:
        return Look()
    sizes = _wish(job).wanted()
    back = all(getattr(job.before, name) == getattr(vm, name) for name in sizes)
    size = "has its old size" if back else f"keeps {vm.cpu_cores} cores and {vm.ram_mb} MB of RAM"
    if vm.running and vm.need_restart and job.act("start") is not None:
        size = f"{size} from its next power cycle on"
    result = {**_told(vm), "changed": not back}
    if undoing is None or reason == "cancelled":
        return Stopped(f"cancelled; {job.target.name} {size} and is {vm.status}", result)
    return Fail(
        reason, f"{undoing.detail}; {job.target.name} {size} and is {vm.status}", undoing.next_step, result=result
    )
