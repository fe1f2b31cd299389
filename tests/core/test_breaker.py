"""Pauses and the breaker: pressed means a pause for all, failed again and again means that nobody asks but one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import ANSWERED, OPENS_AFTER, PAUSE_MOST_SECONDS, Health, News, Rests

RESTS = Rests(0.5, 15.0)
DROPPED = News(failures=1, pressed=True, why="dropped")
TIMEOUT = News(failures=1, why="no answer")


def after(*news, now=100.0, health=None):
    health = health or Health()
    for one in news:
        health = health.after(one, now, RESTS)
    return health


def test_each_drop_in_a_row_doubles_the_pause_of_all():
    pauses = [round(after(*[DROPPED] * count).pause_until - 100.0, 3) for count in range(1, 8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_timeout_is_no_sign_of_pressure():
    assert after(TIMEOUT).pause_until <= 100.0


@pytest.mark.parametrize(("told", "pause"), [(0.0, 0.1), (7.0, 7.0), (86_400.0, PAUSE_MOST_SECONDS)])
def test_what_vergeos_asks_for_is_honoured_up_to_a_minute(told, pause):
    assert after(News(failures=1, pressed=True, pause=told)).pause_until == pytest.approx(100.0 + pause)


def test_an_answer_ends_the_row_but_not_the_pause():
    health = after(DROPPED, ANSWERED)
    assert (health.failures, health.pause_until) == (0, pytest.approx(100.1))


def test_the_breaker_opens_after_failures_in_a_row_and_rests_longer_each_time():
    assert after(*[TIMEOUT] * (OPENS_AFTER - 1)).open_since is None
    rests = [after(*[TIMEOUT] * (OPENS_AFTER + more)).try_at - 100.0 for more in range(7)]
    assert rests == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_nobody_tries_before_a_pause_is_over():
    assert after(*[DROPPED] * OPENS_AFTER).try_at == after(*[DROPPED] * OPENS_AFTER).pause_until == 101.6


def test_only_one_tries_and_an_answer_closes_the_breaker():
    broken = after(*[TIMEOUT] * OPENS_AFTER)
    assert broken.trying(100.4, 30.0) is None
    tried = broken.trying(100.5, 30.0)
    assert tried is not None
    assert tried.trying(100.6, 30.0) is None  # somebody tries
    assert tried.trying(130.5, 30.0) is not None  # who tried has died
    assert tried.after(ANSWERED, 101.0, RESTS).open_since is None
    assert tried.after(TIMEOUT, 101.0, RESTS).try_at == 102.0
    assert Health().trying(100.0, 30.0) is None


@given(st.lists(st.sampled_from([DROPPED, TIMEOUT, ANSWERED])))
def test_news_told_together_are_as_news_told_one_by_one(news):
    together = News()
    for one in news:
        together = together.then(one)
    apart, at_once = after(*news), after(together)
    assert (apart.failures, apart.open_since is None) == (at_once.failures, at_once.open_since is None)
