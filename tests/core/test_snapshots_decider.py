"""Create, delete and restore a snapshot: which step follows from which job, sight and moment."""

from dataclasses import replace

import pytest
from decider_cases import (
    CANCEL,
    TIMES,
    answered,
    asked,
    at,
    decided,
    job_of,
    live,
    observed,
    question,
    refused,
    table,
    undoing,
)

from gateway.core.decide import next_step
from gateway.core.snapshot import SnapshotLook
from gateway.core.step import Look, Part
from gateway.core.wishes import CreateSnapshot, DeleteSnapshot, RestoreSnapshot

CREATE = CreateSnapshot(name="before")
QUIESCED = CREATE.model_copy(update={"quiesce": True})
DELETE = DeleteSnapshot(snapshot_key=7)
RESTORE = RestoreSnapshot(snapshot_key=7, may_stop=True, wait_seconds=60)
FORCED = RESTORE.model_copy(update={"force": True})
UNSAID = RESTORE.model_copy(update={"force": None})
NO_GRACE = RESTORE.model_copy(update={"wait_seconds": 0})
OFF_ONLY = RestoreSnapshot(snapshot_key=7)

TAKEN, TAKEN_LOST = answered("create_snapshot", 1.0, made=7), asked("create_snapshot", 1.0)
GOING, GOING_LOST = answered("delete_snapshot", 1.0), asked("delete_snapshot", 1.0)
STOP, STOP_LOST = answered("stop", 1.0, "poweroff"), asked("stop", 1.0, "poweroff")
STOPPED = STOP.model_copy(update={"started_before": -500.0})  # what runs with a later start was off meanwhile
CUT, CUT_LOST = answered("stop_hard", 62.0, "kill"), asked("stop_hard", 62.0, "kill")
BACK, BACK_LOST = answered("restore", 10.0), asked("restore", 10.0)
AGAIN, AGAIN_LOST = answered("start_again", 20.0, "poweron"), asked("start_again", 20.0, "poweron")
GONE = replace(observed("gone", 12), gone=True, sought=True)


def snapshot(*, machine=91, deleting=False, quiesced=False, vm_key=40):
    return SnapshotLook(
        key=7,
        name="before",
        machine=machine,
        created_at=1,
        expires_at=9_000,
        quiesced=quiesced,
        deleting=deleting,
        description="",
        vm_key=vm_key,
    )


def sought(status, part, seconds=2, **more):
    """A live look that also looked for the snapshot."""
    return replace(live(status, seconds, **more), sought=True, part=part)


