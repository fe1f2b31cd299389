"""The judge of the chaos harness on made-up evidence: a clean log passes, and each kind of breach is found."""

from dataclasses import replace

import pytest

from gateway.core.events import JobEvent
from gateway.core.job import Act, Condition, Job, JobState, Problem, Question, Target
from gateway.core.wishes import CreateSnapshot, PowerOff, PowerOn, Resize
from tests.chaos.evidence import PERSON, Accepted, Action, Evidence, GoneBack
from tests.chaos.judge import BREACHES, judge, taken_back

T = 1000.0


def job_of(job_id="j1", wish=None, *labels, key=34, begun=T + 1, ended=T + 9, **more):
    acts = tuple(Act(label=label, action=label, intended_at=begun, answered_at=begun) for label in labels)
    values = {
        "id": job_id,
        "site": "chaos",
        "tool": "a_tool",
        "arguments": {},
        "wish": wish or PowerOff(wait_seconds=3, force=True),
        "target": Target(key=key, machine_key=90 + key, name="web-1", uuid="u"),
        "owner": "ann",
        "face": "rest",
        "state": JobState.COMPLETED,
        "created_at": T,
        "progress_at": T,
        "updated_at": T,
        "begun_at": begun if acts else None,
        "ended_at": ended,
        "acts": acts,
    }
    return Job(**{**values, **more})


def done(action, at, job="j1", *, label=None, landed=0.5, key=34, name="web-1", table="vm_actions", **more):
    effect_at = None if landed is None else at + landed
    return Action(at, table, key, name, action, user=f"{job}/{label or action}", effect_at=effect_at, **more)


def evidence_of(*jobs, actions=(), **more):
    """Return evidence in which each job was accepted and its last event told its end."""
    events = {job.id: (JobEvent(job_id=job.id, seq=1, at=T, state=job.state),) for job in jobs}
    accepted = tuple(Accepted(f"c-{job.id}", job.id, T) for job in jobs)
    values = {"actions": tuple(actions), "records": {job.id: job for job in jobs}, "events": events}
    return Evidence(**{**values, "accepted": accepted, "ran": {"vm:34": True}, "step_seconds": 1.0, **more})


def breaches(evidence):
    return {violation.rule for violation in judge(evidence)[0]}


OFF = job_of("j1", None, "poweroff", "kill")
OFF_ACTIONS = (done("poweroff", T + 1, landed=None), done("kill", T + 5))
RESIZE = Resize(cpu_cores=4, may_stop=True, force=True, wait_seconds=1)
RAN = Condition(running=True, started_at=1.0, cpu_cores=2, ram_mb=1024)
SIZED = done("update", T + 1, label="change", table="vms", params={"cpu_cores": 4})


def test_a_clean_run_breaks_no_rule():
    resized = job_of("j2", RESIZE, "change", "stop", "start", begun=T + 11, ended=T + 20, before=RAN)
    actions = (
        *OFF_ACTIONS,
        Action(T + 10, "vm_actions", 34, "web-1", "poweron", user=PERSON, effect_at=T + 10.5),
        replace(SIZED, at=T + 11, user="j2/change"),
        done("poweroff", T + 12, "j2", label="stop"),
        done("poweron", T + 14, "j2", label="start"),
    )
    assert judge(evidence_of(OFF, resized, actions=actions, runs={"vm:34": True})) == ([], [])


def with_job(**changes):
    return evidence_of(OFF.model_copy(update=changes), actions=OFF_ACTIONS)


def resized_with(*actions, **changes):
    job = job_of("j1", RESIZE, "change", "stop", before=RAN, **changes)
    return evidence_of(job, actions=(SIZED, done("poweroff", T + 2, label="stop"), *actions), runs={"vm:34": False})


SECOND = job_of("j2", PowerOn(), "poweron", begun=T + 4, ended=T + 8)
UNANSWERED = (Act(label="poweroff", action="poweroff", intended_at=T + 1),)
UNKNOWN = Problem(code="outcome_unknown", detail="", next_step="")
SNAPSHOT = job_of("j1", CreateSnapshot(), "create_snapshot")
KEYED = (Accepted("c1", "j1", T, "k"), Accepted("c1", "j2", T + 9, "k"))

