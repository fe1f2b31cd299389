"""kill -9 of the only worker at the worst moments: nothing lost, nothing done twice."""

import time

import pytest

from tests.conftest import AT_ONCE_SECONDS, eventually

BODY = {"wait_timeout": 2, "force_after_timeout": True}


async def power_off(system, vm):
    status, job = await system.call("POST", f"/vms/{vm.key}/poweroff", BODY)
    assert status == 202, job
    return job["id"]


async def phase(system, job_id):
    return (await system.call("GET", f"/jobs/{job_id}"))[1].get("phase")


@pytest.mark.parametrize("speed", [10.0, pytest.param(1.0, marks=pytest.mark.slow)])
async def test_a_worker_killed_while_a_power_off_waits_is_replaced_soon(system, speed):
    vm = system.sim.vm("web-1")
    vm.ignore_acpi()
    await system.gateway()
    worker = await system.worker()
    job_id = await power_off(system, vm)

    async def waiting():
        return await phase(system, job_id) == "waiting"

    await eventually(waiting)
    await worker.kill()
    began = time.monotonic()
    await system.worker()
    job = await system.ended(job_id)
    assert job["state"] == "completed"
    assert job["result"]["forced"] is True
    assert system.sim.power_actions(vm.key) == ["poweroff", "kill"]
    assert time.monotonic() - began < AT_ONCE_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before_effect", "after_effect"])
async def test_a_worker_killed_in_the_middle_of_a_request_does_not_double_it(system, moment):
    vm = system.sim.vm("web-1")
    vm.ignore_acpi()
    await system.gateway()
    worker = await system.worker()
    system.sim.fault("hang", method="POST", path="vm_actions", effect=moment == "after_effect")
    job_id = await power_off(system, vm)
    await eventually(lambda: system.sim.requests["POST vm_actions"] >= 1)
    await worker.kill()
    system.sim.clear_faults()
    await system.worker()
    job = await system.ended(job_id)
    assert job["state"] == "completed", job
    assert system.sim.power_actions(vm.key) == ["poweroff", "kill"]


async def test_a_killed_gateway_loses_no_job(system):
    vm = system.sim.vm("web-1")
    gateway = await system.gateway()
    await system.worker()
    job_id = await power_off(system, vm)
    await gateway.kill()
    await system.gateway()
    job = await system.ended(job_id)
    assert job["state"] == "completed"
    assert system.sim.power_actions(vm.key)[0] == "poweroff"
