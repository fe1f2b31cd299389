"""What holds for the jobs of every kind: age, cancel, questions, gaps, requests that may still land."""

from typing import get_args

import pytest
from decider_cases import CANCEL, TIMES, answered, asked, at, decided, job_of, live, observed, question, told

from gateway.core.decide import DECIDERS, before_begun, with_answers
from gateway.core.job import Job, JobState
from gateway.core.step import Seen
from gateway.core.wishes import AnyWish, ForceOff, PowerOff, PowerOn, Reset, Resize

WISHES = (PowerOn(), PowerOff(), ForceOff(), Reset(), Resize(cpu_cores=4))
FORCE = PowerOff(wait_seconds=60, force=True)
OFF_ASKED = answered("poweroff")
BEGUN = (
    (PowerOn(), asked("poweron"), "stopped"),
    (PowerOff(), asked("poweroff"), "running"),
    (ForceOff(), asked("kill"), "running"),
    (Resize(cpu_cores=4), asked("change", action="set_size"), "running"),
)


def kinds(value):
    return getattr(value, "kind", None)


def test_every_kind_of_wish_has_its_decider():
    kinds_of_wishes = get_args(get_args(AnyWish)[0])
    assert set(DECIDERS) == {wish.model_fields["kind"].default for wish in kinds_of_wishes}


@pytest.mark.parametrize("wish", WISHES, ids=kinds)
def test_a_job_that_was_not_begun_in_time_expires(wish):
    assert before_begun(job_of(wish), at(899.9), TIMES) is None
    assert told(before_begun(job_of(wish), at(900), TIMES)) == "fail: expired"
    assert told(before_begun(job_of(wish, created_at=500.0), at(1_400), TIMES)) == "fail: expired"


@pytest.mark.parametrize("wish", WISHES, ids=kinds)
def test_a_cancel_before_the_first_act_ends_the_job_with_nothing_done(wish):
    step = before_begun(job_of(wish, cancel=CANCEL), at(1), TIMES)
    assert told(step) == "stopped: cancelled by ann before anything was done"


def test_a_job_begun_at_zero_is_begun():
    begun = job_of(FORCE, OFF_ASKED)
    assert begun.begun_at == 0.0
    assert before_begun(begun, at(9_999), TIMES) is None
    assert before_begun(begun.model_copy(update={"cancel": CANCEL}), at(1), TIMES) is None


def test_an_open_question_that_ran_out_counts_as_no():
    job = job_of(FORCE, OFF_ASKED, question=question("force"))
    assert with_answers(job, at(299.9)) == job
    late = with_answers(job, at(300)).question
    assert (late.yes, late.answered_at) == (False, 300)


def test_an_answer_at_zero_is_an_answer():
    given = question("gap", asked_at=-5.0, yes=True, answered_at=0.0)
    assert with_answers(job_of(FORCE, OFF_ASKED, question=given, progress_at=-900.0), at(1)).progress_at == 0.0


def test_a_yes_is_kept_when_its_time_runs_out():
    given = question("force", yes=True, answered_at=10.0)
    assert with_answers(job_of(FORCE, OFF_ASKED, question=given), at(900)).question.yes is True


@pytest.mark.parametrize("yes", [False, None])
def test_no_word_on_a_gap_withdraws_the_job(yes):
    given = question("gap", yes=yes, answered_at=None if yes is None else 10.0)
    job = with_answers(job_of(FORCE, OFF_ASKED, question=given), at(300))
    assert job.cancel is not None
    assert decided(job, live("running", 300), at(300)).startswith("stopped: cancelled")


def test_a_callers_own_cancel_is_kept_over_a_no():
    job = job_of(FORCE, OFF_ASKED, cancel=CANCEL, question=question("gap", yes=False, answered_at=10.0))
    assert with_answers(job, at(300)).cancel == CANCEL


def test_a_no_to_force_does_not_withdraw_the_job():
    assert with_answers(job_of(FORCE, OFF_ASKED, question=question("force")), at(300)).cancel is None


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_a_begun_job_that_stood_still_asks_before_it_goes_on(wish, act, status):
    job = job_of(wish, act)
    assert decided(job, live(status, 600, log=False), at(600)) == f"ask {act.label}"
    assert decided(job, live(status, 601, log=False), at(601)) == "inquire about gap"


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_an_open_gap_question_holds_the_job(wish, act, status):
    open_question = {
        "question": question("gap", asked_at=601.0),
        "state": JobState.INPUT_REQUIRED,
        "progress_at": 601.0,
    }
    assert decided(job_of(wish, act, **open_question), live(status, 610, log=False), at(610)) == "wait until 901"


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_a_yes_to_the_gap_lets_the_job_go_on(wish, act, status):
    given = question("gap", asked_at=601.0, yes=True, answered_at=650.0)
    job = with_answers(job_of(wish, act, question=given), at(660))
    assert decided(job, live(status, 660, log=False), at(660)) == f"ask {act.label}"


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_a_second_gap_asks_again(wish, act, status):
    given = question("gap", asked_at=601.0, yes=True, answered_at=650.0)
    job = with_answers(job_of(wish, act, question=given), at(1_300))
    assert decided(job, live(status, 1_300, log=False), at(1_300)) == "inquire about gap"


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_a_cancel_is_heard_while_a_gap_question_is_open(wish, act, status):
    job = job_of(wish, act, question=question("gap", asked_at=601.0), state=JobState.INPUT_REQUIRED, cancel=CANCEL)
    assert decided(job, live(status, 610, log=False), at(610)).startswith(("stopped: cancelled", "undo: cancelled"))


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_after_a_cancel_nothing_is_asked_of_vergeos_again(wish, act, status):
    step = decided(job_of(wish, act, cancel=CANCEL), live(status, 6, log=False), at(6))
    assert not step.startswith(("ask", "inquire"))


@pytest.mark.parametrize(
    ("wish", "act", "seen"),
    [
        (PowerOn(), asked("poweron", 10.0), observed("running", 11)),
        (PowerOff(), asked("poweroff", 10.0), observed("stopped", 11)),
        (ForceOff(), asked("kill", 10.0), observed("stopped", 11)),
        (Reset(hard=True), asked("reset", 10.0), observed("running", 11, started_at=10.5)),
    ],
    ids=kinds,
)
def test_no_job_ends_while_its_own_request_may_still_land(wish, act, seen):
    assert decided(job_of(wish, act), seen, at(11)) == "wait until 16"
    assert decided(job_of(wish, act, cancel=CANCEL), seen, at(11)) == "wait until 16"


@pytest.mark.parametrize(("wish", "act", "status"), BEGUN, ids=kinds)
def test_a_request_that_a_stalled_vergeos_may_still_hold_is_not_sent_again(wish, act, status):
    stalled = act.model_copy(update={"patient_intent": act.intended_at})
    seen = live(status, 7, log=False)
    assert decided(job_of(wish, stalled), seen, at(7, blind=4)) == "wait until 10"
    assert decided(job_of(wish, stalled), live(status, 10, log=False), at(10, blind=4)).startswith("ask")


@pytest.mark.parametrize("wish", WISHES, ids=kinds)
def test_a_record_outlives_its_text(wish):
    job = job_of(wish, OFF_ASKED, question=question("gap"), cancel=CANCEL)
    assert Job.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize("wish", WISHES, ids=kinds)
def test_a_job_whose_object_is_gone_ends(wish):
    gone = Seen(at=1.0, running=False, status="", gone=True)
    assert decided(job_of(wish), gone, at(1)) == "fail: target_gone"
