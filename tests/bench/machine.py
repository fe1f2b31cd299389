"""What the benchmarks share: processes on free ports, and wrk as the load."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from gateway.store.embedded import server_binary
from tests.conftest import free_port

ROUNDS, SECONDS, CLIENTS = 5, 3, 32


def require_tools() -> None:
    """End with what to install, where something is missing."""
    if shutil.which("wrk") is None or server_binary() is None:
        raise SystemExit("needs wrk and redis-server: apt install wrk redis-server")


def load(url: str, *options: str) -> str:
    """Return what wrk tells of a load of 32 clients on `url`."""
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", *options, url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(f"{url} answered errors:\n{told}")
    return told


def rate(url: str, script: str | None = None, *headers: str) -> float:
    """Return requests a second that `url` answers, with a Lua script that makes the requests, with these headers."""
    options = [*(["-s", script] if script else []), *(part for header in headers for part in ("-H", header))]
    return float(re.search(r"Requests/sec:\s+([\d.]+)", load(url, *options))[1])


def work_us(pid: int, url: str, *headers: str) -> float:
    """Return the microseconds of a processor that a process spends on a request to `url`, whoever is at work beside."""
    before = sum(psutil.Process(pid).cpu_times()[:2])
    told = load(url, *(part for header in headers for part in ("-H", header)))
    spent = sum(psutil.Process(pid).cpu_times()[:2]) - before
    return spent * 1e6 / int(re.search(r"(\d+) requests in", told)[1])


def worst_ms(url: str, *options: str) -> float:
    """Return the milliseconds within which 99 % of a load's requests were answered."""
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", load(url, "--latency", *options)).groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def resident_mb(pid: int) -> float:
    """Return the memory that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def ratios(pairs: list[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    """Return the medians of each column, and those of the first column's ratio to each other one."""
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return medians, [statistics.median(row[0] / row[i] for row in pairs) for i in range(1, len(medians))]


def key_of(gateway: str, name: str, who: Mapping[str, str], **more: object) -> dict[str, str]:
    """Make a key by REST; return the header that shows it. From the first one on callers prove who they are."""
    wanted = json.dumps({"name": name, "owner": name, **more}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{gateway}/tools/create_key", wanted, dict(who))) as reply:
        return {"Authorization": f"Bearer {json.load(reply)['result']['token']}"}


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
def process(*command: str, **environment: str) -> Iterator[int]:
    """Run a process during the block, its log in a file; yield its id."""
    quiet = subprocess.DEVNULL
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, env=os.environ | environment, stdout=quiet, stderr=log) as started,
    ):
        try:
            yield started.pid
        finally:
            started.terminate()


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis that keeps nothing during the block; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        keep_nothing = ("--save", "", "--dir", folder)
        with process(server_binary(), "--port", str(port), "--bind", "127.0.0.1", *keep_nothing):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def gateway_beside(
    redis_url: str, vergeos: str, *, module: str = "gateway", **environment: str
) -> Iterator[tuple[str, int]]:
    """Run a gateway during the block, by this module's command line; yield its URL and the id of its process."""
    port = free_port()
    own = {
        "VERGEOS_HOST": vergeos,
        "VERGEOS_API_KEY": "demo",
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "LOG_READS": "false",
        "CALLS_PER_MINUTE": "1000000000",  # counted, and never too many
    }
    with process(sys.executable, "-m", module, "serve", **own | environment) as pid:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def gateway_on(vergeos: str, **environment: str) -> Iterator[str]:
    """Run a Redis and a gateway on this VergeOS during the block; yield the gateway's URL."""
    with redis_server() as redis_url, gateway_beside(redis_url, vergeos, **environment) as (url, _):
        yield url
