"""The contract of reads at the front door: random callers, rights, writes, failures and clocks on two gateways.

`CONTRACT_STORIES=500` hunts for longer, each time with another seed.
"""

import asyncio
import os
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journeys.story import SIGHTS, opened, wired

HUNT = int(os.environ.get("CONTRACT_STORIES", "0"))
KINDS = [
    *("read", "read", "strict", "one", "one", "crowd", "outside", "outside"),
    *("job", "fault", "redis", "passes", "passes"),
]
STEPS = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 35),
    st.sampled_from(list(SIGHTS)),
    st.sampled_from([0.0, 5.0, 31.0, 90.0]),
)


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * HUNT)
def test_no_answer_is_older_than_it_says_or_anothers_and_vergeos_is_asked_within_the_budget(own_redis, monkeypatch):
    sent, stack = wired(monkeypatch), AsyncExitStack()
    with asyncio.Runner() as runner:

        @settings(
            max_examples=HUNT or 16,
            derandomize=not HUNT,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(steps=st.lists(STEPS, min_size=8, max_size=16))
        def told(steps):
            runner.run(story.tell(steps))

        try:
            story = runner.run(opened(stack, own_redis, sent))
            told()
        finally:
            runner.run(stack.aclose())
