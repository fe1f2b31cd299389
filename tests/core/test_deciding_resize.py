"""Resize: which step follows from which job, sight and moment, forwards and on the way back."""

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
from gateway.core.wishes import Resize

CYCLE = Resize(cpu_cores=4, ram_mb=4096, may_stop=True, wait_seconds=60)
FORCE = CYCLE.model_copy(update={"force": True})
UNSAID = CYCLE.model_copy(update={"force": None})
STORE = Resize(cpu_cores=4)
STAY_OFF = CYCLE.model_copy(update={"restart": False})
NEW, OLD = {"cores": 4, "ram_mb": 4096}, {}

CHANGE = answered("change", 1.0, "set_size")
CHANGE_LOST = asked("change", 1.0, "set_size")
CHANGE_REFUSED = refused("change", 1.0, "set_size")
STOP, STOP_LOST = answered("stop", 2.0, "poweroff"), asked("stop", 2.0, "poweroff")
CUT, CUT_LOST = answered("stop_hard", 63.0, "kill"), asked("stop_hard", 63.0, "kill")
CHANGE_OFF = answered("change_off", 20.0, "set_size")
CHANGE_OFF_LOST = asked("change_off", 20.0, "set_size")
START, START_LOST = answered("start", 30.0, "poweron"), asked("start", 30.0, "poweron")
BACK, BACK_LOST = answered("put_back", 100.0, "set_size"), asked("put_back", 100.0, "set_size")
AGAIN, AGAIN_LOST = answered("start_again", 110.0, "poweron"), asked("start_again", 110.0, "poweron")


def told_end(what, status, code="cancelled"):
    """The end of a resize that was given up."""
    return f"stopped: cancelled; web-1 {what} and is {status}" if code == "cancelled" else f"fail: {code}"


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
            "ask change",
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
        (FORCE and CHANGE, STOP, CUT_LOST),
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


def back(*acts, code="cancelled", wish=FORCE, **more):
    """A resize on its way back."""
    return job_of(wish, *acts, undoing=undoing(code), **more)


OLD_AND_RUNS = told_end("has its old size", "running")


