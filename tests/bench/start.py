"""`python -m tests.bench.start`: from the start of a gateway to its first answer, its memory idle, what imports cost.

Beside them stands what `import aiohttp, mcp, redis` takes and holds in the same run.
"""

import asyncio
import subprocess
import sys
import time

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import ROUNDS, gateway_beside, ratios, redis_server, require_tools, resident_mb

REFERENCE = """
import time
began = time.perf_counter()
import aiohttp, mcp, redis
print(time.perf_counter() - began, open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
"""
DEAREST = 12


def reference() -> tuple[float, float]:
    """Return seconds from start to end of a process that imports the three libraries, and its memory in MB."""
    began = time.perf_counter()
    told = subprocess.run([sys.executable, "-c", REFERENCE], capture_output=True, text=True, check=True).stdout
    return time.perf_counter() - began, int(told.split()[1]) / 1024


def started(redis_url: str, vergeos: str) -> tuple[float, float]:
    """Return seconds until a gateway answers /readyz, and its memory then in MB."""
    began = time.perf_counter()
    with gateway_beside(redis_url, vergeos) as (_, pid):
        return time.perf_counter() - began, resident_mb(pid)


def dearest_imports() -> list[tuple[int, str]]:
    """Return the own microseconds of each top package that a gateway imports, the dearest first."""
    code = "import gateway.processes"
    told = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    spent: dict[str, int] = {}
    for line in told.stderr.splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        package = name.strip().split(".")[0]
        spent[package] = spent.get(package, 0) + int(own)
    return sorted(((own, package) for package, own in spent.items()), reverse=True)[:DEAREST]


def measure(vergeos: str) -> None:
    """Print medians of five starts of each, and the dearest imports."""
    with redis_server() as redis_url:
        rows = [(*started(redis_url, vergeos), *reference()) for _ in range(ROUNDS)]
    (seconds, held, their_seconds, theirs), _ = ratios(rows)
    print(f"start to ready {seconds:.2f} s (aim 2), idle {held:.0f} MB (aim 120)")
    print(f"import aiohttp, mcp, redis: {their_seconds:.2f} s, {theirs:.0f} MB")
    print("imports: " + ", ".join(f"{package} {own / 1000:.0f} ms" for own, package in dearest_imports()))


async def main() -> None:
    """Measure a gateway on a simulated VergeOS."""
    require_tools()
    async with Simulator(SimulatorSettings(vms=40)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
