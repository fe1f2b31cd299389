"""`python -m tests.bench.access`: what it adds to a cached read that its caller must prove who he is, in percent.

Needs `wrk` and a Redis server. One gateway lets everybody in, one asks for a key; of its callers one may read all, one
what a selector lets him see. The medians of five rounds are printed, one after the other in each, so that a drift of
the machine's speed meets all.
"""

import asyncio

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import ROUNDS, gateway_on, key_of, rate, ratios, require_tools

AIM_PERCENT = 15
PATHS = {"GET /vms/34": "/vms/34", "GET /vms of 200 VMs": "/vms?limit=200"}


def percent(open_to_all: str, guarded: str, path: str, who: dict[str, str]) -> float:
    """Return by how many percent a read takes longer with these headers."""
    (header,) = (f"{name}: {value}" for name, value in who.items())
    pairs = [(rate(open_to_all + path), rate(guarded + path, None, header)) for _ in range(ROUNDS)]
    return (ratios(pairs)[1][0] - 1) * 100


def measure(vergeos: str) -> None:
    """Compare a gateway that lets everybody in with one that asks for keys, on this VergeOS."""
    with gateway_on(vergeos) as open_to_all, gateway_on(vergeos) as guarded:
        admin = key_of(guarded, "root", {}, role=["admin"])
        callers = {
            "who may read all": key_of(guarded, "all", admin, role=["viewer"]),
            "who sees what a selector picks": key_of(guarded, "some", admin, role=["viewer"], select=["name=*"]),
        }
        for read, path in PATHS.items():
            for words, who in callers.items():
                added = percent(open_to_all, guarded, path, who)
                print(f"{read:<20} {words:<32} {added:>+6.1f} % (aim <= {AIM_PERCENT})", flush=True)


async def main() -> None:
    """Run the comparison against a simulated VergeOS."""
    require_tools()
    async with Simulator(SimulatorSettings(vms=200)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
