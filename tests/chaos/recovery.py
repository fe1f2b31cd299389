"""`python -m tests.chaos.recovery`: how soon a killed worker's jobs go on, and whether its requests are doubled.

Kills: one worker is busy with jobs whose requests hang, another is up and has done nothing; the busy one is
killed with -9. Recovery is the time from the kill until a step of each of those jobs has run elsewhere. Storms:
hundreds of power-offs are being sent when their worker dies; doubled is what VergeOS was asked for twice.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from gateway.store.keys import Keys
from tests.chaos.house import SITE, House
from tests.chaos.run import vm_keys_of
from tests.conftest import eventually

BUSY, LONG_SECONDS = 20, 120.0
READY_SECONDS = 60.0
STORM_SPEED = 2.0  # of the engine


@dataclass
class Bench:
    """A house without workers, and what the measurements ask of it."""

    house: House
    http: aiohttp.ClientSession
    redis: Redis
    vms: list[int]

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, f"{self.house.vergeos}/_sim/{path}", json=body) as response:
            return await response.json(content_type=None)

    async def power_off(self, vm: int) -> str:
        body = {"wait_timeout": 600, "again": True}
        async with self.http.post(f"{self.house.urls()[0]}/vms/{vm}/poweroff", json=body) as response:
            return str((await response.json())["id"])

    async def cancel(self, job: str) -> None:
        async with self.http.post(f"{self.house.urls()[0]}/jobs/{job}/cancel") as response:
            await response.read()

    async def worker(self, name: str, *, standby: bool = False) -> None:
        """Start a worker and return when it lives; one on standby is stopped then and does nothing until it goes on."""
        before = await self._heartbeats()
        self.house.start(name)

        async def lives() -> bool:
            return bool(await self._heartbeats() - before)

        await eventually(lives, READY_SECONDS)
        if standby:
            self.house.processes[name].send_signal(signal.SIGSTOP)

    async def _heartbeats(self) -> set[bytes]:
        return set(await self.redis.zrange(Keys(SITE).workers, 0, -1))

    async def fences(self, jobs: list[str]) -> list[int]:
        return [int(await self.redis.hget(Keys(SITE).job(job), "fence") or 0) for job in jobs]

    async def sent(self) -> int:
        return int((await self.control("GET", "requests"))["requests"].get("POST vm_actions", 0))

    async def hand_over(self, busy: str, standby: str) -> float:
        """Kill the busy worker, let the other go on; return the moment."""
        self.house.processes[busy].kill()
        self.house.processes[standby].send_signal(signal.SIGCONT)
        killed_at = time.monotonic()
        await asyncio.to_thread(self.house.processes[busy].wait)
        return killed_at


@asynccontextmanager
async def bench(vms: int, speed: float) -> AsyncIterator[Bench]:
    """Open a house without workers during the block."""
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        house = House(Path(folder), vms=vms, speed=speed)
        try:
            await house.open(working=False)
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
                Redis.from_url(house.redis.url) as redis,
            ):
                yield Bench(house, http, redis, (await vm_keys_of(http, house))[:vms])
        finally:
            await house.close()


async def recoveries(kills: int, speed: float) -> list[float]:
    """Return the seconds that each of so many kills cost."""
    async with bench(BUSY, speed) as it:
        for vm in it.vms:
            await it.control("PATCH", f"vms/{vm}", {"power": "start", "ignore_acpi": True})
        await it.worker("worker0")
        took = []
        for number in range(kills):
            busy, standby = ("worker0", "worker1") if number % 2 == 0 else ("worker1", "worker0")
            await it.worker(standby, standby=True)
            took.append(await _recovery(it, busy, standby))
            print(f"kill {number + 1:3}: {took[-1]:5.2f} s", flush=True)
        return took


async def _recovery(it: Bench, busy: str, standby: str) -> float:
    await it.control("DELETE", "requests")
    await it.control("POST", "faults", {"kind": "hang", "method": "POST", "path": "vm_actions", "count": None})
    jobs = [await it.power_off(vm) for vm in it.vms]

    async def being_sent() -> bool:
        return await it.sent() > 0

    await eventually(being_sent, LONG_SECONDS)
    before = await it.fences(jobs)
    killed_at = await it.hand_over(busy, standby)

    async def gone_on() -> bool:
        return all(now > then for now, then in zip(await it.fences(jobs), before, strict=True))

    await eventually(gone_on, LONG_SECONDS)
    took = time.monotonic() - killed_at
    await it.control("DELETE", "faults")
    for job in jobs:
        await it.cancel(job)

    async def none_open() -> bool:
        return await it.redis.zcard(Keys(SITE).active) == 0

    await eventually(none_open, LONG_SECONDS)
    return took


async def storm(vms: int, speed: float) -> tuple[int, int]:
    """Let the worker die while power-offs are being sent; return how many were doubled, and how many it had sent."""
    async with bench(vms, speed) as it:
        for vm in it.vms:
            await it.control("PATCH", f"vms/{vm}", {"power": "start", "guest_seconds": 8})
        await asyncio.gather(*(it.power_off(vm) for vm in it.vms))
        await it.control("DELETE", "requests")
        await it.worker("worker1", standby=True)
        it.house.start("worker0")

        async def in_the_middle() -> bool:
            return await it.sent() >= vms // 4

        await eventually(in_the_middle, LONG_SECONDS)
        await it.hand_over("worker0", "worker1")
        sent = await it.sent()

        async def none_open() -> bool:
            return await it.redis.zcard(Keys(SITE).active) == 0

        await eventually(none_open, LONG_SECONDS)
        asked = Counter(row["key"] for row in await it.control("GET", "actions") if row["action"] == "poweroff")
        assert len(asked) == vms, f"{vms - len(asked)} VMs were never asked"
        return sum(times - 1 for times in asked.values()), sent


def main() -> int:
    parser = argparse.ArgumentParser("tests.chaos.recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--storms", type=int, default=20)
    parser.add_argument("--vms", type=int, default=400, help="of a storm")
    parser.add_argument("--speed", type=float, default=1.0, help="of the engine, for the kills")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.kills:
        took = asyncio.run(recoveries(options.kills, options.speed))
        print(f"recovery after {len(took)} kills: median {statistics.median(took):.2f} s, max {max(took):.2f} s")
    doubled = 0
    for number in range(options.storms):
        twice, sent = asyncio.run(storm(options.vms, STORM_SPEED))
        doubled += twice
        print(f"storm {number + 1:3}: {sent} of {options.vms} sent when the worker died, {twice} doubled", flush=True)
    print(f"doubled in {options.storms} storms: {doubled}")
    return 1 if doubled else 0


if __name__ == "__main__":
    sys.exit(main())
