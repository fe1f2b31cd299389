"""Resize, given up: old size and old power come back, whatever was under way."""

import pytest
from decider_cases import TIMES, at, decided, job_of, live, observed, refused, table, undoing
from resize_cases import (
    AGAIN,
    AGAIN_LOST,
    BACK,
    BACK_LOST,
    CHANGE,
    CHANGE_LOST,
    CHANGE_REFUSED,
    CUT,
    CUT_LOST,
    FORCE,
    NEW,
    START,
    START_LOST,
    STAY_OFF,
    STOP,
    STOP_LOST,
    STORE,
)

from gateway.core.decide import next_step


def cancelled(size, status):
    """The end of a resize that was cancelled."""
    return f"stopped: cancelled; web-1 {size} and is {status}"


def back(*acts, code="cancelled", wish=FORCE, **more):
    """A resize on its way back."""
    return job_of(wish, *acts, undoing=undoing(code), **more)


OLD_AND_RUNS = cancelled("has its old size", "running")


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
        (
            "changed, then by somebody else",
            back(CHANGE),
            live("running", 5, cores=3),
            at(5),
            "stopped: cancelled; web-1 keeps 3 cores and 2048 MB of RAM and is running",
        ),
        (
            "put back unanswered, then by somebody",
            back(CHANGE, BACK_LOST),
            live("running", 107, cores=3),
            at(107),
            "stopped: cancelled; web-1 keeps 3 cores and 2048 MB of RAM and is running",
        ),
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
            cancelled("keeps 4 cores and 4096 MB of RAM", "running"),
        ),
        (
            "put back, not done",
            back(CHANGE, BACK),
            live("running", 101, **NEW),
            at(101),
            cancelled("keeps 4 cores and 4096 MB of RAM", "running"),
        ),
        (
            "stopped by somebody, not by the job",
            back(CHANGE, BACK),
            live("stopped", 101),
            at(101),
            cancelled("has its old size", "stopped"),
        ),
        (
            "stop refused, stopped by somebody",
            back(CHANGE, refused("stop", 2, "poweroff"), BACK),
            live("stopped", 101),
            at(101),
            cancelled("has its old size", "stopped"),
        ),
        (
            "was off before",
            back(CHANGE, BACK, ran=False),
            live("stopped", 101),
            at(101),
            cancelled("has its old size", "stopped"),
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
            cancelled("has its old size", "stopping"),
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
            cancelled("has its old size from its next power cycle on", "running"),
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