def gone(seconds):
    return replace(GONE, at=seconds)


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(CREATE), None, at(0), "look"),
        ("an observation is not enough", job_of(CREATE), observed("running"), at(1), "look"),
        ("runs", job_of(CREATE), live("running"), at(1), "ask create_snapshot"),
        ("off", job_of(CREATE, ran=False), live("stopped"), at(1), "ask create_snapshot"),
        ("to quiesce", job_of(QUIESCED), live("running"), at(1), "ask create_snapshot"),
        (
            "to quiesce without an agent",
            job_of(QUIESCED),
            live("running", guest_agent=False),
            at(1),
            "fail: no_guest_agent",
        ),
        ("no answer yet", job_of(CREATE, TAKEN_LOST), live("running"), at(2), "wait until 7"),
        ("no answer, not looked for", job_of(CREATE, TAKEN_LOST), live("running", 8), at(8), "look"),
        ("no answer, looked too early", job_of(CREATE, TAKEN_LOST), sought("running", None, 6), at(8), "look"),
        ("no answer, not there", job_of(CREATE, TAKEN_LOST), sought("running", None, 8), at(8), "ask create_snapshot"),
        (
            "no answer, there",
            job_of(CREATE, TAKEN_LOST),
            sought("running", snapshot(), 8),
            at(8),
            "confirm create_snapshot",
        ),
        (
            "no answer, not there, cancelled",
            job_of(CREATE, TAKEN_LOST, cancel=CANCEL),
            sought("running", None, 8),
            at(8),
            "stopped: cancelled; no snapshot was taken",
        ),
        ("taken, nothing seen", job_of(CREATE, TAKEN), None, at(2), "look"),
        ("taken, not looked for", job_of(CREATE, TAKEN), live("running"), at(2), "look"),
        ("taken, not shown", job_of(CREATE, TAKEN), sought("running", None), at(2), "fail: not_applied"),
        (
            "taken",
            job_of(CREATE, TAKEN),
            sought("running", snapshot()),
            at(2),
            "done: snapshot 7 of web-1 is taken",
        ),
        (
            "taken and quiesced",
            job_of(QUIESCED, TAKEN),
            sought("running", snapshot(quiesced=True)),
            at(2),
            "done: snapshot 7 of web-1 is taken",
        ),
        (
            "taken, not quiesced",
            job_of(QUIESCED, TAKEN),
            sought("running", snapshot()),
            at(2),
            "done: snapshot 7 of web-1 is taken, but the guest was not quiesced",
        ),
        (
            "taken, cancelled too late",
            job_of(CREATE, TAKEN, cancel=CANCEL),
            sought("running", snapshot()),
            at(2),
            "done: snapshot 7 of web-1 is taken",
        ),
        ("refused, nothing seen", job_of(CREATE, refused("create_snapshot", 1.0)), None, at(2), "look"),
        ("refused", job_of(CREATE, refused("create_snapshot", 1.0)), live("running"), at(2), "fail: refused"),
    )
)
def test_create_snapshot(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(DELETE), None, at(0), "look"),
        ("an observation is not enough", job_of(DELETE), observed("running"), at(1), "look"),
        ("there", job_of(DELETE), sought("running", snapshot()), at(1), "ask delete_snapshot"),
        ("another VM's", job_of(DELETE), sought("running", snapshot(machine=92)), at(1), "fail: target_changed"),
        ("gone", job_of(DELETE), sought("running", None), at(1), "done: snapshot 7 was gone"),
        (
            "being deleted",
            job_of(DELETE),
            sought("running", snapshot(deleting=True)),
            at(1),
            "done: snapshot 7 was gone",
        ),
        ("no answer yet", job_of(DELETE, GOING_LOST), sought("running", snapshot()), at(2), "wait until 7"),
        ("no answer, no late look", job_of(DELETE, GOING_LOST), observed("running", 8), at(8), "look"),
        (
            "no answer, there",
            job_of(DELETE, GOING_LOST),
            sought("running", snapshot(), 8),
            at(8),
            "ask delete_snapshot",
        ),
        (
            "no answer, gone",
            job_of(DELETE, GOING_LOST),
            sought("running", None, 8),
            at(8),
            "done: snapshot 7 is deleted",
        ),
        (
            "no answer, there, cancelled",
            job_of(DELETE, GOING_LOST, cancel=CANCEL),
            sought("running", snapshot(), 8),
            at(8),
            "stopped: cancelled; snapshot 7 is still there, its deletion may have been asked for",
        ),
        ("taken, there", job_of(DELETE, GOING), sought("running", snapshot()), at(2), "wait until 4"),
        (
            "taken, going",
            job_of(DELETE, GOING),
            sought("running", snapshot(deleting=True)),
            at(2),
            "done: snapshot 7 is deleted",
        ),
        ("taken, gone", job_of(DELETE, GOING), sought("running", None), at(2), "done: snapshot 7 is deleted"),
        (
            "taken, there, cancelled",
            job_of(DELETE, GOING, cancel=CANCEL),
            sought("running", snapshot()),
            at(2),
            "stopped: cancelled; snapshot 7 is still there, its deletion takes its course",
        ),
        ("taken, never gone", job_of(DELETE, GOING), sought("running", snapshot(), 32), at(32), "fail: not_applied"),
        (
            "refused",
            job_of(DELETE, refused("delete_snapshot", 1.0)),
            sought("running", snapshot()),
            at(2),
            "fail: refused",
        ),
    )
)
def test_delete_snapshot(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(RESTORE), None, at(0), "look"),
        ("an observation is not enough", job_of(RESTORE), observed("stopped"), at(1), "look"),
        ("not looked for", job_of(RESTORE), live("running"), at(1), "look"),
        ("off", job_of(RESTORE, ran=False), sought("stopped", snapshot()), at(1), "ask restore"),
        ("off, need not be stopped", job_of(OFF_ONLY, ran=False), sought("stopped", snapshot()), at(1), "ask restore"),
        ("runs", job_of(RESTORE), sought("running", snapshot()), at(1), "ask stop"),
        ("runs, may not be stopped", job_of(OFF_ONLY), sought("running", snapshot()), at(1), "fail: still_running"),
        ("is being started", job_of(RESTORE, ran=False), sought("starting", snapshot()), at(1), "wait until 150"),
        ("no such snapshot", job_of(RESTORE), sought("running", None), at(1), "fail: target_gone"),
        ("being deleted", job_of(RESTORE), sought("running", snapshot(deleting=True)), at(1), "fail: target_gone"),
        ("another VM's", job_of(RESTORE), sought("running", snapshot(machine=92)), at(1), "fail: target_changed"),
        ("no row of its own", job_of(RESTORE), sought("running", snapshot(vm_key=None)), at(1), "fail: not_restorable"),
        ("the VM is gone", job_of(RESTORE), gone(1), at(1), "fail: target_gone"),
        ("stop without an answer", job_of(RESTORE, STOP_LOST), live("running"), at(2), "wait until 7"),
        ("stop without an answer, late", job_of(RESTORE, STOP_LOST), live("running", 8), at(8), "look with log"),
        (
            "stop without an answer, not sent",
            job_of(RESTORE, STOP_LOST),
            live("running", 8, log=False),
            at(8),
            "ask stop",
        ),
        (
            "stop without an answer, sent",
            job_of(RESTORE, STOP_LOST),
            live("running", 8, log=True),
            at(8),
            "confirm stop",
        ),
        (
            "stop without an answer, off: it may still land",
            job_of(RESTORE, STOP_LOST),
            sought("stopped", snapshot(), 3),
            at(3),
            "wait until 7",
        ),
        (
            "stop without an answer, off, surely over",
            job_of(RESTORE, STOP_LOST),
            sought("stopped", snapshot(), 8, log=False),
            at(8),
            "ask restore",
        ),
        (
            "may have forgotten, not looked in the log",
            job_of(RESTORE, STOP),
            sought("stopped", snapshot(), 8),
            at(8),
            "look with log",
        ),
        (
            "may have forgotten, in the log",
            job_of(RESTORE, STOP),
            sought("stopped", snapshot(), 8, log=True),
            at(8),
            "recall restore",
        ),
        (
            "has not begun, runs, in the log",
            job_of(RESTORE),
            sought("running", snapshot(), 8, log=True),
            at(8),
            "recall restore",
        ),
        (
            "has not begun, runs, not in the log",
            job_of(RESTORE),
            sought("running", snapshot(), 8, log=False),
            at(8),
            "ask stop",
        ),
        (
            "in the log, the snapshot is gone",
            job_of(RESTORE),
            sought("stopped", None, 8, log=True),
            at(8),
            "fail: target_gone",
        ),
        ("stop refused", job_of(RESTORE, refused("stop", 1.0)), live("running"), at(2), "undo: refused"),
        ("guest has its grace", job_of(RESTORE, STOP), live("running"), at(2), "wait until 61 or off"),
        ("off, observed", job_of(RESTORE, STOP), observed("stopped", 5), at(5), "look"),
        ("off", job_of(RESTORE, STOP), sought("stopped", snapshot(), 5), at(5), "ask restore"),
        ("off, the snapshot is gone", job_of(RESTORE, STOP), sought("stopped", None, 5), at(5), "undo: target_gone"),
        ("grace is over", job_of(RESTORE, STOP), live("running", 62), at(62), "undo: still_running"),
        ("grace is over, forced", job_of(FORCED, STOP), live("running", 62), at(62), "ask stop_hard"),
        (
            "grace is over, a person can be asked",
            job_of(UNSAID, STOP, may_ask=True),
            live("running", 62),
            at(62),
            "inquire about force",
        ),
        (
            "the person said no",
            job_of(UNSAID, STOP, may_ask=True, question=question("force", yes=False)),
            live("running", 62),
            at(62),
            "undo: still_running",
        ),
        ("no grace: watched, never forced", job_of(NO_GRACE, STOP), live("running"), at(2), "wait until 301 or off"),
        ("no grace, over", job_of(NO_GRACE, STOP), live("running", 302), at(302), "undo: still_running"),
        (
            "started by somebody else since",
            job_of(FORCED, STOPPED),
            sought("running", snapshot(), 62, started_at=40, log=False),
            at(62),
            "undo: started_meanwhile",
        ),
        (
            "started since, and restored before",
            job_of(FORCED, STOPPED),
            sought("running", snapshot(), 62, started_at=40, log=True),
            at(62),
            "recall restore",
        ),
        ("power cut", job_of(FORCED, STOP, CUT), live("running", 63), at(63), "wait until 92 or off"),
        ("power cut in vain", job_of(FORCED, STOP, CUT), live("running", 93), at(93), "undo: kill_had_no_effect"),
        ("cancelled while it stops", job_of(RESTORE, STOP, cancel=CANCEL), live("running"), at(2), "undo: cancelled"),
        (
            "cancelled once it is off",
            job_of(RESTORE, STOP, cancel=CANCEL),
            sought("stopped", snapshot(), 5),
            at(5),
            "undo: cancelled",
        ),
        (
            "after a gap",
            job_of(RESTORE, STOP),
            sought("stopped", snapshot(), 700, log=False),
            at(700),
            "inquire about gap",
        ),
    )
)
def test_before_a_restore(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **table(
        ("no answer yet", job_of(RESTORE, STOP, BACK_LOST), None, at(11), "wait until 16"),
        ("no answer, no late look", job_of(RESTORE, STOP, BACK_LOST), observed("stopped", 17), at(17), "look"),
        (
            "no answer: never sent again",
            job_of(RESTORE, STOP, BACK_LOST),
            live("stopped", 17),
            at(17),
            "undo: outcome_unknown",
        ),
        (
            "no answer, cannot be read",
            job_of(RESTORE, STOP, BACK_LOST),
            gone(17),
            at(17),
            "undo: outcome_unknown",
        ),
        ("refused", job_of(RESTORE, STOP, refused("restore", 10.0)), None, at(11), "undo: refused"),
        ("taken, nothing seen", job_of(RESTORE, STOP, BACK), None, at(11), "look"),
        ("taken, an observation is not enough", job_of(RESTORE, STOP, BACK), observed("stopped", 11), at(11), "look"),
        ("taken, cannot be read", job_of(RESTORE, STOP, BACK), gone(12), at(12), "wait until 14"),
        ("taken, can never be read", job_of(RESTORE, STOP, BACK), gone(161), at(161), "fail: left_off"),
        (
            "taken, not seen for long, then gone",
            job_of(RESTORE, STOP, BACK),
            gone(161),
            at(161, blind=100),
            "wait until 163",
        ),
        ("taken, may not be over", job_of(RESTORE, STOP, BACK), live("stopped", 12), at(12), "wait until 16"),
        ("taken, ran before", job_of(RESTORE, STOP, BACK), live("stopped", 17), at(17), "ask start_again to mend"),
        (
            "taken, ran before, after a gap",
            job_of(RESTORE, STOP, BACK),
            live("stopped", 700),
            at(700),
            "ask start_again to mend",
        ),
        (
            "taken, was off",
            job_of(RESTORE, BACK, ran=False),
            live("stopped", 17),
            at(17),
            "done: snapshot 7 is restored",
        ),
        (
            "cancelled too late",
            job_of(RESTORE, STOP, BACK, cancel=CANCEL),
            live("stopped", 17),
            at(17),
            "ask start_again to mend",
        ),
        (
            "started by another hand",
            job_of(RESTORE, STOP, BACK),
            live("running", 17),
            at(17),
            "done: snapshot 7 is restored; the VM runs again",
        ),
        ("start taken", job_of(RESTORE, STOP, BACK, AGAIN), live("starting", 21), at(21), "wait until 26 or on"),
        (
            "runs again",
            job_of(RESTORE, STOP, BACK, AGAIN),
            observed("running", 22),
            at(22),
            "done: snapshot 7 is restored; the VM runs again",
        ),
        ("start fell back", job_of(RESTORE, STOP, BACK, AGAIN), live("stopped", 27), at(27), "fail: left_off"),
        (
            "start without an answer, not begun",
            job_of(RESTORE, STOP, BACK, AGAIN_LOST),
            live("stopped", 27),
            at(27),
            "ask start_again to mend",
        ),
        (
            "start refused",
            job_of(RESTORE, STOP, BACK, refused("start_again", 20.0, "poweron")),
            live("stopped", 21),
            at(21),
            "fail: left_off",
        ),
    )
)
def test_after_a_restore(job, seen, now, step):
    assert decided(job, seen, now) == step


