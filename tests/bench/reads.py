"""`python -m tests.bench.reads`: cached reads a second, against a bare aiohttp handler sending the same bytes.

Needs `wrk` and a Redis server. Gateway, reference and simulator are processes or loops of this machine; the medians of
five pairs are printed, gateway and reference in turn, so that a drift of the machine's speed meets both.
"""

import asyncio
import sys
import tempfile
import urllib.request
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import ROUNDS, gateway_on, process, rate, ratios, require_tools, wait_for
from tests.journeys.conftest import free_port

BARE = """
import sys
from aiohttp import web
body = open(sys.argv[2], "rb").read()
async def answer(request):
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_get("/{tail:.*}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


def compare(name: str, url: str) -> None:
    """Print the median rates of a gateway's URL and of a bare handler sending the same bytes, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        body, port = Path(folder) / "body", free_port()
        body.write_bytes(urllib.request.urlopen(url).read())
        reference = f"http://127.0.0.1:{port}/"
        with process(sys.executable, "-c", BARE, str(port), str(body)):
            wait_for(reference)
            (ours, theirs), (ratio,) = ratios([(rate(url), rate(reference)) for _ in range(ROUNDS)])
        size = body.stat().st_size
    print(f"{name:<28} {size:>7} B {ours:>9.0f}/s {theirs:>9.0f}/s  ratio {ratio:.2f}", flush=True)


def measure(vergeos: str) -> None:
    """Compare the reads of a gateway on this VergeOS."""
    with gateway_on(vergeos) as url:
        print(f"{'cached read':<28} {'body':>9} {'gateway':>11} {'bare aiohttp':>11}")
        compare("GET /vms of 200 VMs", f"{url}/vms?limit=200")
        compare("GET /vms, 50 rows", f"{url}/vms?limit=50")
        compare("GET /vms/{id}", f"{url}/vms/34")


async def main() -> None:
    """Run the comparison against a simulated VergeOS with 20 ms latency."""
    require_tools()
    async with Simulator(SimulatorSettings(vms=200, read_latency_seconds=0.02)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
