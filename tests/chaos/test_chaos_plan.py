"""A plan is its seed: the same every time, another for another seed, and as large as it was asked for."""

import pytest

from tests.chaos.focus import FOCUSES, VMS, focused
from tests.chaos.mutants import MUTANTS
from tests.chaos.plan import make_plan


def test_a_seed_makes_the_same_plan_every_time():
    assert make_plan(5, jobs=80, vms=10, kills=8) == make_plan(5, jobs=80, vms=10, kills=8)
    assert make_plan(5, jobs=80, vms=10, kills=8) != make_plan(6, jobs=80, vms=10, kills=8)


def test_a_plan_has_the_calls_and_kills_that_were_asked_for_in_the_order_of_time():
    plan = make_plan(5, jobs=400, vms=10, kills=40)
    assert (len(plan.calls), plan.kills, len(plan.characters)) == (400, 40, 10)
    assert len({call.tool for call in plan.calls}) == 12
    assert {event.what for event in plan.events} == {
        *("kill", "freeze", "go_back", "evict", "lose_leases", "fault", "blackout", "revoke", "meddle"),
    }
    for moments in (plan.calls, plan.events):
        assert list(moments) == sorted(moments, key=lambda moment: moment.at)
        assert all(0 <= moment.at <= plan.seconds + 1 for moment in moments)
    assert sum(1 for _ in plan.lines()) == len(plan.calls) + len(plan.events)


@pytest.mark.parametrize("name", FOCUSES)
def test_a_plan_that_dwells_on_a_safeguard_is_its_seed_too_and_belongs_to_a_mutant(name):
    plan = focused(name, 5)
    assert plan == focused(name, 5) != focused(name, 6)
    assert {call.vm for call in plan.calls} == set(plan.characters) == set(range(VMS))
    assert name in {mutant.focus for mutant in MUTANTS.values()}
