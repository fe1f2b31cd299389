"""`python -m tests.bench.jobs [submit] [waiting] [night] [--short]`: what jobs cost; without a name all three.

submit: rate and latency of `POST /vms/{id}/poweroff` against a bare handler that asks the same Redis for two PINGs.
waiting: CPU and memory of the worker, Redis commands a second and reads of VergeOS a tick while 1,000 and 10,000
power-offs wait. night: requests to VergeOS for a snapshot, a power-off and a power-on of each of 60 VMs.
Everything runs on this machine, the simulated VergeOS in the benchmark's own process.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import psutil
from redis.asyncio import Redis

from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.embedded import server_binary
from tests.bench.machine import process
from tests.conftest import RedisServer, eventually
from tests.journeys.conftest import System, free_port

CLIENTS = 32
ROUNDS = 5
NIGHT_VMS = 60
LONG = {"wait_timeout": 14_400, "force_after_timeout": False}
UNBOUNDED = {"JOBS_OPEN_PER_CALLER": "0", "VERGEOS_REQUESTS_PER_HOUR": "0", "LOG_LEVEL": "ERROR"}

BARE = """
import sys
from aiohttp import web
from redis.asyncio import Redis
redis = Redis.from_url(sys.argv[2])
async def answer(request):
    await request.read()
    await redis.ping()
    await redis.ping()
    return web.json_response({"id": "0"}, status=202)
