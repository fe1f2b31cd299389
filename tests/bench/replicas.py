"""`python -m tests.bench.replicas`: cached reads a second of two gateways behind nginx, against one behind the same.

Every answer must be the same and none an error; a load that met one ends the benchmark. On two cores, which load,
proxy and gateways share, the second gateway cannot double anything: it is there to outlive the first.
"""

import asyncio
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from tests import nginx
from tests.bench.machine import (
    ROUNDS,
    gateway_beside,
    process,
    rate,
    ratios,
    redis_server,
    require_tools,
    wait_for,
)
from tests.conftest import free_port

PATH = "/vms?limit=50"


@contextmanager
def proxied(urls: list[str]) -> Iterator[str]:
    """Run nginx before these gateways during the block; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        port, gateways = free_port(), [url.removeprefix("http://") for url in urls]
        with process(*nginx.command(Path(folder), port, gateways, "keepalive 64;")):
            wait_for(f"http://127.0.0.1:{port}/livez")
            yield f"http://127.0.0.1:{port}"


def answers(url: str) -> set[bytes]:
    """Return what is answered to many at once, who are served by all gateways behind it."""
    with ThreadPoolExecutor(8) as askers:
        return set(askers.map(lambda _: urllib.request.urlopen(url + PATH).read(), range(40)))


def measure(vergeos: str) -> None:
    """Compare two gateways with one of them."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server())
        urls = [stack.enter_context(gateway_beside(redis_url, vergeos))[0] for _ in range(2)]
        both, one = stack.enter_context(proxied(urls)), stack.enter_context(proxied(urls[:1]))
        bodies = answers(both)
        (two, alone), (ratio,) = ratios([(rate(both + PATH), rate(one + PATH)) for _ in range(ROUNDS)])
        if answers(both) | answers(one) != bodies or len(bodies) != 1:
            raise SystemExit("the gateways answer differently")
    print(f"GET /vms through nginx: two gateways {two:.0f}/s, one {alone:.0f}/s, ratio {ratio:.2f}; no errors")


async def main() -> None:
    """Measure gateways on a simulated VergeOS."""
    require_tools()
    if shutil.which("nginx") is None:
        raise SystemExit("needs nginx: apt install nginx")
    async with Simulator(SimulatorSettings(vms=200, read_latency_seconds=0.02)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
