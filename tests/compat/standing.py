"""What stands while the tests ask: a simulated VergeOS with a gateway before it."""

from contextlib import asynccontextmanager, nullcontext

from redis.asyncio import Redis

from gateway.core.times import EngineTimes
from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import fast_settings
from tests.journeys.inprocess import house

QUICK = EngineTimes(settle=0.5, poll=0.01, watch_fast=0.1, watch_medium=0.1, backoff_first=0.05)
"""Quick to look again, and as patient as in earnest: a busy machine must not make a request fail."""


@asynccontextmanager
async def gateway_on(redis_url, *, vms=20, sim=None, **more):
    """Serve a gateway with its worker on `sim`, or on a simulation of some VMs, fifty times as fast as a real one.

    In it `web-1` is VM 34 and runs, `test-vm` is off. `more` are further settings.
    """
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    simulated = nullcontext(sim) if sim else Simulator(SimulatorSettings(vms=vms, seed=7, time_scale=50.0))
    async with (
        simulated as sim,
        house(sim, fast_settings(sim.url, redis_url, **{"engine": QUICK, "engine_speed": 1.0, **more})) as served,
    ):
        yield served
