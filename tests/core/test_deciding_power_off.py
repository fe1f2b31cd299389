"""Power off, gracefully and forced: which step follows from which job, sight and moment."""

import pytest
from decider_cases import CANCEL, TIMES, answered, asked, at, decided, job_of, live, observed, question, refused, table

from gateway.core.decide import next_step
from gateway.core.job import JobState
from gateway.core.wishes import ForceOff, PowerOff

ASK_ONCE = PowerOff()
FORCE = PowerOff(wait_seconds=60, force=True)
NEVER = PowerOff(wait_seconds=60, force=False)
UNSAID = PowerOff(wait_seconds=60)
TAKEN = answered("poweroff", 10.0)
LOST = asked("poweroff", 10.0)
SINCE = {"started_before": -500.0}  # what runs with a later start was off meanwhile
CUT = answered("kill", 80.0)
CUT_LOST = asked("kill", 80.0)
ANEW = live("running", 6, started_at=4)  # off and started by somebody else: it is not to be cut once more
KILL_LOST = asked("kill", started_before=-500.0)
MAY_STILL = "stopped: cancelled; a guest that was asked to shut down may still do so, it will not be forced"
NOT_CUT = "stopped: cancelled; the power of web-1 was not cut"


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(FORCE), None, at(0), "look"),
        ("runs", job_of(FORCE), live("running"), at(1), "ask poweroff"),
        ("off already", job_of(FORCE), live("stopped"), at(1), "done: was off already"),
        ("hibernated", job_of(FORCE), live("hibernated"), at(1), "done: was off already"),
        ("disabled", job_of(FORCE), live("running", enabled=False), at(1), "ask poweroff"),
        ("somebody else stops it", job_of(FORCE), live("stopping"), at(1), "ask poweroff"),
        ("somebody else starts it", job_of(FORCE), live("initializing"), at(1), "wait until 150 or on"),
        ("somebody else starts it for ever", job_of(FORCE), live("starting"), at(150), "fail: still_starting"),
        ("no answer yet", job_of(FORCE, LOST), observed("running", 12), at(15.9), "wait until 16"),
        ("no answer yet, off", job_of(FORCE, LOST), observed("stopped", 12), at(12), "wait until 16"),
        ("no answer, off", job_of(FORCE, LOST), observed("stopped", 12), at(16), "done: off after 16 s"),
        ("no answer, no late look", job_of(FORCE, LOST), observed("running", 16), at(16), "look with log"),
        ("no answer, looked too early", job_of(FORCE, LOST), live("running", 15.9, log=True), at(16), "look with log"),
        ("no answer, looked without the log", job_of(FORCE, LOST), live("running", 16), at(16), "look with log"),
        ("no answer, no trace", job_of(FORCE, LOST), live("running", 16, log=False), at(16), "ask poweroff"),
        (
            "no answer, stands in the log",
            job_of(FORCE, LOST),
            live("running", 16, log=True),
            at(16),
            "confirm poweroff",
        ),
        ("no answer, is stopping", job_of(FORCE, LOST), live("stopping", 16, log=False), at(16), "confirm poweroff"),
        ("no answer, asked at 0.0", job_of(FORCE, asked("poweroff")), observed("running"), at(5), "wait until 6"),
        ("refused, not seen since", job_of(FORCE, refused("poweroff")), None, at(11), "look"),
        ("refused, runs", job_of(FORCE, refused("poweroff")), live("running", 900), at(900), "fail: refused"),
        ("refused, off", job_of(FORCE, refused("poweroff")), observed("stopped"), at(11), "done: off after 11 s"),
        ("taken, off", job_of(FORCE, TAKEN), observed("stopped", 12), at(12), "done: off after 12 s"),
        (
            "taken, started by somebody else since",
            job_of(FORCE, answered("poweroff", 10.0, **SINCE)),
            live("running", 71, started_at=40),
            at(71),
            "fail: started_meanwhile",
        ),
        (
            "no answer, started by somebody else since",
            job_of(FORCE, asked("poweroff", 10.0, **SINCE)),
            live("running", 16, started_at=12),
            at(16),
            "fail: started_meanwhile",
        ),
        (
            "no answer yet, started by somebody else since",
            job_of(FORCE, asked("poweroff", 10.0, **SINCE)),
            live("running", 13, started_at=12),
            at(13),
            "wait until 16",
        ),
        (
            "taken, off and begun at 5",
            job_of(FORCE, TAKEN, begun_at=5.0),
            observed("stopped"),
            at(12),
            "done: off after 7 s",
        ),
        (
            "taken, started anew by somebody",
            job_of(FORCE, TAKEN),
            observed("starting", 12),
            at(12),
            "wait until 70 or off",
        ),
        ("grace not over", job_of(FORCE, TAKEN), observed("running", 69), at(69), "wait until 70 or off"),
        ("grace not over, nothing seen", job_of(FORCE, TAKEN), None, at(69), "wait until 70 or off"),
        ("grace over", job_of(FORCE, TAKEN), live("running", 70), at(70), "ask kill"),
        ("grace over, nothing seen", job_of(FORCE, TAKEN), None, at(70), "look"),
        (
            "grace over, blind time does not count",
            job_of(FORCE, TAKEN),
            live("running", 70),
            at(70, blind=50),
            "wait until 120 or off",
        ),
        ("grace over, taken at 0.0", job_of(FORCE, answered("poweroff")), live("running", 60), at(60), "ask kill"),
        (
            "taken at 0.0, blind time does not count",
            job_of(FORCE, answered("poweroff")),
            live("running", 60),
            at(60, blind=10),
            "wait until 70 or off",
        ),
        ("never to be forced", job_of(NEVER, TAKEN), live("running", 70), at(70), "fail: still_running"),
        ("never to be forced, nothing seen", job_of(NEVER, TAKEN), None, at(70), "look"),
        ("wait 0 watches", job_of(ASK_ONCE, TAKEN), observed("running"), at(309), "wait until 310 or off"),
        (
            "wait 0 watches in seen time",
            job_of(ASK_ONCE, TAKEN),
            live("running", 310),
            at(310, blind=5),
            "wait until 315 or off",
        ),
        ("wait 0 gives up", job_of(ASK_ONCE, TAKEN), live("running", 310), at(310), "fail: still_running"),
        (
            "wait 0 never forces",
            job_of(PowerOff(force=True), TAKEN),
            live("running", 310),
            at(310),
            "fail: still_running",
        ),
        (
            "wait 0 never asks a person",
            job_of(ASK_ONCE, TAKEN, may_ask=True),
            live("running", 310),
            at(310),
            "fail: still_running",
        ),
        ("unsaid, nobody to ask", job_of(UNSAID, TAKEN), live("running", 70), at(70), "fail: still_running"),
        ("unsaid, asks", job_of(UNSAID, TAKEN, may_ask=True), live("running", 70), at(70), "inquire about force"),
        (
            "unsaid, within the grace",
            job_of(UNSAID, TAKEN, may_ask=True),
            observed("running"),
            at(69),
            "wait until 70 or off",
        ),
        (
            "said never, somebody to ask",
            job_of(NEVER, TAKEN, may_ask=True),
            live("running", 70),
            at(70),
            "fail: still_running",
        ),
        (
            "question is open",
            job_of(UNSAID, TAKEN, may_ask=True, question=question("force", asked_at=70.0)),
            live("running", 80),
            at(80),
            "wait until 370 or off",
        ),
        (
            "question is open, off",
            job_of(UNSAID, TAKEN, may_ask=True, question=question("force", asked_at=70.0)),
            observed("stopped", 80),
            at(80),
            "done: off after 80 s",
        ),
        (
            "answered with yes",
            job_of(UNSAID, TAKEN, may_ask=True, question=question("force", asked_at=70.0, yes=True, answered_at=90.0)),
            live("running", 90),
            at(90),
            "ask kill",
        ),
        (
            "answered with yes, asked at 0.0",
            job_of(
                UNSAID, answered("poweroff", -60.0), may_ask=True, question=question("force", yes=True, answered_at=0.0)
            ),
            live("running", 1),
            at(1),
            "ask kill",
        ),
        (
            "answered with no",
            job_of(UNSAID, TAKEN, may_ask=True, question=question("force", asked_at=70.0, yes=False, answered_at=90.0)),
            live("running", 90),
            at(90),
            "fail: still_running",
        ),
        (
            "a yes to the gap is none to force",
            job_of(UNSAID, TAKEN, question=question("gap", yes=True)),
            live("running", 70),
            at(70),
            "fail: still_running",
        ),
        ("cut, no answer yet", job_of(FORCE, TAKEN, CUT_LOST), observed("running", 82), at(82), "wait until 86"),
        ("cut, no answer, no late look", job_of(FORCE, TAKEN, CUT_LOST), observed("running", 86), at(86), "look"),
        ("cut, no answer, runs", job_of(FORCE, TAKEN, CUT_LOST), live("running", 86), at(86), "ask kill"),
        ("cut, no answer yet, off", job_of(FORCE, TAKEN, CUT_LOST), observed("stopped", 82), at(82), "wait until 86"),
        (
            "cut, no answer, off",
            job_of(FORCE, TAKEN, CUT_LOST),
            live("stopped", 86),
            at(86),
            "done: off after 86 s, forced",
        ),
        ("cut, waits", job_of(FORCE, TAKEN, CUT), observed("running", 85), at(85), "wait until 110 or off"),
        ("cut, off", job_of(FORCE, TAKEN, CUT), observed("stopped", 85), at(85), "done: off after 85 s, forced"),
        ("cut, without effect", job_of(FORCE, TAKEN, CUT), live("running", 110), at(110), "fail: kill_had_no_effect"),
        (
            "cut, blind time does not count",
            job_of(FORCE, TAKEN, CUT),
            live("running", 110),
            at(110, blind=9),
            "wait until 119 or off",
        ),
        ("cut refused, runs", job_of(FORCE, TAKEN, refused("kill", 80)), live("running", 81), at(81), "fail: refused"),
        (
            "cut refused because it is off",
            job_of(FORCE, TAKEN, refused("kill", 80)),
            live("stopped", 81),
            at(81),
            "done: off after 81 s",
        ),
        ("cancelled, no answer yet", job_of(FORCE, LOST, cancel=CANCEL), None, at(11), "wait until 16"),
        ("cancelled, no answer, over", job_of(FORCE, LOST, cancel=CANCEL), None, at(16), MAY_STILL),
        ("cancelled within the grace", job_of(FORCE, TAKEN, cancel=CANCEL), observed("running"), at(20), MAY_STILL),
        ("cancelled after the grace", job_of(FORCE, TAKEN, cancel=CANCEL), live("running", 90), at(90), MAY_STILL),
        ("cancelled, off", job_of(FORCE, TAKEN, cancel=CANCEL), observed("stopped"), at(20), "done: off after 20 s"),
        ("cancelled, refused", job_of(FORCE, refused("poweroff"), cancel=CANCEL), live("running"), at(20), MAY_STILL),
        (
            "cancelled while a question is open",
            job_of(UNSAID, TAKEN, cancel=CANCEL, question=question("force")),
            live("running", 90),
            at(90),
            MAY_STILL,
        ),
        (
            "cancelled after the cut",
            job_of(FORCE, TAKEN, CUT, cancel=CANCEL),
            observed("running", 85),
            at(85),
            "wait until 110 or off",
        ),
        (
            "cancelled, cut without an answer yet",
            job_of(FORCE, TAKEN, CUT_LOST, cancel=CANCEL),
            None,
            at(81),
            "wait until 86",
        ),
        ("cancelled, cut without an answer", job_of(FORCE, TAKEN, CUT_LOST, cancel=CANCEL), None, at(86), "look"),
        (
            "cancelled, cut without effect",
            job_of(FORCE, TAKEN, CUT_LOST, cancel=CANCEL),
            live("running", 86),
            at(86),
            NOT_CUT,
        ),
        ("after a gap, grace over", job_of(FORCE, TAKEN), live("running", 601), at(601), "inquire about gap"),
        (
            "after a gap, within the grace",
            job_of(PowerOff(wait_seconds=900), TAKEN),
            live("running", 601),
            at(601),
            "wait until 910 or off",
        ),
        ("after a gap, off", job_of(FORCE, TAKEN), observed("stopped", 601), at(601), "done: off after 601 s"),
        ("no gap yet", job_of(FORCE, TAKEN), live("running", 600), at(600), "ask kill"),
        ("not begun, however long", job_of(FORCE), live("running", 800), at(800), "ask poweroff"),
    )
)
def test_power_off(job, seen, now, step):
    assert decided(job, seen, now) == step


