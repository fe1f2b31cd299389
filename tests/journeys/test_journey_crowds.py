"""Many jobs at once, and several workers: few requests to VergeOS, and nothing twice."""

import asyncio
from collections import Counter

import pytest
from inprocess import FINAL, engine_settings, house

from gateway.core.job import Phase
from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import eventually

LONG = {"wait_timeout": 600, "force_after_timeout": False}


@pytest.mark.slow
async def test_a_hundred_waiting_power_offs_cost_two_status_requests_a_tick_and_are_asked_once_each(redis_url):
    async with Simulator(SimulatorSettings(vms=170, seed=7, time_scale=20.0)) as sim:
        slow_machine = {"request": 20.0, "step": 25.0, "lease": 40.0, "settle": 30.0}
        settings = engine_settings(sim, redis_url, **slow_machine, watch_fast_until=600.0)
        rows = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
        vms = [vm.ignore_acpi() for vm in rows if vm.running][:100]
        async with house(sim, settings, workers=2) as gateway:
            jobs = await asyncio.gather(*(gateway.power_off(vm, **LONG) for vm in vms))
            await eventually(lambda: len(sim.actions) == 100, 20)
            await eventually(lambda: all_waiting(gateway))
            at, before = await gateway.services.jobs.now(), sim.requests.copy()
            await eventually(lambda: sim.requests["GET machine_status"] >= before["GET machine_status"] + 5)
            elapsed = await gateway.services.jobs.now() - at
            spent = sim.requests - before
            assert spent["GET machine_status"] <= 2 * (elapsed / settings.times.watch_fast + 1)
            assert spent["GET vms"] == 0  # nobody looks at each VM by itself
            for vm in vms:
                vm.stop()
            await gateway.ended(jobs[0]["id"])
            await eventually(lambda: nothing_open(gateway), 20)
            listed = (await gateway.get("/jobs", limit=200)).body
        assert Counter(job["state"] for job in listed) == {"completed": 100}
        assert {tuple(sim.power_actions(vm.key)) for vm in vms} == {("poweroff",)}


async def nothing_open(gateway):
    return await gateway.services.jobs.open() == []


async def all_waiting(gateway):
    return {job.phase for job in await gateway.services.jobs.open()} == {Phase.WAITING}


async def test_two_workers_at_once_double_nothing(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url), workers=2) as gateway:
        names = [row["name"] for row in (await gateway.get("/vms", limit=100)).body]
        vms = [sim.vm(name).start() for name in names]
        for vm in vms[::2]:
            vm.ignore_acpi()
        body = {"wait_timeout": 1, "force_after_timeout": True}
        calls = [(vm, await gateway.power_off(vm, **body)) for vm in vms for _ in range(2)]
        for _, job in calls:
            assert (await gateway.ended(job["id"]))["state"] == "completed"
        assert len({job["id"] for _, job in calls}) == len(vms)
        for position, vm in enumerate(vms):
            assert vm.power_actions()[0] == "poweroff"
            assert set(Counter(vm.power_actions()).values()) == {1}
            assert position % 2 or vm.power_actions() == ["poweroff", "kill"]
        assert all(job["state"] in FINAL for job in (await gateway.get("/jobs", limit=100)).body)
