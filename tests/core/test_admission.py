"""Two wishes on one object: join, wait in order, go first, or be refused."""

import pytest
from decider_cases import CANCEL, job_of

from gateway.core.admission import Join, Queue, admit
from gateway.core.errors import TargetBusy
from gateway.core.job import Phase
from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize

ON, OFF, FORCE, RESET = PowerOn(), PowerOff(), ForceOff(), Reset()
OFF_LATER = PowerOff(wait_seconds=60)
RESIZE, SMALLER = Resize(cpu_cores=4), Resize(cpu_cores=1)


def line(*wishes, cancelled=()):
    """Open jobs with these wishes in this order, named j0, j1 …"""
    return [
        job_of(
            wish, id=f"j{place}", tool=wish.kind, owner=f"owner-{place}", cancel=CANCEL if place in cancelled else None
        )
        for place, wish in enumerate(wishes)
    ]


def verdict(wish, jobs, **more):
    """What becomes of a wish, in a few words."""
    try:
        found = admit(wish, jobs, **more)
    except TargetBusy as busy:
        return f"refused for {busy.extra['job']}"
    if isinstance(found, Join):
        return f"joins {found.job.id}"
    return "queues" if found.before is None else f"goes before {found.before.id}"


@pytest.mark.parametrize(
    ("wish", "jobs", "more", "expected"),
    [
        pytest.param(OFF, [], {}, "queues", id="nothing open"),
        pytest.param(OFF, line(OFF), {}, "joins j0", id="the same"),
        pytest.param(OFF, line(RESIZE, OFF), {}, "joins j1", id="the same, in the queue"),
        pytest.param(RESIZE, line(RESIZE), {}, "joins j0", id="the same resize"),
        pytest.param(RESIZE, line(SMALLER), {}, "queues", id="another size"),
        pytest.param(OFF_LATER, line(OFF), {}, "queues", id="the same with another grace"),
        pytest.param(OFF, line(OFF), {"again": True}, "queues", id="the same on purpose"),
        pytest.param(OFF, line(OFF), {"after": "j0"}, "queues", id="the same after it"),
        pytest.param(OFF, line(OFF, cancelled={0}), {}, "queues", id="the same, withdrawn"),
        pytest.param(OFF, line(OFF, OFF, cancelled={0}), {}, "joins j1", id="the same, one withdrawn"),
        pytest.param(ON, line(OFF), {}, "refused for j0", id="the opposite"),
        pytest.param(OFF, line(ON), {}, "refused for j0", id="the opposite of on"),
        pytest.param(FORCE, line(ON), {}, "refused for j0", id="force against on"),
        pytest.param(ON, line(RESIZE, OFF), {}, "refused for j1", id="the opposite in the queue"),
        pytest.param(ON, line(OFF), {"again": True}, "refused for j0", id="the opposite, again"),
        pytest.param(ON, line(OFF), {"after": "j0"}, "queues", id="the opposite after it"),
        pytest.param(ON, line(OFF), {"after": "gone"}, "refused for j0", id="the opposite after a job that has ended"),
        pytest.param(ON, line(OFF, cancelled={0}), {}, "queues", id="the opposite, withdrawn"),
        pytest.param(ON, line(ON, OFF), {}, "refused for j1", id="the same, followed by the opposite"),
        pytest.param(ON, line(OFF, ON), {}, "joins j1", id="the opposite, followed by the same"),
        pytest.param(ON, line(ON, OFF, cancelled={1}), {}, "joins j0", id="the same, followed by a withdrawn opposite"),
        pytest.param(RESET, line(OFF), {}, "queues", id="a reset behind an off"),
        pytest.param(RESIZE, line(ON), {}, "queues", id="a resize behind an on"),
        pytest.param(ON, line(RESIZE), {}, "queues", id="an on behind a resize"),
        pytest.param(FORCE, line(OFF), {}, "goes before j0", id="force takes an off over"),
        pytest.param(FORCE, line(OFF, OFF_LATER), {}, "goes before j0", id="force goes before the first off"),
        pytest.param(FORCE, line(RESIZE, OFF), {}, "goes before j1", id="force waits for a resize"),
        pytest.param(
            FORCE, line(OFF, cancelled={0}), {}, "goes before j0", id="force does not wait for a withdrawn off"
        ),
        pytest.param(FORCE, line(OFF, FORCE), {}, "joins j1", id="force joins force"),
        pytest.param(FORCE, line(OFF), {"after": "j0"}, "queues", id="force after an off, on purpose"),
        pytest.param(FORCE, line(OFF), {"after": "gone"}, "goes before j0", id="force after a job that has ended"),
        pytest.param(OFF, line(FORCE), {}, "queues", id="an off behind force"),
    ],
)
def test_admission(wish, jobs, more, expected):
    assert verdict(wish, jobs, **more) == expected


def test_a_refusal_tells_whose_job_stands_in_the_way_and_what_it_does():
    jobs = [job.model_copy(update={"phase": Phase.WAITING, "detail": "waiting up to 60 s"}) for job in line(OFF)]
    with pytest.raises(TargetBusy) as caught:
        admit(ON, jobs)
    assert caught.value.detail == "web-1: owner-0's power_off is waiting: waiting up to 60 s"
    assert caught.value.extra == {"job": "j0", "owner": "owner-0", "since": 0.0}
    assert "after=j0" in caught.value.next_step


def test_a_takeover_leaves_the_order_of_the_others_alone():
    jobs = line(RESIZE, OFF, RESET)
    assert admit(FORCE, jobs) == Queue(before=jobs[1])
