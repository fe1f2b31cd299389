"""What the benchmarks share: processes on free ports, and wrk as the load."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gateway.store.embedded import server_binary
from tests.journeys.conftest import free_port

ROUNDS, SECONDS, CLIENTS = 5, 3, 32


def require_tools() -> None:
    """End with what to install, where something is missing."""
    if shutil.which("wrk") is None or server_binary() is None:
        raise SystemExit("needs wrk and redis-server: apt install wrk redis-server")


def rate(url: str, script: str | None = None) -> float:
    """Return requests a second that `url` answers to 32 clients, with a Lua script that makes the requests."""
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", *(["-s", script] if script else []), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise SystemExit(f"{url} answered errors")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])


def ratios(pairs: list[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    """Return the medians of each column, and those of the first column's ratio to each other one."""
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return medians, [statistics.median(row[0] / row[i] for row in pairs) for i in range(1, len(medians))]


def wait_for(url: str) -> None:
    """Return once the URL answers, whatever it answers."""
    for _ in range(200):
        try:
            urllib.request.urlopen(url).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            subprocess.run(["sleep", "0.05"], check=True)
        else:
            return
    raise SystemExit(f"{url} does not answer")


@contextmanager
def process(*command: str, **environment: str) -> Iterator[None]:
    """Run a process during the block."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | environment, stdout=quiet, stderr=quiet) as started:
        try:
            yield
        finally:
            started.terminate()


@contextmanager
def gateway_on(vergeos: str) -> Iterator[str]:
    """Run a Redis and a gateway on this VergeOS during the block; yield the gateway's URL."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis_port, port = free_port(), free_port()
        keep_nothing = ("--save", "", "--dir", folder)
        stack.enter_context(process(server_binary(), "--port", str(redis_port), "--bind", "127.0.0.1", *keep_nothing))
        environment = {
            "VERGEOS_HOST": vergeos,
            "VERGEOS_API_KEY": "demo",
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "PORT": str(port),
        }
        stack.enter_context(process(sys.executable, "-m", "gateway", "serve", **environment))
        wait_for(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}"
