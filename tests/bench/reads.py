"""`python -m tests.bench.reads`: cached reads a second, against a bare aiohttp handler sending the same bytes.

Needs `wrk` and a Redis server. Gateway, reference and simulator are processes or loops of this machine; the medians of
five pairs are printed, gateway and reference in turn, so that a drift of the machine's speed meets both.
"""

import asyncio
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import ROUNDS, gateway_on, key_of, process, rate, ratios, require_tools, wait_for
from tests.conftest import free_port

BARE = """
import sys
from aiohttp import web
body = open(sys.argv[2], "rb").read()
async def answer(request):
    return web.Response(body=body, content_type="application/json")
async def unchanged(request):
    return web.Response(status=304, headers={"ETag": '"same"'})
app = web.Application()
app.router.add_get("/304", unchanged)
app.router.add_get("/{tail:.*}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


def limited_caller(gateway: str) -> dict[str, str]:
    """Return the header of a caller for whom the policy has to decide about each row; he sees them all."""
    return key_of(gateway, "bench", {}, role=["viewer"], select=["name=*"])


def compare(name: str, url: str, aim: float, who: Mapping[str, str], *, unchanged: bool = False) -> None:
    """Print the median rates of a gateway's URL and of a bare handler sending the same bytes, and their ratio."""
    with (
        tempfile.TemporaryDirectory() as folder,
        urllib.request.urlopen(urllib.request.Request(url, headers=who)) as reply,
    ):
        body, port = Path(folder) / "body", free_port()
        body.write_bytes(reply.read())
        headers = [f"{name}: {value}" for name, value in who.items()]
        known = [f"If-None-Match: {reply.headers['ETag']}"] if unchanged else []
        reference = f"http://127.0.0.1:{port}/{304 if unchanged else ''}"
        with process(sys.executable, "-c", BARE, str(port), str(body)):
            wait_for(reference)
            pairs = [(rate(url, None, *headers, *known), rate(reference)) for _ in range(ROUNDS)]
        (ours, theirs), (ratio,) = ratios(pairs)
        size = 0 if unchanged else body.stat().st_size
    print(f"{name:<36} {size:>7} B {ours:>9.0f}/s {theirs:>9.0f}/s  ratio {ratio:.2f} (aim {aim})", flush=True)


def measure(vergeos: str) -> None:
    """Compare the reads of a gateway on this VergeOS, and what its log line of each read costs."""
    with gateway_on(vergeos) as url:
        who = limited_caller(url)
        print(f"{'cached read':<36} {'body':>9} {'gateway':>11} {'bare aiohttp':>11}")
        compare("GET /vms of 200 VMs", f"{url}/vms?limit=200", 0.7, who)
        compare("GET /vms of 200 VMs, 304", f"{url}/vms?limit=200", 0.65, who, unchanged=True)
        compare("GET /vms/{id}", f"{url}/vms/34", 0.6, who)
    with gateway_on(vergeos, LOG_READS="true") as url:
        compare("GET /vms of 200 VMs, each logged", f"{url}/vms?limit=200", 0.0, limited_caller(url))


async def main() -> None:
    """Run the comparison against a simulated VergeOS with 20 ms latency."""
    require_tools()
    async with Simulator(SimulatorSettings(vms=200, read_latency_seconds=0.02)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
