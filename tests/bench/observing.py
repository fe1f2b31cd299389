"""`python -m tests.bench.observing`: what a cached read costs for its figures and its log line, against one unobserved.

Needs `wrk` and a Redis server. Two gateways are asked in turn, and the medians of five pairs are printed, in processor
time of the gateway: one counts every call and writes the line of each to a file, the other counts nothing and writes
none. Traces are off in both.
"""

import asyncio
import sys
from contextlib import ExitStack

import gateway.services
from gateway.__main__ import main as command_line
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry.metrics import Metrics
from tests.bench.machine import ROUNDS, gateway_beside, ratios, redis_server, require_tools, work_us
from tests.bench.reads import limited_caller

UNOBSERVED = "tests.bench.observing"  # as a process: `-m tests.bench.observing serve`
READS = {"GET /vms of 200 VMs": "/vms?limit=200", "GET /vms/{id}": "/vms/34"}


class NoMetrics(Metrics):
    """Counts nothing of what happens with every read."""

    def called(self, *_told: object) -> None:
        """Count no call."""

    def answered(self, *_told: object) -> None:
        """Count no age."""

    def read(self, *_told: object) -> None:
        """Count no view."""


def measure(vergeos: str) -> None:
    """Compare the reads of two gateways on this VergeOS."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server())
        observed, seen = stack.enter_context(gateway_beside(redis_url, vergeos, LOG_READS="true"))
        unobserved, unseen = stack.enter_context(gateway_beside(redis_url, vergeos, module=UNOBSERVED))
        who = [f"{name}: {value}" for name, value in limited_caller(observed).items()]
        for name, path in READS.items():
            pairs = [
                (work_us(seen, observed + path, *who), work_us(unseen, unobserved + path, *who)) for _ in range(ROUNDS)
            ]
            (ours, bare), (ratio,) = ratios(pairs)
            told = f"{ours:.1f} µs a read, {bare:.1f} µs without figures and log line"
            print(f"{name:<20} {told}: observing adds {ratio - 1:.1%} (aim <= 10 %)", flush=True)


async def main() -> None:
    """Run the comparison against a simulated VergeOS."""
    require_tools()
    async with Simulator(SimulatorSettings(vms=200, read_latency_seconds=0.02)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    if sys.argv[1:]:
        gateway.services.Metrics = NoMetrics
        command_line()
    else:
        asyncio.run(main())
