"""Services of two workers on one Redis and one simulated VergeOS; no worker runs."""

import pytest
from stepping import crew_on

from gateway.simulator import Simulator, SimulatorSettings


@pytest.fixture
async def crew(sim, redis_url):
    async with crew_on(sim, redis_url) as opened:
        yield opened


@pytest.fixture
async def big_crew(redis_url):
    """A crew on a simulated VergeOS of some sixty VMs."""
    simulated = SimulatorSettings(vms=60, seed=7, time_scale=20.0)
    async with Simulator(simulated) as sim, crew_on(sim, redis_url, watch_unforced=10.0) as opened:
        yield opened