@pytest.mark.parametrize(
    **table(
        ("change without an answer yet", back(CHANGE_LOST), live("running", 5), at(5), "wait until 7"),
        ("change without an answer, not stored", back(CHANGE_LOST), live("running", 7), at(7), OLD_AND_RUNS),
        (
            "change without an answer, stored",
            back(CHANGE_LOST),
            live("running", 7, **NEW),
            at(7),
            "ask put_back to mend",
        ),
        ("changed, nothing seen", back(CHANGE), None, at(5), "look"),
        ("changed", back(CHANGE), live("running", 5, **NEW), at(5), "ask put_back to mend"),
        ("changed, after a gap", back(CHANGE), live("running", 900, **NEW), at(900), "ask put_back to mend"),
        ("change refused", back(CHANGE_REFUSED, code="refused"), live("running", 5), at(5), "fail: refused"),
        ("put back, no answer yet", back(CHANGE, BACK_LOST), live("running", 105), at(105), "wait until 106"),
        ("put back, no answer", back(CHANGE, BACK_LOST), live("running", 106), at(106), "confirm put_back"),
        (
            "put back, without effect",
            back(CHANGE, BACK_LOST),
            live("running", 106, **NEW),
            at(106),
            "ask put_back to mend",
        ),
        ("put back", back(CHANGE, BACK), live("running", 101), at(101), OLD_AND_RUNS),
        ("put back, seen only", back(CHANGE, BACK), observed("running", 101), at(101), "look"),
        (
            "put back, refused",
            back(CHANGE, refused("put_back", 100, "set_size")),
            live("running", 101, **NEW),
            at(101),
            told_end("keeps 4 cores and 4096 MB of RAM", "running"),
        ),
        (
            "put back, not done",
            back(CHANGE, BACK),
            live("running", 101, **NEW),
            at(101),
            told_end("keeps 4 cores and 4096 MB of RAM", "running"),
        ),
        (
            "stopped by somebody, not by the job",
            back(CHANGE, BACK),
            live("stopped", 101),
            at(101),
            told_end("has its old size", "stopped"),
        ),
        (
            "stop refused, stopped by somebody",
            back(CHANGE, refused("stop", 2, "poweroff"), BACK),
            live("stopped", 101),
            at(101),
            told_end("has its old size", "stopped"),
        ),
        (
            "was off before",
            back(CHANGE, BACK, ran=False),
            live("stopped", 101),
            at(101),
            told_end("has its old size", "stopped"),
        ),
    )
)
def test_the_old_size_comes_back(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(
    **table(
        ("stop without an answer yet", back(CHANGE, STOP_LOST), live("running", 7, log=False), at(7), "wait until 8"),
        ("stop without an answer, no log", back(CHANGE, STOP_LOST), live("running", 8), at(8), "look with log"),
        (
            "stop without an answer, in the log",
            back(CHANGE, STOP_LOST),
            live("running", 8, log=True),
            at(8),
            "confirm stop",
        ),
        (
            "stop without an answer, no trace",
            back(CHANGE, STOP_LOST),
            live("running", 8, log=False),
            at(8),
            "wait until 302 or off",
        ),
        (
            "stop without an answer, earlier blindness does not matter",
            back(CHANGE, STOP_LOST),
            live("running", 8, log=False),
            at(8, blind=5_000),
            "wait until 302 or off",
        ),
        (
            "asked, may still go off",
            back(CHANGE, STOP, BACK),
            observed("running", 101),
            at(101),
            "wait until 302 or off",
        ),
        (
            "asked, may still go off, blind time does not count",
            back(CHANGE, STOP, BACK),
            observed("running", 101),
            at(101, blind=40),
            "wait until 342 or off",
        ),
        ("asked, went off", back(CHANGE, STOP, BACK), live("stopped", 101), at(101), "ask start_again to mend"),
        (
            "asked, went off, after a gap",
            back(CHANGE, STOP, BACK),
            live("stopped", 901),
            at(901),
            "ask start_again to mend",
        ),
        ("asked, never went off", back(CHANGE, STOP, BACK), live("running", 302), at(302), OLD_AND_RUNS),
        ("asked, still going off", back(CHANGE, STOP, BACK), live("stopping", 302), at(302), "wait until 602 or off"),
        (
            "asked, hangs in stopping",
            back(CHANGE, STOP, BACK),
            live("stopping", 602),
            at(602),
            told_end("has its old size", "stopping"),
        ),
        ("cut without an answer yet", back(CHANGE, STOP, CUT_LOST), live("running", 65), at(65), "wait until 69"),
        ("cut, off", back(CHANGE, STOP, CUT, BACK), live("stopped", 101), at(101), "ask start_again to mend"),
        (
            "off but for its last breath",
            back(CHANGE, STOP, CUT, BACK),
            live("stopping", 101, running=False),
            at(101),
            "wait until 250",
        ),
        ("off, new size", back(CHANGE, STOP), live("stopped", 90, **NEW), at(90), "ask put_back to mend"),
        (
            "starting with the new size",
            back(CHANGE, STOP, START),
            live("starting", 31, **NEW),
            at(31),
            "wait until 180",
        ),
        ("start without an answer yet", back(CHANGE, STOP, START_LOST), live("stopped", 31), at(31), "wait until 36"),
        (
            "start without an answer, runs",
            back(CHANGE, STOP, START_LOST),
            live("running", 36, **NEW),
            at(36),
            "ask put_back to mend",
        ),
        (
            "started with the new size, old one stored",
            back(CHANGE, STOP, START, BACK),
            live("running", 101, need_restart=True),
            at(101),
            told_end("has its old size from its next power cycle on", "running"),
        ),
        (
            "start failed",
            back(CHANGE, STOP, START, BACK, code="start_failed"),
            live("stopped", 101),
            at(101),
            "ask start_again to mend",
        ),
        (
            "again, no answer yet",
            back(CHANGE, STOP, BACK, AGAIN_LOST),
            observed("stopped", 111),
            at(111),
            "wait until 116",
        ),
        (
            "again, no answer, off",
            back(CHANGE, STOP, BACK, AGAIN_LOST),
            live("stopped", 116),
            at(116),
            "ask start_again to mend",
        ),
        (
            "again, no answer, starts",
            back(CHANGE, STOP, BACK, AGAIN_LOST),
            live("starting", 116),
            at(116),
            "confirm start_again",
        ),
        ("again, starts", back(CHANGE, STOP, BACK, AGAIN), observed("starting", 111), at(111), "wait until 116 or on"),
        ("again, runs", back(CHANGE, STOP, BACK, AGAIN), live("running", 111), at(111), OLD_AND_RUNS),
        (
            "again, runs after a failed start",
            back(CHANGE, STOP, START, BACK, AGAIN, code="start_failed"),
            live("running", 111),
            at(111),
            "fail: start_failed",
        ),
        ("again, fell back", back(CHANGE, STOP, BACK, AGAIN), live("stopped", 116), at(116), "fail: left_off"),
        ("again, takes too long", back(CHANGE, STOP, BACK, AGAIN), live("starting", 260), at(260), "fail: left_off"),
        (
            "again, refused",
            back(CHANGE, STOP, BACK, refused("start_again", 110, "poweron")),
            live("stopped", 111),
            at(111),
            "fail: left_off",
        ),
        (
            "again, refused because it runs",
            back(CHANGE, STOP, BACK, refused("start_again", 110, "poweron")),
            live("running", 111),
            at(111),
            OLD_AND_RUNS,
        ),
        (
            "was to stay off, cancelled",
            back(CHANGE, STOP, BACK, wish=STAY_OFF),
            live("stopped", 101),
            at(101),
            "ask start_again to mend",
        ),
    )
)
def test_a_vm_that_ran_runs_again(job, seen, now, step):
    assert decided(job, seen, now) == step


def test_a_resize_that_leaves_the_vm_off_says_so_first():
    step = next_step(back(CHANGE, STOP, BACK, AGAIN, code="still_running"), live("stopped", 116), at(116), TIMES)
    assert step.detail.startswith("web-1 IS NOT RUNNING")
    assert step.result == {"running": False}
    assert step.explain


def test_a_resize_that_is_given_up_tells_size_and_power_as_they_are():
    job = back(CHANGE, refused("put_back", 100, "set_size"), code="still_running")
    step = next_step(job, live("running", 101, need_restart=True, **NEW), at(101), TIMES)
    assert step.result == {
        "cpu_cores": 4,
        "ram_mb": 4096,
        "running": True,
        "need_restart": True,
        "changed": True,
    }
    assert step.detail == "it went wrong; web-1 keeps 4 cores and 4096 MB of RAM and is running"


def test_only_the_sizes_that_were_asked_for_are_changed_and_put_back():
    assert next_step(job_of(STORE), live("running"), at(1), TIMES).params == {"cpu_cores": 4}
    assert next_step(back(CHANGE, wish=STORE), live("running", cores=4), at(5), TIMES).params == {"cpu_cores": 2}


def test_a_stored_size_tells_that_it_waits_for_a_power_cycle():
    step = next_step(job_of(STORE, CHANGE), live("running", 2, need_restart=True, cores=4), at(2), TIMES)
    assert step.result == {"cpu_cores": 4, "ram_mb": 2048, "running": True, "need_restart": True, "changed": True}
