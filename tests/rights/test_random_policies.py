"""Under whatever policy: what is listed can be read, what is not stands nowhere, and changes go as the rules say."""

import asyncio
import os
import time

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings

from gateway.core.permission import Permission
from gateway.rights.policy_file import parse_policy, parse_selector
from tests.journeys.inprocess import house
from tests.rights.judged import Judge
from tests.rights.oracle import SITE, Oracle, policy_text, rename_all, select_texts, shuffle, site_of, stories

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")  # the loop's own

HUNT_SECONDS = float(os.environ.get("HUNT_SECONDS", "0"))
"""By hand: for so long other policies than the suite's are tried, each time others."""


def told(count, **more):
    few = settings(max_examples=count, deadline=None, database=None, report_multiple_bugs=False, **more)
    return settings(few, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink])


def right_of(story):
    """Return what the engine makes of a story."""
    policy, who = parse_policy(policy_text(story)), story["who"]
    within = (policy.of_person("owner"),) if who.kind == "agent" else ()
    return policy.right(who.roles, on=tuple(map(parse_selector, select_texts(who))), within=within)


@pytest.fixture
def world(sim):
    rename_all(sim)
    return sim


async def test_the_engine_says_what_follows_from_the_rules(world):
    shuffle(world, 1)
    things = site_of(world).things

    @told(40, derandomize=True)
    @given(story=stories)
    def check(story):
        right, oracle = right_of(story), Oracle(story)
        for permission in Permission:
            assert (permission in right.permissions) is oracle.holds(permission), permission
            for thing in things:
                facts = {name: tuple(values) for name, values in thing.facts.items()}
                assert right.decide(permission, facts).allowed is oracle.may(permission, thing.facts), thing

    await asyncio.to_thread(check)


@pytest.fixture
async def judge(world, settings, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("people: {}\n")
    more = {"policy_file": policy, "vergeos_site": SITE, "auth_failures_per_minute": 0, "calls_per_minute": 0}
    async with house(world, settings.model_copy(update=more), workers=0) as gateway:
        yield await Judge.of(gateway, policy)


async def tried(judge, decorate):
    """Judge one story after the other, each on the test's own loop."""
    loop = asyncio.get_running_loop()

    @decorate
    @given(story=stories)
    def check(story):
        note(f"{policy_text(story)} {story['who']} {story['shuffled']}")
        asyncio.run_coroutine_threadsafe(judge.check(story), loop).result()

    await asyncio.to_thread(check)


async def test_under_a_few_policies_nothing_leaks_and_all_that_is_listed_is_read(judge):
    await tried(judge, told(4, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(300 + HUNT_SECONDS)
async def test_under_many_policies_nothing_leaks_and_all_that_is_listed_is_read(judge):
    await tried(judge, told(30, derandomize=True))
    ends = time.monotonic() + HUNT_SECONDS
    while time.monotonic() < ends:
        await tried(judge, lambda check: seed(time.time_ns())(told(20)(check)))
