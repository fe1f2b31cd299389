"""The measurements of the chaos harness work, at a small size: a kill costs seconds, a storm doubles nothing."""

import pytest

from tests.chaos.recovery import recoveries, storm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def test_the_jobs_of_a_killed_worker_go_on_within_seconds():
    assert max(await recoveries(2, 3.0)) < 10


async def test_no_power_off_is_doubled_when_its_worker_dies_among_many():
    doubled, sent = await storm(40, 2.0)
    assert doubled == 0
    assert 0 < sent < 40
