"""`vergeos-gateway doctor` says what stands in the way, and what to do about it."""

import re

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway import doctor, trial
from gateway.core.spender import Kind, Spender
from gateway.core.times import EngineTimes
from gateway.services import open_services
from gateway.store.backend import open_backend
from gateway.store.sizes import Server
from gateway.vergeos import spending
from tests.conftest import fast_settings


async def report(settings, *, try_credentials=False):
    async with open_backend(settings) as backend, open_services(settings, backend, worker=True) as services:
        return await doctor.examine(services, backend, try_credentials=try_credentials)


def test_a_redis_that_fills_up_is_told_before_it_is_full():
    assert Server(used_mb=60, most_mb=100, policy="noeviction", aof=True, fsync="always").risks() == []
    (risk,) = Server(used_mb=80, most_mb=100, policy="noeviction", aof=True, fsync="always").risks()
    assert "80% of its memory is used" in risk
    assert Server().risks() == []  # what is not told is no risk


async def test_sizes_queue_and_leader_are_told_and_what_the_redis_user_may_not_ask_is_passed_over(sim, session_redis):
    told = await report(fast_settings(sim.url, session_redis.gateway_url))
    for part in ("MB", "0 open, 0 of them not begun", "0 steps due", "watched by nobody", "0 job records", "views"):
        assert part in told
    assert "ENGINE_SPEED is for tests" in told
    assert "RISK" not in told  # CONFIG is refused to the gateway's user, so appendfsync is not known


@pytest.mark.parametrize(
    ("option", "value", "risk"),
    [
        ("appendonly", "no", "no AOF"),
        ("appendfsync", "no", "appendfsync no"),
        ("maxmemory-policy", "allkeys-lru", "may drop jobs"),
    ],
)
async def test_risky_settings_of_redis_are_told_with_what_to_set(sim, own_redis, option, value, risk):
    async with Redis.from_url(own_redis.url) as redis:
        await redis.config_set("appendfsync", "everysec")
        await redis.config_set(option, value)
    told = await report(fast_settings(sim.url, own_redis.url, engine_speed=1.0))
    assert risk in told
    assert told.count("RISK") == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mcp_wait_seconds": 55}, "MCP_WAIT_SECONDS"),
        ({"jobs_open_per_caller": 0}, "JOBS_OPEN_PER_CALLER"),
        ({"engine": EngineTimes(settle=2.0)}, "ENGINE__SETTLE"),
        ({"engine": EngineTimes(leader=0.5)}, "ENGINE__LEADER"),
        ({"engine": EngineTimes(fallback=4.0)}, "ENGINE__FALLBACK"),
        ({"engine": EngineTimes(gap_asks_after=30.0)}, "ENGINE__GAP"),
        ({"engine": EngineTimes(begin_within=10.0)}, "ENGINE__BEGIN"),
        ({"vergeos_timeout": 1.0}, "VERGEOS_TIMEOUT"),
    ],
)
def test_settings_that_do_not_fit_together_are_told(changed, words):
    plain = fast_settings("http://vergeos.test", "redis://redis.test", engine_speed=1.0)
    assert doctor.misfits(plain) == []
    (told,) = doctor.misfits(fast_settings("http://vergeos.test", "redis://redis.test", engine_speed=1.0, **changed))
    assert words in told


async def test_all_is_well_but_that_no_worker_runs(settings):
    told = await report(settings)
    assert "redis       ok" in told
    assert "vergeos     ok" in told
    assert "NO WORKER RUNS" in told
    assert "changes     accepted, made with the gateway's VergeOS key" in told
    assert "FROZEN: all changes are frozen by the setting READ_ONLY" in await report(
        settings.model_copy(update={"read_only": True})
    )


async def test_a_key_that_sees_less_than_the_platform_counts_is_told(sim, settings):
    sim.add_account("part", "part", "part-key", visible_vms={34})
    told = await report(settings.model_copy(update={"vergeos_api_key": SecretStr("part-key")}))
    assert "sees only 1 of" in told


async def test_every_read_is_tried_and_those_that_would_fail_are_named(sim, settings):
    sim.fault("status", path=r"/volumes\b", status=403, count=None)
    async with open_backend(settings) as backend, open_services(settings, backend) as services:
        told = await trial.tried(services)
    assert re.search(r"2\d reads tried with this key, 1 of them would fail", told)
    assert "list_volumes WOULD FAIL: vergeos_forbidden" in told
    assert sim.actions == []


@pytest.mark.parametrize("down", ["vergeos", "redis"])
async def test_what_does_not_answer_is_named_with_the_next_step(sim, redis_url, down):
    sim.down = down == "vergeos"
    told = await report(fast_settings(sim.url, redis_url if down == "vergeos" else "redis://127.0.0.1:1/0"))
    assert f"{down:<12}FAILS" in told


async def test_refused_credentials_are_tried_again_on_a_persons_word_only(sim, settings):
    sim.revoke_credentials()
    assert "vergeos_unauthorized" in await report(settings)
    sim.restore_credentials()
    assert "vergeos_unauthorized" in await report(settings)
    assert "vergeos     ok" in await report(settings, try_credentials=True)


async def test_what_is_left_of_the_budget_and_who_spent_it_is_told(sim, redis_url):
    settings = fast_settings(sim.url, redis_url, vergeos_requests_per_second=10)
    async with open_backend(settings) as backend, open_services(settings, backend) as services:
        with spending.bound(Spender(Kind.PERSON, "alice")):
            await services.views.vms()
    told = await report(settings)
    for part in ("of 1000 this hour", "of 10 this second", "of 20 at once", "person 1", "most by alice 1"):
        assert part in told
    free = {"vergeos_requests_per_hour": 0, "vergeos_requests_per_second": 0, "vergeos_max_concurrent": 0}
    assert "no limit is set" in await report(fast_settings(sim.url, redis_url, **free))
