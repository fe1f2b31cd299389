"""Jobs as callers meet them."""
import pytest
from inprocess import house


@pytest.fixture
async def gateway(sim, settings):
    async with house(sim, settings) as served:
        yield served


async def test_smoke(gateway):
    vm = gateway.sim.vm("web-1")
    job = await gateway.power_off(vm, wait_timeout=5)
    done = await gateway.ended(job["id"])
    print(done)
    assert done["state"] == "completed"
    assert vm.power_actions() == ["poweroff"]
