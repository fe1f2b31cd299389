"""VM snapshots: create, delete and restore; what is wanted, what is seen, so what is next."""

from typing import cast

from gateway.core import acting
from gateway.core.job import (
    Act,
    Ask,
    Confirm,
    Done,
    Fail,
    Inquire,
    Job,
    Look,
    Moment,
    Part,
    Phase,
    Seen,
    Step,
    Stopped,
    Undo,
    Wait,
)
from gateway.core.snapshot import SnapshotLook
from gateway.core.times import EngineTimes
from gateway.core.wishes import CreateSnapshot, DeleteSnapshot, RestoreSnapshot


def create_snapshot(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a new snapshot; it carries the job's id in its description; never raises."""
    wish = cast("CreateSnapshot", job.wish)
    act = job.act("create_snapshot")
    ask = Ask("create_snapshot", Phase.CHANGING, "taking the snapshot", params=wish.model_dump(exclude={"kind"}))
    if act is None:
        if seen is None or seen.vm is None:
            return Look()
        if wish.quiesce and not seen.vm.guest_agent:
            return Fail("no_guest_agent", f"{job.target.name} has no guest agent to quiesce", "Call without quiesce.")
        return ask
    if act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        if late is None and seen is not None and seen.sought:
            return Confirm(act.label) if seen.part is not None else ask
        return Look(part=Part("snapshot")) if late is None or isinstance(late, Look) else late
    if seen is None or not seen.sought:
        return acting.refusal(act, seen) or Look(part=Part("snapshot", act.made))
    if act.refused is not None:
        return acting.refusal(act, seen) or Look()
    return _created(job, cast("SnapshotLook | None", seen.part), wish)


def _created(job: Job, snapshot: SnapshotLook | None, wish: CreateSnapshot) -> Step:
    if snapshot is None:
        return Fail("not_applied", "VergeOS took the snapshot and does not show it", "See list_vm_snapshots.")
    result = {"snapshot_id": snapshot.key, "expires_at": snapshot.expires_at, "quiesced": snapshot.quiesced}
    words = f"snapshot {snapshot.key} of {job.target.name} is taken"
    if wish.quiesce and not snapshot.quiesced:
        words += ", but the guest was not quiesced"
    return Done(words, {**result, "changed": True})


def delete_snapshot(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a deletion, which VergeOS carries out later (VergeOS API notes 4.7); never raises."""
    key = cast("DeleteSnapshot", job.wish).snapshot_key
    act = job.act("delete_snapshot")
    if act is not None and act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        if late is not None and not isinstance(late, Look):
            return late
    if seen is None or not seen.sought:
        return Look(part=Part("snapshot", key))
    snapshot = cast("SnapshotLook | None", seen.part)
    if snapshot is None or snapshot.deleting:
        return Done(f"snapshot {key} is deleted" if act else f"snapshot {key} was gone", {"changed": act is not None})
    if snapshot.machine != job.target.machine_key:
        return _not_of_this_vm(job, key)
    if act is None or act.answered_at is None:
        return Ask("delete_snapshot", Phase.CHANGING, "deleting the snapshot", params={"snapshot_key": key})
    left = (act.patient_at or act.answered_at) + times.stop_within - now.patient
    if act.refused is None and left > 0:
        return Wait(Phase.WAITING, "waiting until the snapshot is gone", now.at + min(left, times.watch_fast))
    return acting.refusal(act, seen) or Fail("not_applied", f"snapshot {key} is still there", "See list_vm_snapshots.")


def _not_of_this_vm(job: Job, key: int) -> Fail:
    return Fail("target_changed", f"snapshot {key} is not one of {job.target.name}", "See list_vm_snapshots.")


def restore_snapshot(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a restore in place; it is sent at most once; never raises.

    The action goes to the snapshot's own VM row, and the VM must be off (VergeOS API notes 4.8). A VM that
    ran before runs again at the end, whatever happened.
    """
    act = job.act("restore")
    if job.undoing is not None:
        return _run_again(job, seen, now, times) or _failed(job)
    if act is not None:
        return _after_restore(job, act, seen, now, times)
    if job.cancel is not None and job.acts:
        return Undo("cancelled", "cancelled", "")
    step = _before_restore(job, seen, now, times)
    return Undo(step.code, step.detail, step.next_step) if isinstance(step, Fail) and job.acts else step


def _before_restore(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    wish = cast("RestoreSnapshot", job.wish)
    part = Part("snapshot", wish.snapshot_key)
    if not job.acts or (seen is not None and not seen.running):
        if seen is None or seen.vm is None or not seen.sought:
            return Look(part=part)
        refused = _unfit(job, cast("SnapshotLook | None", seen.part), wish)
        if refused is not None:
            return refused
    if seen is not None and not seen.running:
        snapshot = cast("SnapshotLook", seen.part)
        params = {"snapshot_vm": snapshot.vm_key, "snapshot_key": snapshot.key}
        return Ask("restore", Phase.CHANGING, "restoring the snapshot", params=params)
    if not wish.may_stop:
        return Fail("still_running", f"{job.target.name} runs", "Power it off first, or call with shutdown_if_running.")
    return acting.poweroff(job, "stop", seen, now, times) or _grace(job, wish, seen, now, times)


def _unfit(job: Job, snapshot: SnapshotLook | None, wish: RestoreSnapshot) -> Fail | None:
    if snapshot is None or snapshot.deleting:
        return Fail("target_gone", f"there is no snapshot {wish.snapshot_key}", "See list_vm_snapshots.")
    if snapshot.machine != job.target.machine_key:
        return _not_of_this_vm(job, wish.snapshot_key)
    if snapshot.vm_key is None:
        return Fail(
            "not_restorable", f"snapshot {wish.snapshot_key} has no VM row of its own", "Restore it in VergeOS."
        )
    return None


def _grace(job: Job, wish: RestoreSnapshot, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    if job.act("stop_hard") is not None:
        return acting.kill(job, "stop_hard", seen, now, times)
    asked = cast("Act", job.act("stop"))
    left = (asked.patient_at or asked.intended_at) + wish.wait_seconds - now.patient
    if left > 0:
        grace = f"waiting up to {wish.wait_seconds:g} s for the guest to shut down"
        return Wait(Phase.STOPPING, grace, now.at + left, wake_when="off")
    force = acting.may_force(job, wish.force, wish.wait_seconds)
    if isinstance(force, Inquire):
        asking = job.question is not None and job.question.about == force.about
        return Wait(Phase.STOPPING, force.text, job.question.expires_at, "off") if asking and job.question else force
    if force:
        return acting.kill(job, "stop_hard", seen, now, times)
    if seen is None:
        return Look()
    return Fail(
        "still_running",
        f"{job.target.name} did not shut down within {wish.wait_seconds:g} s and was not forced; nothing was restored",
        "Call again with a longer wait_timeout or with force_after_timeout=true.",
    )


def _after_restore(job: Job, act: Act, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Wait until the VM can be read again, then start it if it ran before."""
    key = cast("RestoreSnapshot", job.wish).snapshot_key
    if act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        return late or Undo(
            "outcome_unknown",
            f"the answer to the restore of snapshot {key} never came",
            f"Look at {job.target.name} before you restore again: it may have been restored.",
        )
    if act.refused is not None:
        return Undo("refused", f"VergeOS refused the restore: {act.refused}", "Mend what VergeOS names and call again.")
    left = (act.patient_at or act.answered_at) + times.start_within - now.patient
    if job.act("start_again") is None and (seen is None or seen.vm is None):
        if seen is not None and seen.gone and left <= 0:
            return Fail("left_off", f"{job.target.name} cannot be read since its restore", "Look at it in VergeOS.")
        soon = Wait(Phase.CHANGING, "waiting until the restored VM can be read", now.at + times.watch_fast)
        return soon if seen is not None and seen.gone else Look()
    again = _run_again(job, seen, now, times)
    runs = job.before is not None and job.before.running
    done = Done(
        f"snapshot {key} is restored{'; the VM runs again' if runs else ''}", {"running": runs, "changed": True}
    )
    return again or done


def _run_again(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Start a VM that ran before, and wait for a shutdown that was asked for; None once all is as it was."""
    if job.before is None or not job.before.running:
        return None
    if seen is None:
        return Look()
    if not seen.running or job.act("start_again") is not None:
        step = acting.poweron(job, "start_again", seen, now, times, mends=True)
        if isinstance(step, Fail):
            return Fail("left_off", f"{job.target.name} IS NOT RUNNING: {step.detail}", step.next_step, explain=True)
        return step
    stop = job.act("stop")
    if stop is None or stop.refused is not None:
        return None
    left = (stop.patient_at or stop.intended_at) + times.watch_unforced - now.patient
    words = "watching so that a late shutdown does not leave the VM off"
    return Wait(Phase.UNDOING, words, now.at + left, wake_when="off") if left > 0 else None


def _failed(job: Job) -> Step:
    undoing = job.undoing
    if undoing is None or undoing.code == "cancelled":
        return Stopped("cancelled; nothing was restored")
    return Fail(undoing.code, undoing.detail, undoing.next_step)
