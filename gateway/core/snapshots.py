"""VM snapshots: create, delete and restore; what is wanted, what is seen, so what is next."""

from datetime import UTC, datetime
from typing import Final, cast

from gateway.core import acting
from gateway.core.job import Act, Job, Phase
from gateway.core.snapshot import SnapshotLook
from gateway.core.step import Ask, Confirm, Done, Fail, Look, Moment, Part, Recall, Seen, Step, Stopped, Undo, Wait
from gateway.core.times import EngineTimes
from gateway.core.wishes import CreateSnapshot, DeleteSnapshot, RestoreSnapshot

DAY_SECONDS: Final = 86_400


def create_snapshot(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Decide the next step of a new snapshot; it carries the job's id in its description; never raises."""
    wish = cast("CreateSnapshot", job.wish)
    act = job.act("create_snapshot")
    ask = Ask("create_snapshot", Phase.CHANGING, "taking the snapshot", params=_new_snapshot(job, wish))
    if act is None:
        part = Part("snapshot") if acting.may_have_forgotten(job, now, times) else None
        if seen is None or seen.vm is None or (part is not None and not seen.sought):
            return Look(part=part)
        if seen.part is not None:
            return _created(job, cast("SnapshotLook", seen.part), wish)
        if wish.quiesce and not seen.vm.guest_agent:
            return Fail("no_guest_agent", f"{job.target.name} has no guest agent to quiesce", "Call without quiesce.")
        return ask
    if act.answered_at is None:
        late = acting.unsettled(act, seen, now, times)
        if late is None and seen is not None and seen.sought:
            again = ask if job.cancel is None else Stopped("cancelled; no snapshot was taken")
            return Confirm(act.label) if seen.part is not None else again
        return Look(part=Part("snapshot")) if late is None or isinstance(late, Look) else late
    if seen is None or not seen.sought:
        return acting.refusal(act, seen) or Look(part=Part("snapshot", act.made), partial=act.made is not None)
    if act.refused is not None:
        return acting.refusal(act, seen) or Look()
    return _created(job, cast("SnapshotLook | None", seen.part), wish)


def _new_snapshot(job: Job, wish: CreateSnapshot) -> dict[str, object]:
    """Return what is asked of VergeOS: the job's acceptance is the moment that names and expiry count from."""
    accepted_at = int(job.created_at)
    return {
        "name": wish.name or f"{datetime.fromtimestamp(accepted_at, UTC):%Y-%m-%d %H:%M:%S} UTC",
        "description": wish.description,
        "expires_at": accepted_at + wish.expires_days * DAY_SECONDS if wish.expires_days else None,
        "quiesce": wish.quiesce,
    }


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
    if act is not None and job.cancel is not None:
        asked = "its deletion may have been asked for" if act.answered_at is None else "its deletion takes its course"
        return Stopped(f"cancelled; snapshot {key} is still there, {asked}")
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
    if isinstance(step, Fail) and job.acts:
        return Undo(step.code, f"{step.detail}; nothing was restored", step.next_step)
    return step


def _before_restore(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step:
    """Bring the VM down where that is allowed, then restore; no shutdown of ours may land after that."""
    wish = cast("RestoreSnapshot", job.wish)
    down, stop = seen is not None and acting.off(seen), job.act("stop")
    if not job.acts or down or (stop is not None and acting.started_since(stop, seen)):
        log = "restore" if acting.may_have_forgotten(job, now, times) else ""
        if seen is None or seen.vm is None or not seen.sought or (log and seen.asked_in_log is None):
            return Look(part=Part("snapshot", wish.snapshot_key), log=log)
        refused = _unfit(job, cast("SnapshotLook | None", seen.part), wish)
        if refused is not None:
            return refused
        if log and seen.asked_in_log:
            return Recall(_restore(cast("SnapshotLook", seen.part)))
        first = acting.under_way(job, seen, now, times)
        if first is not None:
            return first
        if down:
            return acting.still_landing(job, now, times) or _restore(cast("SnapshotLook", seen.part))
    if not wish.may_stop:
        return Fail("still_running", f"{job.target.name} runs", "Power it off first, or call with shutdown_if_running.")
    return acting.bring_down(job, seen, now, times, soft="stop", hard="stop_hard", phase=Phase.STOPPING)


def _restore(snapshot: SnapshotLook) -> Ask:
    params = {"snapshot_vm": snapshot.vm_key, "snapshot_key": snapshot.key}
    return Ask("restore", Phase.CHANGING, "restoring the snapshot", params=params)


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
    if job.act("start_again") is None and (seen is None or seen.vm is None):
        return _unreadable(job, act, now, times) if seen is not None and seen.gone else Look()
    left = times.settle - acting.waited(act, now)
    if left > 0:  # VergeOS answers before it is done, and nothing shows when it is
        return Wait(Phase.CHANGING, "waiting until the restore is surely over", now.at + left)
    again = _run_again(job, seen, now, times)
    runs = job.before is not None and job.before.running
    done = Done(
        f"snapshot {key} is restored{'; the VM runs again' if runs else ''}", {"running": runs, "changed": True}
    )
    return again or done


def _unreadable(job: Job, act: Act, now: Moment, times: EngineTimes) -> Step:
    """Wait for a VM that cannot be read while it is restored; only when it can, its state is known."""
    if acting.waited(act, now) >= times.start_within:
        return Fail("left_off", f"{job.target.name} cannot be read since its restore", "Look at it in VergeOS.")
    return Wait(Phase.CHANGING, "waiting until the restored VM can be read", now.at + times.watch_fast)


def _run_again(job: Job, seen: Seen | None, now: Moment, times: EngineTimes) -> Step | None:
    """Start a VM that ran before, and wait for a shutdown that was asked for; None once all is as it was."""
    if job.before is None or not job.before.running:
        return None
    restore = job.act("restore")
    if seen is None:
        return Look()
    if seen.gone and restore is not None:
        return _unreadable(job, restore, now, times)
    if not seen.running or job.act("start_again") is not None:
        step = acting.poweron(job, "start_again", seen, now, times, mends=True)
        if isinstance(step, Fail):
            return Fail("left_off", f"{job.target.name} IS NOT RUNNING: {step.detail}", step.next_step, explain=True)
        return step
    return None if restore is not None else _late_shutdown(job, now, times)


def _late_shutdown(job: Job, now: Moment, times: EngineTimes) -> Wait | None:
    """Watch a VM that still runs for as long as a request of ours may fell it."""
    felling = [act for act in job.acts if act.label in {"stop", "stop_hard"} and act.refused is None]
    left = times.watch_unforced - min((acting.waited(act, now) for act in felling), default=times.watch_unforced)
    words = "watching so that a late shutdown does not leave the VM off"
    return Wait(Phase.UNDOING, words, now.at + left, wake_when="off") if left > 0 else None


def _failed(job: Job) -> Step:
    undoing = job.undoing
    if undoing is None or undoing.code == "cancelled":
        return Stopped("cancelled; nothing was restored")
    return Fail(undoing.code, undoing.detail, undoing.next_step)
