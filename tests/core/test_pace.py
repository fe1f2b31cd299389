"""The hour: reads keep within what is left, watching slows down before jobs do, and nobody takes all live reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pace import HOUR_SECONDS, LEAST_SHARE, MOST_SECONDS, SLOWEST_WATCH, Hour
from gateway.core.spender import Kind, Spender

ALICE, BOB, BOT = Spender(Kind.PERSON, "alice"), Spender(Kind.PERSON, "bob"), Spender(Kind.AGENT, "bot")
JOBS = Spender(Kind.LOOK)


def hour(spent=0, *, hot=0, limit=1_000, **more):
    return Hour(limit, {JOBS: spent}, hot=hot, **more)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (hour(0, hot=4), 30),
        (hour(480, hot=4), 30),
        (hour(600, hot=4), 36),
        (hour(750, hot=20), 288),
        (hour(5_000, hot=4), 144),  # never less than a tenth of the hour
        (hour(999, hot=500), MOST_SECONDS),
        (hour(5_000, hot=4, limit=0), 30),
    ],
)
def test_a_list_lives_longer_as_the_hour_shrinks(now, seconds):
    assert now.lifetime(30) == pytest.approx(seconds)


@given(hot=st.integers(1, 200), default=st.floats(1, 60), jobs=st.integers(0, 900), limit=st.integers(100, 10_000))
def test_steady_reads_and_jobs_together_stay_within_the_hour(hot, default, jobs, limit):
    """However many views are hot: reading on for hours, minute by minute, the sum of each hour fits."""
    jobs = min(jobs, int(limit * (1 - LEAST_SHARE)))
    minutes = [0.0] * 60
    for _ in range(240):
        spent = sum(minutes[-60:]) + jobs
        lifetime = Hour(limit, {JOBS: round(spent)}, hot=hot).lifetime(default)
        minutes.append(hot * 60 / lifetime)
        most = max(limit - jobs, limit * LEAST_SHARE, hot * HOUR_SECONDS / MOST_SECONDS)
        assert sum(minutes[-60:]) <= most * 1.02 + minutes[-1]


@pytest.mark.parametrize(
    ("spent", "stretch"), [(0, 1), (500, 1), (750, 2), (900, 5), (990, SLOWEST_WATCH), (2_000, SLOWEST_WATCH)]
)
def test_watching_slows_down_once_half_the_hour_is_spent(spent, stretch):
    assert hour(spent).watch_stretch == pytest.approx(stretch)


def test_without_a_limit_nothing_is_slower():
    free = Hour(0, {ALICE: 10**6}, lately={ALICE: 10**6}, hot=50)
    assert (free.lifetime(5), free.watch_stretch, free.too_much_live(ALICE)) == (5, 1.0, False)


def test_one_caller_cannot_take_the_live_reads_of_the_others():
    greedy = Hour(1_000, {ALICE: 200, BOB: 3, BOT: 3}, lately={ALICE: 60, BOB: 3})
    assert greedy.too_much_live(ALICE)
    assert not greedy.too_much_live(BOB)
    assert not greedy.too_much_live(Spender(Kind.MACHINE, "who was not here before"))


def test_a_caller_who_waits_may_read_live_again():
    assert not Hour(1_000, {ALICE: 200}, lately={}).too_much_live(ALICE)


@given(
    spent=st.dictionaries(st.sampled_from([ALICE, BOB, BOT, JOBS]), st.integers(0, 5_000)),
    who=st.sampled_from([ALICE, BOT]),
)
def test_everybody_may_read_live_once_however_little_is_left(spent, who):
    assert not Hour(1_000, spent).too_much_live(who)