app = web.Application()
app.router.add_route("*", "/{tail:.*}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


@asynccontextmanager
async def running(vms: int):
    """Yield a system of processes on a Redis and a simulated VergeOS of so many VMs, all of which run."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = RedisServer(server_binary(), folder)
        server.start()
        stack.callback(server.stop)
        sim = await stack.enter_async_context(Simulator(SimulatorSettings(vms=vms, seed=7)))
        for row in own_vms(sim):
            sim.vm(row["$key"]).start()
        system = System(sim, server.url, folder)
        system.environment |= UNBOUNDED
        stack.push_async_callback(system.stop)
        redis = await stack.enter_async_context(Redis.from_url(server.url))
        yield system, redis


def own_vms(sim):
    return [row for row in sim.world.db["vms"] if not row.get("is_snapshot")]


async def posted(url: str, paths: list[str], body: dict, clients: int = CLIENTS) -> tuple[float, list[float]]:
    """POST to every path, so many at once; return the rate and each call's seconds."""
    todo, took = iter(paths), []

    async def client() -> None:
        for path in todo:
            began = time.perf_counter()
            async with http.post(url + path, json=body) as answer:
                assert answer.status == 202, await answer.text()
                await answer.read()
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return len(took) / (time.perf_counter() - began), took


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    return statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000


async def submit(*, short: bool) -> None:
    """Compare submits with PING pairs, in turn, so that a drift of the machine's speed meets both."""
    vms = 200 if short else 1_000
    async with running(vms) as (system, redis):
        await system.gateway()
        keys = [row["$key"] for row in own_vms(system.sim)][:vms]
        async with aiohttp.ClientSession() as http, http.get(f"{system.url}/vms?limit=1000") as answer:
            await answer.read()
        port = free_port()
        rows = []
        with process(sys.executable, "-c", BARE, str(port), system.environment["REDIS_URL"]):
            bare = f"http://127.0.0.1:{port}"
            await eventually(lambda: answers(bare), 30)
            for part in range(ROUNDS):
                paths = [f"/vms/{key}/poweroff" for key in keys[part::ROUNDS]]
                for clients in (1, CLIENTS):
                    chosen = paths[: len(paths) // 2] if clients == 1 else paths[len(paths) // 2 :]
                    pair = [await posted(url, chosen, LONG, clients) for url in (system.url, bare)]
                    rows.append((clients, *pair))
        accepted = await redis.zcard(f"vg:{await site(redis)}:jobs")
    print(f"submit: {accepted} jobs accepted")
    for clients in (1, CLIENTS):
        chosen = [row[1:] for row in rows if row[0] == clients]
        ours, pings = ([(rate, *percentiles(took)) for rate, took in side] for side in zip(*chosen, strict=True))
        (rate, p50, p99), (bare_rate, bare_p50, bare_p99) = map(medians, (ours, pings))
        print(
            f"  {clients:>2} at once: {rate:6.0f}/s p50 {p50:5.1f} ms p99 {p99:5.1f} ms; PING pair {bare_rate:6.0f}/s "
            f"p50 {bare_p50:4.1f} p99 {bare_p99:4.1f}; ratio p50 {p50 / bare_p50:.1f} p99 {p99 / bare_p99:.1f}",
            flush=True,
        )


def medians(rows):
    return [statistics.median(column) for column in zip(*rows, strict=True)]


async def answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(url):
            return True
    except aiohttp.ClientError:
        return False


async def site(redis) -> str:
    return next(iter([key async for key in redis.scan_iter(match="vg:*:jobs")])).decode().split(":")[1]


async def waiting(*, short: bool) -> None:
    """Measure worker, Redis and VergeOS while many power-offs wait."""
    print("waiting power-offs      worker CPU   RSS     Redis ops/s   machine_status requests a tick")
    for count in (100, 400) if short else (1_000, 10_000):
        async with running(count) as (system, redis):
            for row in own_vms(system.sim):
                system.sim.vm(row["$key"]).ignore_acpi()
            await system.gateway()
            worker = await system.worker(ENGINE__WATCH_FAST_UNTIL="100000", VERGEOS_MAX_CONCURRENT="50")
            keys = [row["$key"] for row in own_vms(system.sim)][:count]
            await posted(system.url, [f"/vms/{key}/poweroff" for key in keys], LONG)
            name = f"vg:{await site(redis)}:waits"
            await eventually(lambda redis=redis, name=name, count=count: enough(redis, name, count), 900)
            print(f"{count:>10,} {'':>12}", await measured(system, redis, worker, 10 if short else 60), flush=True)
            actions = Counter(action.key for action in system.sim.actions)
            assert set(actions.values()) == {1}, "something was asked twice"


async def enough(redis, name: str, count: int) -> bool:
    await asyncio.sleep(0.2)
    return await redis.hlen(name) >= count


async def measured(system, redis, worker, seconds: float) -> str:
    """Return what the worker, Redis and VergeOS do in so many seconds of waiting."""
    seen = psutil.Process(worker.popen.pid)
    began, cpu, requests = time.monotonic(), sum(seen.cpu_times()[:2]), system.sim.requests.copy()
    commands = (await redis.info("stats"))["total_commands_processed"]
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    share = (sum(seen.cpu_times()[:2]) - cpu) / took
    rate = ((await redis.info("stats"))["total_commands_processed"] - commands) / took
    spent = system.sim.requests - requests
    ticks = took / 2.0  # the watcher's round while a wait is young
    others = spent.total() - spent["GET machine_status"]
    looks = f"{spent['GET machine_status'] / ticks:.2f} (others {others / ticks:.2f})"
    return f"{share:>6.0%} {seen.memory_info().rss / 2**20:>8.0f} MB {rate:>10.0f} {looks:>22}"


async def night(*, short: bool) -> None:
    """Count the requests of one night: a snapshot, a power-off and a power-on of each VM."""
    vms = 10 if short else NIGHT_VMS
    async with running(vms) as (system, _redis):
        tiers = system.sim.world.db["storage_tiers"]
        for tier in list(tiers):
            tiers.change(tier, {"used": tier["capacity"] // 2})  # where none is tight, no drives are looked at
        await system.gateway()
        await system.worker()
        before = system.sim.requests.copy()
        keys = [row["$key"] for row in own_vms(system.sim)][:vms]
        states = Counter(await asyncio.gather(*(one_night(system, key) for key in keys)))
        spent = system.sim.requests - before
    told = ", ".join(f"{name} {number}" for name, number in spent.most_common())
    print(f"night of {vms} VMs: {spent.total()} requests to VergeOS ({spent.total() / vms:.1f} a VM): {told}")
    print(f"  {dict(states)}", flush=True)


async def one_night(system, key: int) -> tuple[str, ...]:
    calls = (
        ("snapshots", {"expires_days": 2}),
        ("poweroff", {"wait_timeout": 300, "force_after_timeout": True}),
        ("poweron", {}),
    )
    states = []
    for path, body in calls:
        status, job = await system.call("POST", f"/vms/{key}/{path}", body)
        while status == 503:  # Redis on a machine that is busy otherwise; a script would call again as well
            await asyncio.sleep(1)
            status, job = await system.call("POST", f"/vms/{key}/{path}", body)
        assert status in {200, 202}, job
        states.append((await system.ended(job["id"], 600))["state"])
    return tuple(states)


PARTS = {"submit": submit, "waiting": waiting, "night": night}


async def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--short", action="store_true", help="small numbers, to see that it works")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        await PARTS[name](short=options.short)


if __name__ == "__main__":
    asyncio.run(main())
