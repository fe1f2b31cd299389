"""`python -m tests.bench.reads`: cached reads a second, against a bare aiohttp handler sending the same bytes.

Needs `wrk` and a Redis server. Gateway, reference and simulator are processes or loops of this machine; the medians of
five pairs are printed, gateway and reference in turn, so that a drift of the machine's speed meets both.
"""

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.embedded import server_binary
from tests.journeys.conftest import free_port

ROUNDS, SECONDS, CLIENTS = 5, 3, 32
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


def rate(url: str) -> float:
    """Return requests a second that `url` answers to 32 clients."""
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise SystemExit(f"{url} answered errors")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])


def compare(name: str, url: str, folder: str) -> None:
    """Print the median rates of a gateway's URL and of a bare handler sending the same bytes, and their ratio."""
    body = Path(folder) / "body"
    body.write_bytes(urllib.request.urlopen(url).read())
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", BARE, str(port), str(body)]) as bare:
        reference = f"http://127.0.0.1:{port}/"
        wait_for(reference)
        pairs = [(rate(url), rate(reference)) for _ in range(ROUNDS)]
        bare.terminate()
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{name:<28} {body.stat().st_size:>7} B {ours:>9.0f}/s {theirs:>9.0f}/s  ratio {ratio:.2f}", flush=True)


def wait_for(url: str) -> None:
    """Return once the URL answers."""
    for _ in range(200):
        try:
            urllib.request.urlopen(url).read()
        except OSError:
            subprocess.run(["sleep", "0.05"], check=True)
        else:
            return
    raise SystemExit(f"{url} does not answer")


def measure(vergeos: str) -> None:
    """Start Redis and a gateway on this VergeOS, and compare its reads."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis_port, port = free_port(), free_port()
        redis = [server_binary(), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        environment = {
            **os.environ,
            "VERGEOS_HOST": vergeos,
            "VERGEOS_API_KEY": "demo",
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "PORT": str(port),
        }
        for command in (redis, [sys.executable, "-m", "gateway", "serve"]):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        wait_for(f"http://127.0.0.1:{port}/readyz")
        print(f"{'cached read':<28} {'body':>9} {'gateway':>11} {'bare aiohttp':>11}")
        compare("GET /vms of 200 VMs", f"http://127.0.0.1:{port}/vms?limit=200", folder)
        compare("GET /vms, 50 rows", f"http://127.0.0.1:{port}/vms?limit=50", folder)
        compare("GET /vms/{id}", f"http://127.0.0.1:{port}/vms/34", folder)


async def main() -> None:
    """Run the comparison against a simulated VergeOS with 20 ms latency."""
    if shutil.which("wrk") is None or server_binary() is None:
        raise SystemExit("needs wrk and redis-server: apt install wrk redis-server")
    async with Simulator(SimulatorSettings(vms=200, read_latency_seconds=0.02)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
