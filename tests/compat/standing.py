"""What stands while the tests ask: a simulated VergeOS with a gateway before it."""

from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import fast_settings
from tests.journeys.inprocess import house


@asynccontextmanager
async def gateway_on(redis_url, **more):
    """Serve a gateway, its worker beside it, on 20 VMs: `web-1` is VM 34 and runs, `test-vm` is off.

    The simulation is fifty times as fast as a real one, the engine twenty times; `more` are further settings.
    """
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    async with Simulator(SimulatorSettings(vms=20, seed=7, time_scale=50.0)) as sim:
        async with house(sim, fast_settings(sim.url, redis_url, engine_speed=20.0, **more)) as served:
            yield served
