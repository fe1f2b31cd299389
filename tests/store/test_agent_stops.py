"""What one agent stops without a person is counted where its wish is accepted, and bounded."""

import pytest
from drafts import SAME_CALL_SECONDS, draft, jobs_on

from gateway.core.access import Caller, CallerKind
from gateway.core.errors import AgentLimit
from gateway.core.wishes import ForceOff, PowerOff, PowerOn, Reset, Resize
from gateway.store.agent_stops import AgentStops
from gateway.store.submission import Rules, submit

AGENT = Caller("claude", kind=CallerKind.AGENT, owner="ann").agent
LIMITED = Rules(SAME_CALL_SECONDS, AgentStops(in_10_minutes=2, in_a_day=3))


@pytest.fixture
def jobs(redis):
    return jobs_on(redis)


async def stop(jobs, vm, wish=None, agent=AGENT, rules=LIMITED, **more):
    wish = PowerOff() if wish is None else wish
    return (await submit(jobs, draft("claude", wish, vm, agent=agent, **more), rules)).job


async def test_an_agent_stops_so_many_in_ten_minutes_and_is_told_when_it_may_again(jobs):
    await stop(jobs, 1)
    await stop(jobs, 2, ForceOff())
    with pytest.raises(AgentLimit, match="agent ann/claude has stopped 2 in 10 minutes") as refused:
        await stop(jobs, 3, Reset())
    assert refused.value.retry_after == pytest.approx(600, abs=5)
    assert "person" in refused.value.next_step
    assert await jobs.open_on("vm:3") == []


async def test_what_stops_nothing_and_what_is_joined_does_not_count(jobs):
    for vm, wish in ((1, PowerOn()), (2, Resize(cpu_cores=2)), (3, PowerOff()), (3, PowerOff()), (4, Resize(ram_mb=1))):
        await stop(jobs, vm, wish)
    await stop(jobs, 5, Resize(cpu_cores=2, may_stop=True))
    with pytest.raises(AgentLimit):
        await stop(jobs, 6)


async def test_who_joins_a_stop_stops_as_well_and_is_refused_past_his_limit(jobs):
    for vm in (1, 2, 3):
        await submit(jobs, draft("ann", PowerOff(), vm), LIMITED)
    for vm in (1, 1, 2, 2):  # to call again is to join once
        await stop(jobs, vm)
    with pytest.raises(AgentLimit):
        await stop(jobs, 3)
    [job] = await jobs.open_on("vm:3")
    assert job.joiners == ()
    with pytest.raises(AgentLimit):
        await stop(jobs, 4)


async def test_the_limit_is_of_one_agent_of_one_person_and_none_of_people(jobs):
    for vm in (1, 2):
        await stop(jobs, vm)
    await stop(jobs, 3, agent="bob/claude")
    for vm in range(4, 12):
        await stop(jobs, vm, agent=None)


async def test_a_day_has_its_own_limit(jobs, redis):
    key = jobs.keys.agent_stops(AGENT)
    now = await jobs.now()
    await redis.zadd(key, {"a": now - 90_000, "b": now - 50_000, "c": now - 40_000})
    await stop(jobs, 1)
    with pytest.raises(AgentLimit, match="3 in a day") as refused:
        await stop(jobs, 2)
    assert refused.value.retry_after == pytest.approx(86_400 - 50_000, abs=5)
    assert 0 < await redis.ttl(key) <= 86_400


async def test_no_limit_is_none(jobs):
    for vm in range(1, 9):
        await stop(jobs, vm, rules=Rules(SAME_CALL_SECONDS))