def test_a_power_off_that_gives_up_says_that_nothing_was_forced():
    step = next_step(job_of(NEVER, TAKEN), live("running", 70), at(70), TIMES)
    assert step.result == {"running": True, "forced": False}
    assert "60 s" in step.detail


@pytest.mark.parametrize(("cut", "forced"), [(CUT, True), (refused("kill", 80), False)])
def test_the_result_tells_whether_the_power_was_cut(cut, forced):
    step = next_step(job_of(FORCE, TAKEN, cut), live("stopped", 85), at(85.04), TIMES)
    assert step.result == {"running": False, "forced": forced, "waited_seconds": 85.0, "changed": True}


def test_a_vm_that_shuts_down_ends_the_job_while_its_gap_question_is_open():
    job = job_of(FORCE, TAKEN, question=question("gap", asked_at=700.0), state=JobState.INPUT_REQUIRED)
    assert decided(job, observed("stopped", 710), at(710)) == "done: off after 710 s"


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(ForceOff()), None, at(0), "look"),
        ("runs", job_of(ForceOff()), live("running"), at(1), "ask kill"),
        ("hangs in stopping", job_of(ForceOff()), live("stopping"), at(1), "ask kill"),
        ("is being started", job_of(ForceOff()), live("starting"), at(1), "ask kill"),
        ("off already", job_of(ForceOff()), live("stopped"), at(1), "done: was off already"),
        ("no answer yet", job_of(ForceOff(), asked("kill")), observed("running"), at(5), "wait until 6"),
        ("no answer yet, off", job_of(ForceOff(), asked("kill")), observed("stopped"), at(5), "wait until 6"),
        ("no answer, no late look", job_of(ForceOff(), asked("kill")), observed("running"), at(6), "look"),
        ("no answer, runs", job_of(ForceOff(), asked("kill")), live("running", 6), at(6), "ask kill"),
        ("no answer, runs on", job_of(ForceOff(), KILL_LOST), live("running", 6), at(6), "ask kill"),
        ("no answer, runs anew", job_of(ForceOff(), KILL_LOST), ANEW, at(6), "confirm kill"),
        ("no answer, off", job_of(ForceOff(), asked("kill")), live("stopped", 6), at(6), "done: off after 6 s, forced"),
        ("waits", job_of(ForceOff(), answered("kill")), observed("running"), at(5), "wait until 30 or off"),
        ("off", job_of(ForceOff(), answered("kill")), observed("stopped"), at(2), "done: off after 2 s, forced"),
        (
            "without effect",
            job_of(ForceOff(), answered("kill")),
            live("running", 30),
            at(30),
            "fail: kill_had_no_effect",
        ),
        ("refused", job_of(ForceOff(), refused("kill")), live("running"), at(1), "fail: refused"),
        ("refused, not seen since", job_of(ForceOff(), refused("kill")), None, at(1), "look"),
        (
            "refused because it is off",
            job_of(ForceOff(), refused("kill")),
            live("stopped"),
            at(1),
            "done: off after 1 s",
        ),
        (
            "cancelled, taken",
            job_of(ForceOff(), answered("kill"), cancel=CANCEL),
            observed("running"),
            at(5),
            "wait until 30 or off",
        ),
        ("cancelled, no answer", job_of(ForceOff(), asked("kill"), cancel=CANCEL), observed("running"), at(6), "look"),
        ("cancelled, runs", job_of(ForceOff(), asked("kill"), cancel=CANCEL), live("running", 6), at(6), NOT_CUT),
        ("after a gap", job_of(ForceOff(), asked("kill")), live("running", 601), at(601), "inquire about gap"),
        (
            "after a gap, refused by a person",
            job_of(ForceOff(), asked("kill"), progress_at=650.0, cancel=CANCEL, question=question("gap", yes=False)),
            live("running", 660),
            at(660),
            NOT_CUT,
        ),
    )
)
def test_force_off(job, seen, now, step):
    assert decided(job, seen, now) == step
