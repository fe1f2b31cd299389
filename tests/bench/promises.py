"""`python -m tests.bench.promises [ROUNDS]`: what is to happen within seconds, and when it had, in real processes.

Two gateways and a worker on a simulated VergeOS and a real Redis. A figure is the time from the request, or the signal,
until the last of what is named was seen; nothing fails by it.
"""

import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.embedded import server_binary
from tests.conftest import RedisServer, eventually, free_port
from tests.journeys.conftest import START_SECONDS, Process, System
from tests.journeys.streams import LONG, all_open

ROUNDS = 5
ENVIRONMENT = {
    "WRITE_AS": "caller",
    "SERVICE_WRITERS": "*",
    "GATEWAY_SECRET_KEY": "a secret of thirty-two characters",
    "AUTH_FAILURES_PER_MINUTE": "0",
}
HERS = "anns-own-vergeos-key"
REFUSED, FROZEN, ACCEPTED = {401}, {423}, {202}
ASKED = (("GET", "/vms"), ("GET", "/jobs"), ("POST", "/vms/web-2/poweroff"), ("PUT", "/freeze"), ("GET", "/readyz"))


@dataclass
class House:
    """The processes; `root` are the headers of an administrator, `job` is his power-off of web-1, which goes on."""

    system: System
    redis: RedisServer
    other: str
    worker: Process
    root: dict[str, str]
    job: str = ""
    people: int = 0

    @property
    def urls(self) -> tuple[str, str]:
        """Return where the two gateways are."""
        return self.system.url, self.other

    async def person(self) -> tuple[str, dict[str, str]]:
        """Return somebody new with the headers that show his key."""
        self.people += 1
        name = f"p{self.people}"
        return name, await self.system.key(name, name, self.root, role=["engineer"])

    async def accepted(self, path: str, who: dict[str, str], body=None) -> str:
        """Have a job made; return its id."""
        status, job = await self.system.call("POST", path, body or {}, who)
        if status not in ACCEPTED:
            raise SystemExit(f"{path} was answered {status}: {job}")
        return job["id"]

    async def answered(self, method: str, path: str, who: dict[str, str], wanted: Collection[int], body=None) -> None:
        """Return once both gateways answer such a call so."""

        async def so(url: str) -> bool:
            status, _ = await self.system.call(method, path, body, who, url)
            return status in wanted

        await asyncio.gather(*(eventually(lambda url=url: so(url)) for url in self.urls))

    async def cancelled(self, job_id: str) -> None:
        """Return once a job is cancelled."""

        async def over() -> bool:
            return (await self.system.call("GET", f"/jobs/{job_id}", headers=self.root))[1]["state"] == "cancelled"

        await eventually(over)


async def revoked(house: House) -> float:
    """Measure a revocation."""
    name, who = await house.person()
    await house.answered("GET", "/vms", who, {200})
    began = time.monotonic()
    await house.system.call("DELETE", f"/keys/{name}", headers=house.root)
    await house.answered("GET", "/vms", who, REFUSED)
    return time.monotonic() - began


async def offboarded(house: House) -> float:
    """Measure an offboarding: keys, streams and waits on both gateways, the VergeOS key, a job that waits in line."""
    name, who = await house.person()
    await house.system.call("PUT", "/me/vergeos-key", {"api_key": HERS, "user": "ann"}, who)
    queued = await house.accepted("/vms/web-1/snapshots", who)
    async with (
        all_open(house.urls[0], who, "web-1", house.job) as here,
        all_open(house.urls[1], who, "web-1", house.job) as there,
    ):
        began = time.monotonic()
        status, told = await house.system.call("POST", f"/people/{name}/offboard", headers=house.root)
        if (status, told.get("vergeos_key"), len(told["cancelled"])) != (200, "ann", 1):
            raise SystemExit(f"offboard did something else: {told}")
        await asyncio.gather(
            eventually(lambda: not here and not there),
            house.answered("GET", "/vms", who, REFUSED),
            house.cancelled(queued),
        )
        return time.monotonic() - began


async def frozen(house: House) -> float:
    """Measure a freeze, at a change that is accepted until then."""
    await house.answered("POST", "/vms/web-1/poweroff", house.root, ACCEPTED, LONG)
    began = time.monotonic()
    await house.system.call("PUT", "/freeze", {"why": "a test"}, house.root)
    await house.answered("POST", "/vms/web-1/poweroff", house.root, FROZEN, LONG)
    took = time.monotonic() - began
    await house.system.call("DELETE", "/freeze", headers=house.root)
    await house.answered("POST", "/vms/web-1/poweroff", house.root, ACCEPTED, LONG)
    return took


