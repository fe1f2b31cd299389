"""Reset: which step follows from which job, sight and moment."""

import pytest
from decider_cases import CANCEL, TIMES, answered, asked, at, decided, job_of, live, observed, refused, table

from gateway.core.decide import next_step
from gateway.core.job import Condition
from gateway.core.wishes import Reset

SOFT, HARD = Reset(), Reset(hard=True)
TAKEN = answered("reset", 10.0)
LOST = asked("reset", 10.0)
UNSHOWN = "done: VergeOS took the reset; it does not show a new start"
NO_START_KNOWN = Condition(running=True, cpu_cores=2, ram_mb=2048, started_at=None)


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(HARD), None, at(0), "look"),
        ("off", job_of(HARD), live("stopped"), at(1), "fail: not_running"),
        ("is being started", job_of(HARD), live("starting"), at(1), "fail: not_running"),
        ("runs", job_of(HARD), live("running"), at(1), "ask reset"),
        ("accepted just now", job_of(SOFT), live("running", 5), at(5), "ask reset"),
        ("may have forgotten", job_of(SOFT), live("running", 6), at(6), "look with log"),
        ("may have forgotten, nothing seen", job_of(HARD), None, at(6), "look with log"),
        ("may have forgotten, not in the log", job_of(SOFT), live("running", 6, log=False), at(6), "ask reset"),
        ("may have forgotten, in the log", job_of(SOFT), live("running", 6, log=True), at(6), "recall reset"),
        ("may have forgotten, in the log, off", job_of(HARD), live("stopped", 6, log=True), at(6), "recall reset"),
        (
            "may have forgotten, not in the log, off",
            job_of(HARD),
            live("stopped", 6, log=False),
            at(6),
            "fail: not_running",
        ),
        ("no answer yet", job_of(HARD, LOST), observed("running", 12), at(12), "wait until 16"),
        ("no answer, no late look", job_of(HARD, LOST), observed("running", 16), at(16), "look"),
        ("no answer, no new start", job_of(HARD, LOST), live("running", 16), at(16), "fail: outcome_unknown"),
        ("no answer, off", job_of(HARD, LOST), live("stopped", 16), at(16), "fail: outcome_unknown"),
        ("no answer yet, new start", job_of(HARD, LOST), live("running", 12, started_at=11), at(12), "wait until 16"),
        ("no answer, new start", job_of(HARD, LOST), live("running", 16, started_at=11), at(16), "done: started anew"),
        ("no answer, gap", job_of(HARD, LOST), live("running", 700), at(700), "fail: outcome_unknown"),
        ("taken, new start", job_of(HARD, TAKEN), observed("running", 12, started_at=11), at(12), "done: started anew"),
        (
            "taken, started at 0.0",
            job_of(HARD, TAKEN),
            observed("running", 12, started_at=0.0),
            at(12),
            "done: started anew",
        ),
        (
            "taken, a start where none was known",
            job_of(HARD, TAKEN, before=NO_START_KNOWN),
            observed("running", 12, started_at=0.0),
            at(12),
            "done: started anew",
        ),
        (
            "taken, the old start",
            job_of(HARD, TAKEN),
            observed("running", 12, started_at=-500.0),
            at(12),
            "wait until 16",
        ),
        ("taken, nothing seen", job_of(HARD, TAKEN), None, at(12), "wait until 16"),
        ("taken, nothing seen for long", job_of(HARD, TAKEN), None, at(16), "look"),
        ("taken, no new start", job_of(HARD, TAKEN), live("running", 16), at(16), UNSHOWN),
        (
            "taken, blind time does not count",
            job_of(HARD, TAKEN),
            live("running", 16),
            at(16, blind=3),
            "wait until 19",
        ),
        ("taken at 0.0, no new start", job_of(HARD, answered("reset")), live("running", 6), at(6), UNSHOWN),
        ("taken at 0.0, blind", job_of(HARD, answered("reset")), live("running", 6), at(6, blind=3), "wait until 9"),
        (
            "graceful, nothing shows",
            job_of(SOFT, TAKEN),
            live("running", 16),
            at(16),
            "done: guest was asked to reboot",
        ),
        ("taken, off", job_of(HARD, TAKEN), observed("stopped", 12), at(12), "wait until 160 or on"),
        ("taken, off for ever", job_of(HARD, TAKEN), live("stopped", 160), at(160), "fail: start_failed"),
        ("refused, not seen since", job_of(HARD, refused("reset", 10)), None, at(11), "look"),
        ("refused", job_of(HARD, refused("reset", 10)), live("running", 11), at(11), "fail: refused"),
        (
            "refused, somebody else's new start",
            job_of(HARD, refused("reset", 10)),
            live("running", 12, started_at=11),
            at(12),
            "fail: refused",
        ),
        (
            "cancelled, taken",
            job_of(HARD, TAKEN, cancel=CANCEL),
            None,
            at(12),
            "stopped: cancelled; the reset had been sent and takes its course",
        ),
        ("cancelled, no answer yet", job_of(HARD, LOST, cancel=CANCEL), None, at(12), "wait until 16"),
        (
            "cancelled, no answer",
            job_of(HARD, LOST, cancel=CANCEL),
            live("running", 16),
            at(16),
            "fail: outcome_unknown",
        ),
    )
)
def test_reset(job, seen, now, step):
    assert decided(job, seen, now) == step


@pytest.mark.parametrize(("wish", "params"), [(SOFT, {"graceful": True}), (HARD, {})])
def test_a_reset_asks_the_guest_unless_it_is_hard(wish, params):
    assert next_step(job_of(wish), live("running"), at(1), TIMES).params == params


def test_a_reset_says_whether_vergeos_showed_it():
    unshown = next_step(job_of(HARD, TAKEN), live("running", 16), at(16), TIMES)
    shown = next_step(job_of(HARD, TAKEN), live("running", 16, started_at=12), at(16), TIMES)
    assert (unshown.result["confirmed"], shown.result["confirmed"]) == (False, True)
