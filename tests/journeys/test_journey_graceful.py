"""Stops and outages that harm nothing: SIGTERM under load, Redis away for long, Redis full."""

import asyncio
import signal
import time
from collections import Counter

import pytest
from inprocess import engine_settings, house
from redis.asyncio import Redis

from tests.conftest import AT_ONCE_SECONDS, eventually

LONG = {"wait_timeout": 600, "force_after_timeout": False}


async def leases(redis):
    return [key async for key in redis.scan_iter(match="arq:in-progress:*")]


async def test_a_worker_that_is_told_to_stop_under_load_waits_for_no_job_and_leaves_no_lease(system, own_redis):
    vms = [system.sim.vm(row["$key"]) for row in system.sim.world.db["vms"] if not row.get("is_snapshot")]
    vms = [vm.ignore_acpi() for vm in vms if vm.running][:30]
    await system.gateway()
    worker = await system.worker()
    answers = await asyncio.gather(*(system.call("POST", f"/vms/{vm.key}/poweroff", LONG) for vm in vms))
    assert {status for status, _ in answers} == {202}
    async with Redis.from_url(own_redis.url) as redis:
        await eventually(lambda: leases(redis))
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0
        assert await leases(redis) == []
        assert not await redis.exists(*[key async for key in redis.scan_iter(match="vg:*:leader")] or ["none"])
        await system.worker()
        await eventually(lambda: len(system.sim.actions) >= len(vms))
        for _, job in answers:
            await system.call("POST", f"/jobs/{job['id']}/cancel")
        ended = [await system.ended(job["id"]) for _, job in answers]
    assert {job["state"] for job in ended} == {"cancelled"}
    assert Counter(tuple(system.sim.power_actions(vm.key)) for vm in vms) == {("poweroff",): len(vms)}


@pytest.mark.slow
async def test_redis_away_for_half_a_minute_refuses_submits_at_once_and_workers_come_back_by_themselves(
    system, own_redis
):
    vm, other = system.sim.vm("web-1").ignore_acpi(), system.sim.vm("web-2").start()
    await system.gateway()
    worker = await system.worker()
    _, waiting = await system.call("POST", f"/vms/{vm.key}/poweroff", LONG)
    await eventually(lambda: system.sim.power_actions(vm.key))
    own_redis.stop()
    gone_until = time.monotonic() + 30
    while time.monotonic() < gone_until:
        began = time.monotonic()
        status, problem = await system.call("POST", f"/vms/{other.key}/poweroff", LONG)
        assert (status, problem["code"]) == (503, "store_unavailable")
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert worker.alive
        await asyncio.sleep(1)  # time has to pass
    own_redis.start()
    await eventually(lambda: system.answers("/readyz"))
    status, job = await system.call("POST", f"/vms/{other.key}/poweroff", {"wait_timeout": 60})
    assert status == 202
    assert (await system.ended(job["id"]))["state"] == "completed"
    await system.call("POST", f"/jobs/{waiting['id']}/cancel")
    assert (await system.ended(waiting["id"]))["state"] == "cancelled"
    assert system.sim.power_actions(vm.key) == ["poweroff"]
    assert system.sim.power_actions(other.key) == ["poweroff"]


async def out_of_memory(redis):
    """Return how many commands Redis has refused because it is full."""
    return (await redis.info("errorstats")).get("errorstat_OOM", {}).get("count", 0)


async def more_out_of_memory(redis, before):
    return await out_of_memory(redis) > before


async def contents(redis):
    keys = sorted([key async for key in redis.scan_iter(match="vg:*")])
    return {key: await redis.dump(key) for key in keys if b":worker:" not in key and b":leader" not in key}


async def test_a_full_redis_accepts_nothing_writes_no_half_and_the_jobs_under_way_go_on_afterwards(sim, own_redis):
    async with (
        house(sim, engine_settings(sim, own_redis.url), workers=0) as gateway,
        Redis.from_url(own_redis.url) as redis,
    ):
        vm, other = sim.vm("web-1"), sim.vm("web-2").start()
        accepted = await gateway.power_off(vm, wait_timeout=60)
        await gateway.get(f"/vms/{other.key}")
        before = await contents(redis)
        await redis.config_set("maxmemory", 1)
        refused = await gateway.call("POST", f"/vms/{other.key}/poweroff", {"wait_timeout": 60})
        assert "full" in refused.problem(503, "store_unavailable")["detail"]
        assert refused.headers["Retry-After"] == "60"
        cancel = await gateway.call("POST", f"/jobs/{accepted['id']}/cancel")
        cancel.problem(503, "store_unavailable")
        assert (await gateway.get(f"/jobs/{accepted['id']}")).body["state"] == "working"
        refusals = await out_of_memory(redis)
        await gateway.start_worker()
        await eventually(lambda: more_out_of_memory(redis, refusals))
        assert await contents(redis) == before
        assert sim.actions == []  # an intent that cannot be saved is not sent
        await redis.config_set("maxmemory", 0)
        assert (await gateway.ended(accepted["id"]))["state"] == "completed"
        again = await gateway.power_off(other, wait_timeout=60)
        assert (await gateway.ended(again["id"]))["state"] == "completed"
        assert [(action.key, action.action) for action in sim.actions] == [
            (vm.key, "poweroff"),
            (other.key, "poweroff"),
        ]