BROKEN = {
    "lost": evidence_of(OFF, actions=OFF_ACTIONS, accepted=(Accepted("c9", "j9", T),)),
    "unfinished": with_job(state=JobState.WORKING, ended_at=None),
    "doubled": evidence_of(OFF, actions=(*OFF_ACTIONS, done("kill", T + 6, landed=None))),
    "unrecorded": evidence_of(OFF, actions=(*OFF_ACTIONS, done("reset", T + 6))),
    "two jobs for one key": evidence_of(OFF, job_of("j2"), actions=OFF_ACTIONS, accepted=KEYED),
    "key misused": evidence_of(OFF, actions=OFF_ACTIONS, accepted=(Accepted("c1", "j1", T, "k", misused=True),)),
    "wrong target": evidence_of(OFF, actions=(*OFF_ACTIONS[:1], done("kill", T + 5, name="renamed"))),
    "wrong end": evidence_of(OFF, actions=OFF_ACTIONS[:1]),
    "left off": resized_with(ended=T + 6, state=JobState.FAILED),
    "nobody asked": evidence_of(OFF, actions=OFF_ACTIONS, runs={"vm:34": True}),
    "forced": evidence_of(OFF, actions=(OFF_ACTIONS[0], done("kill", T + 2))),
    "order": evidence_of(OFF, SECOND, actions=(*OFF_ACTIONS, done("poweron", T + 7, "j2"))),
    "outcome unknown": with_job(state=JobState.FAILED, trouble=UNKNOWN, acts=UNANSWERED),
    "events": evidence_of(OFF, actions=OFF_ACTIONS, events={}),
    "untold": evidence_of(OFF, actions=OFF_ACTIONS, audited={("j1", "poweroff"): 1}),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_each_breach_is_found(rule):
    assert rule in breaches(BROKEN[rule])


def test_every_rule_has_a_case():
    assert set(BROKEN) == set(BREACHES)


TOLD = {("j1", "poweroff"): 1, ("j1", "kill"): 1}
MORE_BROKEN = {
    "another object": ("wrong target", evidence_of(OFF, actions=(*OFF_ACTIONS[:1], done("kill", T + 5, key=35)))),
    "a replaced VM": ("wrong target", evidence_of(OFF, actions=OFF_ACTIONS, replaced=(("vm:34", T + 2),))),
    "two creates": (
        "doubled",
        evidence_of(
            SNAPSHOT,
            actions=[
                done("create", T + i, label="create_snapshot", table="machine_snapshots", params={"machine": 124})
                for i in (1, 2)
            ],
        ),
    ),
    "a snapshot that is not there": ("wrong end", evidence_of(SNAPSHOT)),
    "a kill that nobody allowed": (
        "forced",
        evidence_of(OFF.model_copy(update={"wish": PowerOff(wait_seconds=3)}), actions=OFF_ACTIONS),
    ),
    "a kill without a power-off": ("forced", evidence_of(OFF, actions=OFF_ACTIONS[1:])),
    "the size of another": ("wrong end", resized_with(replace(SIZED, at=T + 3, params={"cpu_cores": 2}))),
    "an act of a job unknown": ("unrecorded", evidence_of(actions=[done("kill", T + 1, "j9")])),
    "an answer that the audit made up": (
        "untold",
        evidence_of(OFF, actions=OFF_ACTIONS, audited=TOLD, answered={**TOLD, ("j1", "stop"): 1}),
    ),
    "REST tells another end": ("lost", evidence_of(OFF, actions=OFF_ACTIONS, told={"j1": "failed"})),
}


@pytest.mark.parametrize("name", MORE_BROKEN)
def test_each_way_to_break_a_rule_is_found(name):
    rule, evidence = MORE_BROKEN[name]
    assert rule in breaches(evidence)


def test_an_audit_that_tells_each_act_and_answer_is_right():
    assert judge(evidence_of(OFF, actions=OFF_ACTIONS, audited=TOLD, answered=TOLD)) == ([], [])


def test_a_kill_that_a_person_allowed_is_right():
    said = Question(text="?", about="force", asked_at=T + 4, expires_at=T + 9, answered_at=T + 5, yes=True)
    job = OFF.model_copy(update={"wish": PowerOff(wait_seconds=3), "question": said})
    assert judge(evidence_of(job, actions=OFF_ACTIONS)) == ([], [])


def test_a_forced_power_off_may_take_over_from_a_graceful_one():
    second = SECOND.model_copy(update={"overtakes": "j1", "wish": PowerOff()})
    assert "order" not in breaches(evidence_of(OFF, second, actions=OFF_ACTIONS))


def test_what_people_do_to_a_vm_is_nobodys_fault():
    by_hand = Action(T + 8, "vm_actions", 34, "web-1", "kill", user=PERSON, effect_at=T + 8.5)
    started = done("poweron", T + 4, label="start")
    job = job_of("j1", RESIZE, "change", "stop", "start", before=RAN)
    actions = (SIZED, done("poweroff", T + 2, label="stop"), started, by_hand)
    assert judge(evidence_of(job, actions=actions, runs={"vm:34": False})) == ([], [])


def test_a_vm_renamed_between_look_and_act_is_not_held_against_the_job():
    renamed = Action(T + 4.5, "vms", 34, "web-1", "update", {"name": "renamed"}, PERSON)
    actions = (OFF_ACTIONS[0], renamed, done("kill", T + 5, name="renamed"))
    assert judge(evidence_of(OFF, actions=actions)) == ([], [])


def test_an_old_copy_of_redis_may_take_jobs_back_but_not_double_their_effects():
    gap = GoneBack(T - 1, T + 2)
    accepted = (Accepted("c1", "j1", T), Accepted("c9", "j9", T))
    twice_asked = evidence_of(
        OFF,
        actions=(done("poweroff", T + 1, landed=None), *OFF_ACTIONS),
        gone_back=(gap,),
        accepted=accepted,
    )
    assert (judge(twice_asked), taken_back(twice_asked)) == (([], []), ["j9"])
    twice_felt = replace(twice_asked, actions=(*twice_asked.actions, done("kill", T + 6)))
    assert breaches(twice_felt) == {"doubled"}


def test_what_another_deleted_may_be_made_again_by_a_job_that_redis_forgot_had_ended():
    make = {"label": "create_snapshot", "table": "machine_snapshots", "name": "nightly", "landed": 0}
    took = (done("create", T + 1, **make), done("create", T + 6, **make))
    gone = done("delete", T + 3, "j2", table="machine_snapshots", name="nightly", landed=0)
    forgot = evidence_of(
        job_of("j1", CreateSnapshot(), "create_snapshot"),
        job_of("j2", CreateSnapshot(), "delete"),
        actions=(took[0], gone, took[1]),
        gone_back=(GoneBack(T + 2, T + 4),),
    )
    assert "doubled" not in breaches(forgot)
    assert "doubled" in breaches(replace(forgot, actions=took))


def test_what_a_job_forgot_of_itself_is_told_apart():
    evidence = replace(BROKEN["nobody asked"], gone_back=(GoneBack(T - 1, T + 2),), actions=OFF_ACTIONS[:1])
    violations, explained = judge(replace(evidence, runs={}))
    assert (violations, [found.rule for found in explained]) == ([], ["wrong end"])