async def gateway_ended(house: House) -> float:
    """Measure the end of a gateway with every stream and wait open."""
    url, process = await house.system.replica()
    async with all_open(url, house.root, "web-1", house.job) as still:
        process.signal(signal.SIGTERM)
        began = time.monotonic()
        await process.ended()
        await eventually(lambda: not still)
        return time.monotonic() - began


async def worker_ended(house: House) -> float:
    """Measure the end of the worker while a job is under way; a new one takes its place."""
    house.worker.signal(signal.SIGTERM)
    began = time.monotonic()
    await house.worker.ended()
    took = time.monotonic() - began
    house.worker = await ready_worker(house.system)
    return took


async def ready_worker(system: System) -> Process:
    """Start a worker; return it once it works."""
    port = free_port()
    worker = await system.worker(WORKER_METRICS_PORT=str(port))
    await eventually(lambda: system.answers("/readyz", f"http://127.0.0.1:{port}"), START_SECONDS)
    return worker


async def redis_gone(house: House) -> float:
    """Measure the slowest answer while Redis is not there."""
    house.redis.stop()
    took = await slowest(house)
    house.redis.start()
    await house.answered("GET", "/readyz", {}, {200})
    return took


async def redis_mute(house: House) -> float:
    """Measure the slowest answer while Redis takes connections and says nothing."""
    house.redis.process.send_signal(signal.SIGSTOP)
    try:
        took = await slowest(house)
    finally:
        house.redis.process.send_signal(signal.SIGCONT)
    await house.answered("GET", "/readyz", {}, {200})
    return took


async def slowest(house: House) -> float:
    """Return the seconds of the slowest of a few calls of each gateway, each after the other."""

    async def took(url: str, method: str, path: str) -> float:
        began = time.monotonic()
        body = {"why": "x"} if path == "/freeze" else LONG if method == "POST" else None
        await house.system.call(method, path, body, house.root, url)
        return time.monotonic() - began

    return max([await took(url, *asked) for url in house.urls for asked in ASKED])


PROMISES: tuple[tuple[str, float, Callable[[House], Awaitable[float]]], ...] = (
    ("a revoked key is refused by both gateways", 2.0, revoked),
    ("offboard: keys, streams, waits, a queued job, on both", 2.0, offboarded),
    ("a freeze is obeyed by both gateways", 2.0, frozen),
    ("SIGTERM: a gateway with streams and waits is gone", 5.0, gateway_ended),
    ("SIGTERM: a worker with jobs under way is gone", 5.0, worker_ended),
    ("Redis gone: the slowest answer", 3.0, redis_gone),
    ("Redis mute: the slowest answer", 3.0, redis_mute),
)


@asynccontextmanager
async def opened() -> AsyncIterator[House]:
    """Run everything while the block lasts."""
    binary = server_binary()
    if binary is None:
        raise SystemExit("needs redis-server: apt install redis-server")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = RedisServer(binary, folder)
        redis.start()
        stack.callback(redis.stop)
        sim = await stack.enter_async_context(Simulator(SimulatorSettings(vms=40, seed=7)))
        sim.add_account("ann", "pass", HERS)
        system = System(sim, redis.gateway_url, folder)
        stack.push_async_callback(system.stop)
        system.environment |= ENVIRONMENT
        del system.environment["REDIS_TIMEOUT"]  # with which tests wait longer than anybody does in earnest
        vm = sim.vm("web-1").ignore_acpi()
        await system.gateway()
        other, _ = await system.replica()
        worker = await ready_worker(system)
        house = House(system, redis, other, worker, await system.key("root", "root", role=["admin"]))
        house.job = await house.accepted("/vms/web-1/poweroff", house.root, LONG)
        await eventually(vm.power_actions)
        yield house


async def main(rounds: int) -> None:
    """Measure each promise so many times, and print how it was kept."""
    async with opened() as house:
        print(f"{'':56}bound   median   max of {rounds}")
        for name, bound, measure in PROMISES:
            seconds = [await measure(house) for _ in range(rounds)]
            late = "" if max(seconds) <= bound else "   LATE"
            print(
                f"{name:56}{bound:3.0f} s {statistics.median(seconds):6.2f} s  {max(seconds):6.2f} s{late}", flush=True
            )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
