"""Resize, forwards: which step follows from which job, sight and moment."""

import pytest
from decider_cases import CANCEL, TIMES, at, decided, job_of, live, observed, question, refused, table
from resize_cases import (
    CHANGE,
    CHANGE_LOST,
    CHANGE_OFF,
    CHANGE_OFF_LOST,
    CHANGE_REFUSED,
    CUT,
    CUT_LOST,
    CYCLE,
    FORCE,
    NEW,
    START,
    START_LOST,
    STAY_OFF,
    STOP,
    STOP_LOST,
    STORE,
    UNSAID,
)

from gateway.core.decide import next_step

STOPPED = STOP.model_copy(update={"started_before": -500.0})  # what runs with a later start was off meanwhile


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(CYCLE), None, at(0), "look with rooms"),
        ("only stores, nothing seen yet", job_of(STORE), None, at(0), "look"),
        ("an observation is not enough", job_of(STORE), observed("running"), at(1), "look"),
        ("runs", job_of(CYCLE), live("running"), at(1), "ask change"),
        ("off", job_of(CYCLE, ran=False), live("stopped"), at(1), "ask change"),
        ("has these sizes", job_of(CYCLE), live("running", **NEW), at(1), "done: had these sizes already"),
        (
            "has these sizes, not in force",
            job_of(CYCLE),
            live("running", need_restart=True, **NEW),
            at(1),
            "ask stop",
        ),
        (
            "has these sizes, not in force, not to be stopped",
            job_of(STORE),
            live("running", need_restart=True, **NEW),
            at(1),
            "done: had these sizes already",
        ),
        ("is being started", job_of(CYCLE, ran=False), live("starting"), at(1), "wait until 150"),
        ("too many cores", job_of(CYCLE), live("running", max_cores_per_vm=3), at(1), "fail: over_limit"),
        ("as many cores as allowed", job_of(CYCLE), live("running", max_cores_per_vm=4), at(1), "ask change"),
        ("too much RAM", job_of(CYCLE), live("running", max_ram_mb_per_vm=4095), at(1), "fail: over_limit"),
        ("a limit of 0 is none", job_of(CYCLE), live("running", max_ram_mb_per_vm=0), at(1), "ask change"),
        ("no room", job_of(CYCLE), live("running", room_mb=4095), at(1), "fail: no_room"),
        ("no room at all", job_of(CYCLE), live("running", room_mb=0), at(1), "fail: no_room"),
        ("just enough room", job_of(CYCLE), live("running", room_mb=4096), at(1), "ask change"),
        ("room is not known", job_of(CYCLE), live("running", room_mb=None), at(1), "ask change"),
        ("less RAM needs no room", job_of(CYCLE), live("running", ram_mb=8192, room_mb=0), at(1), "ask change"),
        ("no answer yet", job_of(CYCLE, CHANGE_LOST), live("running", 5, **NEW), at(5), "wait until 7"),
        ("no answer, no late look", job_of(CYCLE, CHANGE_LOST), observed("running", 7), at(7), "look"),
        ("no answer, not stored", job_of(CYCLE, CHANGE_LOST), live("running", 7), at(7), "ask change"),
        ("no answer, half stored", job_of(CYCLE, CHANGE_LOST), live("running", 7, cores=4), at(7), "ask change"),
        (
            "no answer, and somebody else's size",
            job_of(CYCLE, CHANGE_LOST),
            live("running", 7, cores=3),
            at(7),
            "undo: changed_by_others",
        ),
        ("no answer, stored", job_of(CYCLE, CHANGE_LOST), live("running", 7, **NEW), at(7), "confirm change"),
        ("taken, nothing seen", job_of(CYCLE, CHANGE), None, at(2), "look"),
        ("taken, an observation is not enough", job_of(CYCLE, CHANGE), observed("running", 2), at(2), "look"),
        ("taken, not done", job_of(CYCLE, CHANGE), live("running", 2), at(2), "undo: not_applied"),
        ("taken, stored, runs", job_of(CYCLE, CHANGE), live("running", 2, **NEW), at(2), "ask stop"),
        (
            "taken, not to be stopped",
            job_of(STORE, CHANGE),
            live("running", 2, need_restart=True, **NEW),
            at(2),
            "done: size is stored and counts after the next power cycle",
        ),
        (
            "taken, was off",
            job_of(CYCLE, CHANGE, ran=False),
            live("stopped", 2, **NEW),
            at(2),
            "done: has the new size; the VM is off",
        ),
        ("refused, not to be stopped", job_of(STORE, CHANGE_REFUSED), live("running", 2), at(2), "undo: refused"),
        ("refused, was off", job_of(CYCLE, CHANGE_REFUSED, ran=False), live("stopped", 2), at(2), "undo: refused"),
        ("refused, nothing seen", job_of(STORE, CHANGE_REFUSED), None, at(2), "look"),
        ("refused while it runs", job_of(CYCLE, CHANGE_REFUSED), live("running", 2), at(2), "ask stop"),
        (
            "after a gap",
            job_of(CYCLE, CHANGE),
            live("running", 700, **NEW),
            at(700),
            "inquire about gap",
        ),
    )
)
def test_a_size_is_checked_and_stored(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **table(
        ("no answer yet", job_of(CYCLE, CHANGE, STOP_LOST), observed("running", 7), at(7), "wait until 8"),
        ("no answer, no late look", job_of(CYCLE, CHANGE, STOP_LOST), observed("running", 8), at(8), "look with log"),
        ("no answer, no trace", job_of(CYCLE, CHANGE, STOP_LOST), live("running", 8, log=False), at(8), "ask stop"),
        (
            "no answer, in the log",
            job_of(CYCLE, CHANGE, STOP_LOST),
            live("running", 8, log=True),
            at(8),
            "confirm stop",
        ),
        ("no answer yet, off", job_of(CYCLE, CHANGE, STOP_LOST), live("stopped", 7, **NEW), at(7), "wait until 8"),
        ("no answer, off", job_of(CYCLE, CHANGE, STOP_LOST), live("stopped", 8, **NEW), at(8), "ask start to mend"),
        ("stored before the job, off", job_of(CYCLE, STOP), live("stopped", 8, **NEW), at(8), "ask start to mend"),
        ("stored before the job, waits", job_of(CYCLE, STOP), observed("running", 61), at(61), "wait until 62 or off"),
        ("refused", job_of(CYCLE, CHANGE, refused("stop", 2, "poweroff")), live("running", 3), at(3), "undo: refused"),
        ("waits", job_of(CYCLE, CHANGE, STOP), observed("running", 61), at(61), "wait until 62 or off"),
        (
            "waits, blind time does not count",
            job_of(FORCE, CHANGE, STOP),
            observed("running", 100),
            at(100, blind=50),
            "wait until 112 or off",
        ),
        ("not to be forced", job_of(CYCLE, CHANGE, STOP), live("running", 62), at(62), "undo: still_running"),
        ("not to be forced, nothing seen", job_of(CYCLE, CHANGE, STOP), None, at(62), "look"),
        ("to be forced", job_of(FORCE, CHANGE, STOP), live("running", 62), at(62), "ask stop_hard"),
        (
            "wait 0 is never forced",
            job_of(FORCE.model_copy(update={"wait_seconds": 0}), CHANGE, STOP),
            live("running", 3),
            at(3),
            "wait until 302 or off",
        ),
        ("unsaid, nobody to ask", job_of(UNSAID, CHANGE, STOP), live("running", 62), at(62), "undo: still_running"),
        (
            "unsaid, asks",
            job_of(UNSAID, CHANGE, STOP, may_ask=True),
            live("running", 62),
            at(62),
            "inquire about force",
        ),
        (
            "question is open",
            job_of(UNSAID, CHANGE, STOP, may_ask=True, question=question("force", asked_at=62.0)),
            observed("running", 70),
            at(70),
            "wait until 362 or off",
        ),
        (
            "answered with yes",
            job_of(UNSAID, CHANGE, STOP, question=question("force", asked_at=62.0, yes=True)),
            live("running", 70),
            at(70),
            "ask stop_hard",
        ),
        (
            "answered with no",
            job_of(UNSAID, CHANGE, STOP, question=question("force", asked_at=62.0, yes=False)),
            live("running", 70),
            at(70),
            "undo: still_running",
        ),
        (
            "runs since, whoever started it",
            job_of(FORCE, CHANGE, STOPPED),
            live("running", 62, started_at=40, **NEW),
            at(62),
            "done: has the new size",
        ),
        (
            "runs since, not looked at",
            job_of(FORCE, CHANGE, STOPPED),
            observed("running", 62, started_at=40),
            at(62),
            "look",
        ),
        (
            "runs since, the size was not stored",
            job_of(FORCE, CHANGE_REFUSED, STOPPED),
            live("running", 62, started_at=40),
            at(62),
            "undo: refused",
        ),
        (
            "runs since, the size was stored while it was off",
            job_of(FORCE, CHANGE_REFUSED, STOPPED),
            live("running", 62, started_at=40, **NEW),
            at(62),
            "done: has the new size",
        ),
        ("cut, waits", job_of(FORCE, CHANGE, STOP, CUT), observed("running", 64), at(64), "wait until 93 or off"),
        (
            "cut, without effect",
            job_of(FORCE, CHANGE, STOP, CUT),
            live("running", 93),
            at(93),
            "undo: kill_had_no_effect",
        ),
        ("cut, no answer, runs", job_of(FORCE, CHANGE, STOP, CUT_LOST), live("running", 69), at(69), "ask stop_hard"),
        (
            "cut, no answer yet, off",
            job_of(FORCE, CHANGE, STOP, CUT_LOST),
            live("stopped", 65, **NEW),
            at(65),
            "wait until 69",
        ),
        ("off", job_of(CYCLE, CHANGE, STOP), live("stopped", 10, **NEW), at(10), "ask start to mend"),
        (
            "off but for its last breath",
            job_of(CYCLE, CHANGE, STOP),
            live("stopping", 10, running=False),
            at(10),
            "wait until 152",
        ),
        (
            "off, is to stay off",
            job_of(STAY_OFF, CHANGE, STOP),
            live("stopped", 10, **NEW),
            at(10),
            "done: has the new size; the VM is off",
        ),
        ("off, is to stay off, seen only", job_of(STAY_OFF, CHANGE, STOP), observed("stopped", 10), at(10), "look"),
        (
            "refused while it ran, off",
            job_of(CYCLE, CHANGE_REFUSED, STOP),
            live("stopped", 10),
            at(10),
            "ask change_off",
        ),
        (
            "stored off, no answer yet",
            job_of(CYCLE, CHANGE_REFUSED, STOP, CHANGE_OFF_LOST),
            live("stopped", 25, **NEW),
            at(25),
            "wait until 26",
        ),
        (
            "stored off, no answer",
            job_of(CYCLE, CHANGE_REFUSED, STOP, CHANGE_OFF_LOST),
            live("stopped", 26, **NEW),
            at(26),
            "confirm change_off",
        ),
        (
            "stored off, without effect",
            job_of(CYCLE, CHANGE_REFUSED, STOP, CHANGE_OFF_LOST),
            live("stopped", 26),
            at(26),
            "ask change_off",
        ),
        (
            "refused off as well",
            job_of(CYCLE, CHANGE_REFUSED, STOP, refused("change_off", 20, "set_size")),
            live("stopped", 21),
            at(21),
            "undo: refused",
        ),
        (
            "stored off",
            job_of(CYCLE, CHANGE_REFUSED, STOP, CHANGE_OFF),
            live("stopped", 21, **NEW),
            at(21),
            "ask start to mend",
        ),
        (
            "stored off, not done",
            job_of(STAY_OFF, CHANGE_REFUSED, STOP, CHANGE_OFF),
            live("stopped", 21),
            at(21),
            "undo: not_applied",
        ),
        ("after a gap, off", job_of(CYCLE, CHANGE, STOP), live("stopped", 900, **NEW), at(900), "ask start to mend"),
        ("after a gap, runs", job_of(FORCE, CHANGE, STOP), live("running", 900), at(900), "inquire about gap"),
        (
            "started, no answer yet",
            job_of(CYCLE, CHANGE, STOP, START_LOST),
            observed("stopped", 31),
            at(31),
            "wait until 36",
        ),
        (
            "started, no answer, off",
            job_of(CYCLE, CHANGE, STOP, START_LOST),
            live("stopped", 36, **NEW),
            at(36),
            "ask start to mend",
        ),
        (
            "started, is starting",
            job_of(CYCLE, CHANGE, STOP, START),
            observed("starting", 31),
            at(31),
            "wait until 36 or on",
        ),
        ("started, seen only", job_of(CYCLE, CHANGE, STOP, START), observed("running", 31), at(31), "look"),
        ("started", job_of(CYCLE, CHANGE, STOP, START), live("running", 31, **NEW), at(31), "done: has the new size"),
        (
            "started with the old size",
            job_of(CYCLE, CHANGE, STOP, START),
            live("running", 31),
            at(31),
            "undo: not_applied",
        ),
        (
            "fell back to off",
            job_of(CYCLE, CHANGE, STOP, START),
            live("stopped", 36, **NEW),
            at(36),
            "undo: start_failed",
        ),
        (
            "start takes too long",
            job_of(CYCLE, CHANGE, STOP, START),
            live("starting", 180),
            at(180),
            "undo: start_timeout",
        ),
        (
            "start refused",
            job_of(CYCLE, CHANGE, STOP, refused("start", 30, "poweron")),
            live("stopped", 31),
            at(31),
            "undo: refused",
        ),
    )
)
def test_the_vm_is_stopped_and_started_so_that_the_size_counts(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    "acts",
    [
        (CHANGE_LOST,),
        (CHANGE,),
        (CHANGE, STOP_LOST),
        (CHANGE, STOP),
        (CHANGE, STOP, CUT_LOST),
        (CHANGE, STOP, CUT),
        (CHANGE_REFUSED, STOP, CHANGE_OFF),
        (CHANGE, STOP, START_LOST),
        (CHANGE, STOP, START),
    ],
    ids=lambda acts: " ".join(act.label for act in acts),
)
@pytest.mark.parametrize("seen", [None, observed("running", 200), live("stopped", 200, **NEW)])
def test_a_cancel_turns_back_in_every_phase(acts, seen):
    assert decided(job_of(FORCE, *acts, cancel=CANCEL), seen, at(200)) == "undo: cancelled"


def test_a_stored_size_tells_that_it_waits_for_a_power_cycle():
    step = next_step(job_of(STORE, CHANGE), live("running", 2, need_restart=True, cores=4), at(2), TIMES)
    assert step.result == {"cpu_cores": 4, "ram_mb": 2048, "running": True, "need_restart": True, "changed": True}
