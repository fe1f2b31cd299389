"""A gateway on the simulated VergeOS, as the predecessor's readers meet it."""

import pytest

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import fast_settings
from tests.journeys.inprocess import house


@pytest.fixture
async def sim():
    """A simulated VergeOS of 20 VMs, fifty times as fast as a real one: `web-1` is VM 34, `test-vm` is off."""
    async with Simulator(SimulatorSettings(vms=20, seed=7, time_scale=50.0)) as simulator:
        yield simulator


@pytest.fixture
async def gateway(sim, redis_url):
    """A served gateway with a worker beside it."""
    async with house(sim, fast_settings(sim.url, redis_url, engine_speed=20.0)) as served:
        yield served