UNDO = {"undoing": undoing()}
LOST = {"undoing": undoing("outcome_unknown")}


@pytest.mark.parametrize(
    **table(
        ("nothing seen", job_of(RESTORE, STOP, **UNDO), None, at(5), "look"),
        (
            "runs: a shutdown may still come",
            job_of(RESTORE, STOP, **UNDO),
            live("running", 5),
            at(5),
            "wait until 301 or off",
        ),
        (
            "runs: a cut may still come",
            job_of(FORCED, STOP, CUT, **UNDO),
            live("running", 64),
            at(64),
            "wait until 362 or off",
        ),
        ("is off", job_of(RESTORE, STOP, **UNDO), live("stopped", 5), at(5), "ask start_again to mend"),
        ("is stopping", job_of(RESTORE, STOP, **UNDO), live("stopping", 5), at(5), "wait until 301 or off"),
        (
            "ran on",
            job_of(RESTORE, STOP, **UNDO),
            live("running", 302),
            at(302),
            "stopped: cancelled; nothing was restored",
        ),
        (
            "the stop was refused",
            job_of(RESTORE, refused("stop", 1.0), undoing=undoing("refused")),
            live("running", 5),
            at(5),
            "fail: refused",
        ),
        (
            "runs again",
            job_of(RESTORE, STOP, AGAIN, **UNDO),
            live("running", 22),
            at(22),
            "stopped: cancelled; nothing was restored",
        ),
        (
            "the restore was refused",
            job_of(RESTORE, STOP, refused("restore", 10.0), undoing=undoing("refused")),
            live("stopped", 11),
            at(11),
            "ask start_again to mend",
        ),
        (
            "outcome unknown",
            job_of(RESTORE, STOP, BACK_LOST, **LOST),
            live("stopped", 17),
            at(17),
            "ask start_again to mend",
        ),
        (
            "outcome unknown, cannot be read",
            job_of(RESTORE, STOP, BACK_LOST, **LOST),
            gone(17),
            at(17),
            "wait until 19",
        ),
        (
            "outcome unknown, can never be read",
            job_of(RESTORE, STOP, BACK_LOST, **LOST),
            gone(170),
            at(170),
            "fail: left_off",
        ),
        (
            "outcome unknown, runs again",
            job_of(RESTORE, STOP, BACK_LOST, AGAIN, **LOST),
            live("running", 22),
            at(22),
            "fail: outcome_unknown",
        ),
        (
            "outcome unknown, was off",
            job_of(RESTORE, BACK_LOST, ran=False, **LOST),
            live("stopped", 17),
            at(17),
            "fail: outcome_unknown",
        ),
        (
            "does not start again",
            job_of(RESTORE, STOP, AGAIN, **UNDO),
            live("stopped", 27),
            at(27),
            "fail: left_off",
        ),
    )
)
def test_a_restore_that_is_given_up(job, seen, now, step):
    assert decided(job, seen, now) == step


