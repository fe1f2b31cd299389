"""`python -m tests.bench.observing`: what a cached read costs for its figures and its log line, against one unobserved.

Needs `wrk` and a Redis server. Two gateways are asked in turn, and the medians of five pairs of processes are printed,
in processor time of the gateway: one counts every call and writes the line of each to a file, the other counts nothing
and writes none. Traces are off in both.
"""

import asyncio
import sys

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


def pair(redis_url: str, vergeos: str) -> list[tuple[float, float]]:
    """Return what each read costs two new gateways: one that is observed, one that is not."""
    with (
        gateway_beside(redis_url, vergeos, LOG_READS="true") as (observed, seen),
        gateway_beside(redis_url, vergeos, module=UNOBSERVED) as (unobserved, unseen),
    ):
        who = [f"{name}: {value}" for name, value in limited_caller(observed).items()]
        return [
            (work_us(seen, observed + path, *who), work_us(unseen, unobserved + path, *who)) for path in READS.values()
        ]


def measure(vergeos: str) -> None:
    """Compare the reads of pairs of gateways on this VergeOS; of one pair it may be chance which is the faster."""
    rounds = []
    for _ in range(ROUNDS):
        with redis_server() as redis_url:
            rounds.append(pair(redis_url, vergeos))
    for name, pairs in zip(READS, zip(*rounds, strict=True), strict=True):
        (ours, bare), (ratio,) = ratios(list(pairs))
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
