"""The one sentence that a person is told while VergeOS cannot be seen."""

import pytest

from gateway.core.outage import outage_words

SINCE = 1_764_079_331.0  # 2025-11-25 14:02:11 UTC
MINUTE = 60.0
AWAY = "site unreachable since 14:02:11 UTC"


def words(after=5 * MINUTE, *, held=0, unbegun=0, first=None, last=None):
    told = {"expire_first": first, "expire_last": last, "gap_asks_after": 600.0}
    return outage_words(SINCE, SINCE + after, held=held, unbegun=unbegun, **told)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (words(), AWAY),
        (words(held=1), f"{AWAY}; 1 job held, nothing will be forced"),
        (
            words(held=7, unbegun=5, first=SINCE + 14.9 * MINUTE, last=SINCE + 15.2 * MINUTE),
            f"{AWAY}; 7 jobs held, nothing will be forced; 5 not yet begun expire at 14:17 and will not fire later",
        ),
        (
            words(unbegun=1, first=SINCE + 10 * MINUTE, last=SINCE + 10 * MINUTE),
            f"{AWAY}; 1 not yet begun expires at 14:12 and will not fire later",
        ),
        (
            words(unbegun=2, first=SINCE + 10 * MINUTE, last=SINCE + 13 * MINUTE),
            f"{AWAY}; 2 not yet begun expire between 14:12 and 14:15 and will not fire later",
        ),
        (
            words(11 * MINUTE, held=2),
            f"{AWAY}; 2 jobs held, nothing will be forced, they ask before they go on",
        ),
        (words(25 * 60 * MINUTE), "site unreachable since 2025-11-25 14:02:11 UTC"),
    ],
)
def test_an_outage_is_told_in_one_sentence(told, sentence):
    assert told == sentence


def test_what_should_have_expired_already_expires_now():
    told = words(20 * MINUTE, unbegun=1, first=SINCE, last=SINCE)
    assert "expires at 14:22" in told