def test_a_restore_goes_to_the_snapshots_own_vm_row():
    step = next_step(job_of(RESTORE, ran=False), sought("stopped", snapshot()), at(1), TIMES)
    assert step.params == {"snapshot_vm": 40, "snapshot_key": 7}


def test_a_new_snapshot_is_looked_for_by_its_key_or_else_by_the_jobs_mark():
    by_mark = next_step(job_of(CREATE, TAKEN_LOST), live("running", 8), at(8), TIMES)
    by_key = next_step(job_of(CREATE, TAKEN), live("running", 2), at(2), TIMES)
    assert (by_mark, by_key) == (Look(part=Part("snapshot")), Look(part=Part("snapshot", 7), partial=True))


def test_a_vm_that_is_left_off_is_said_first_and_explained():
    step = next_step(job_of(RESTORE, STOP, BACK, AGAIN), live("stopped", 27), at(27), TIMES)
    assert step.detail.startswith("web-1 IS NOT RUNNING")
    assert step.explain


def test_a_restore_that_failed_before_it_was_sent_says_so():
    step = next_step(job_of(RESTORE, STOP), live("running", 62), at(62), TIMES)
    assert step.detail.endswith("nothing was restored")


def test_a_job_that_may_have_forgotten_its_snapshot_looks_for_it_before_it_takes_another():
    """Redis may have come back from an older copy, in which the job had not begun."""
    job = job_of(CREATE)
    assert decided(job, live("running"), at(5)) == "ask create_snapshot"
    assert next_step(job, live("running"), at(6), TIMES) == Look(part=Part("snapshot"))
    assert decided(job, sought("running", None, 6), at(6)) == "ask create_snapshot"
    assert decided(job, sought("running", snapshot(), 6), at(6)).startswith("done: snapshot 7")
