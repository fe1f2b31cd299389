"""Power on: which step follows from which job, sight and moment."""

import pytest
from decider_cases import CANCEL, TIMES, answered, asked, at, decided, job_of, live, observed, question, refused, table

from gateway.core.decide import next_step
from gateway.core.job import JobState
from gateway.core.wishes import PowerOn

ON = PowerOn()
TAKEN = answered("poweron", 10.0)
LOST = asked("poweron", 10.0)
LOST_LATELY = asked("poweron", 10.0, started_before=-500.0)
CONFIRMED = "confirm poweron"  # somebody stopped it again: that is not ours to undo
CANCELLED = "stopped: cancelled; the start had been asked for and may still happen"


@pytest.mark.parametrize(
    **table(
        ("nothing seen yet", job_of(ON), None, at(0), "look"),
        ("off", job_of(ON), live("stopped"), at(1), "ask poweron"),
        ("hibernated", job_of(ON), live("hibernated"), at(1), "ask poweron"),
        ("in error", job_of(ON), live("error"), at(1), "ask poweron"),
        ("runs already", job_of(ON), live("running"), at(1), "done: was running already"),
        ("disabled", job_of(ON), live("stopped", enabled=False), at(1), "fail: vm_disabled"),
        ("disabled but running", job_of(ON), live("running", enabled=False), at(1), "done: was running already"),
        ("somebody else stops it", job_of(ON), live("stopping"), at(1), "wait until 150 or off"),
        ("somebody else stops it for ever", job_of(ON), live("stopping"), at(150), "fail: still_stopping"),
        ("somebody else's kill is not over", job_of(ON), live("stopping", running=False), at(1), "wait until 150"),
        ("somebody else starts it", job_of(ON), live("initializing"), at(1), "wait until 150"),
        ("somebody else starts it for ever", job_of(ON), live("starting"), at(150), "ask poweron"),
        ("no answer yet", job_of(ON, LOST), observed("stopped", 15), at(15.9), "wait until 16"),
        ("no answer, no late look", job_of(ON, LOST), None, at(16), "look"),
        ("no answer, an observation is not enough", job_of(ON, LOST), observed("stopped", 16), at(16), "look"),
        ("no answer, looked too early", job_of(ON, LOST), live("stopped", 15.9), at(16), "look"),
        ("no answer, had no effect", job_of(ON, LOST), live("stopped", 16), at(16), "ask poweron"),
        ("no answer, is starting", job_of(ON, LOST), live("starting", 16), at(16), "confirm poweron"),
        ("no answer, runs", job_of(ON, LOST), live("running", 16), at(16), "confirm poweron"),
        ("no answer, ran meanwhile", job_of(ON, LOST_LATELY), live("stopped", 16, started_at=12), at(16), CONFIRMED),
        ("no answer, never ran", job_of(ON, LOST_LATELY), live("stopped", 16, started_at=-500), at(16), "ask poweron"),
        ("no answer, asked at 0.0", job_of(ON, asked("poweron", 0.0)), None, at(5), "wait until 6"),
        ("taken, runs", job_of(ON, TAKEN), observed("running", 11), at(11), "done: runs"),
        ("taken, is starting", job_of(ON, TAKEN), observed("starting", 11), at(11), "wait until 16 or on"),
        ("taken, still off at first", job_of(ON, TAKEN), observed("stopped", 15), at(15), "wait until 16 or on"),
        ("taken, seen off too early", job_of(ON, TAKEN), observed("stopped", 15), at(16), "look"),
        ("taken, not seen since", job_of(ON, TAKEN), None, at(16), "look"),
        ("taken, fell back to off", job_of(ON, TAKEN), live("stopped", 16), at(16), "fail: start_failed"),
        ("taken at 0.0, fell back", job_of(ON, answered("poweron")), live("stopped", 6), at(6), "fail: start_failed"),
        ("taken, without a licence", job_of(ON, TAKEN), live("unlicensed", 16), at(16), "fail: start_failed"),
        ("taken, takes long", job_of(ON, TAKEN), live("starting", 20), at(20), "wait until 160 or on"),
        ("taken, takes too long", job_of(ON, TAKEN), live("starting", 160), at(160), "fail: start_timeout"),
        (
            "taken, blind time does not count",
            job_of(ON, TAKEN),
            live("starting", 160),
            at(160, blind=40),
            "wait until 200 or on",
        ),
        (
            "taken at 0.0, blind",
            job_of(ON, answered("poweron")),
            live("starting", 150),
            at(150, blind=1),
            "wait until 151 or on",
        ),
        ("refused, not seen since", job_of(ON, refused("poweron", 10)), None, at(11), "look"),
        ("refused, off", job_of(ON, refused("poweron", 10)), live("stopped", 11), at(11), "fail: refused"),
        ("refused because it runs", job_of(ON, refused("poweron", 10)), live("running", 11), at(11), "done: runs"),
        (
            "refused because somebody starts it",
            job_of(ON, refused("poweron", 10)),
            live("starting", 11),
            at(11),
            "wait until 16 or on",
        ),
        ("cancelled, taken", job_of(ON, TAKEN, cancel=CANCEL), None, at(11), CANCELLED),
        ("cancelled, taken, runs", job_of(ON, TAKEN, cancel=CANCEL), observed("running", 11), at(11), "done: runs"),
        ("cancelled, no answer yet", job_of(ON, LOST, cancel=CANCEL), None, at(11), "wait until 16"),
        ("cancelled, no answer, over", job_of(ON, LOST, cancel=CANCEL), None, at(16), CANCELLED),
        ("cancelled, refused", job_of(ON, refused("poweron", 10), cancel=CANCEL), live("stopped"), at(11), CANCELLED),
        ("after a gap", job_of(ON, LOST), live("stopped", 601), at(601), "inquire about gap"),
        ("after a gap, but it runs", job_of(ON, TAKEN), live("running", 601), at(601), "done: runs"),
    )
)
def test_power_on(job, seen, now, step):
    assert decided(job, seen, now) == step


def test_a_failed_start_asks_for_the_machines_own_words():
    assert next_step(job_of(ON, TAKEN), live("stopped", 16), at(16), TIMES).explain
    assert next_step(job_of(ON, TAKEN), live("starting", 160), at(160), TIMES).explain


@pytest.mark.parametrize(("acts", "changed"), [((), False), ((TAKEN,), True)])
def test_the_result_tells_whether_the_job_changed_anything(acts, changed):
    step = next_step(job_of(ON, *acts), live("running", 11), at(11), TIMES)
    assert step.result == {"running": True, "changed": changed}


def test_a_vm_that_starts_by_itself_ends_the_job_while_its_question_is_open():
    job = job_of(ON, TAKEN, question=question("gap", asked_at=700.0), state=JobState.INPUT_REQUIRED)
    assert decided(job, observed("running", 710), at(710)) == "done: runs"
