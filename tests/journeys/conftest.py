"""Whole calls through real processes: gateways and workers of their own, on a real Redis and the simulator."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress

import aiohttp
import pytest

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import PATIENCE_SECONDS, PATIENT, eventually, free_port
from tests.journeys.inprocess import house

START_SECONDS = 30
MOST_SPEED = 4.0  # of an engine in a process of its own: half a second for a request on a busy machine


class Process:
    """One `vergeos-gateway` process."""

    def __init__(self, command: list[str], environment: dict[str, str], log) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "gateway", *command],
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        return await asyncio.to_thread(self.popen.wait, seconds)

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.popen.kill()
        await self.ended()


class System:
    """A gateway system of several processes on one simulated VergeOS and one Redis."""

    def __init__(self, sim: Simulator, redis_url: str, folder) -> None:
        self.sim = sim
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (folder / "processes.log").open("ab")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("VERGEOS_")},
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "VERGEOS_HOST": sim.url,
            "VERGEOS_API_KEY": "demo",
            "VERGEOS_REQUESTS_PER_SECOND": "0",
            "REDIS_URL": redis_url,
            "REDIS_TIMEOUT": str(PATIENT.answer),
            "PORT": str(self.port),
        }
        self.processes: list[Process] = []

    def start(self, *command: str, **environment: str) -> Process:
        process = Process(list(command), {**self.environment, **environment}, self.log)
        self.processes.append(process)
        return process

    async def gateway(self, **environment: str) -> Process:
        """Start a gateway and wait until it is ready."""
        process = self.start("serve", **environment)
        await eventually(lambda: self.answers("/readyz"), START_SECONDS)
        return process

    async def replica(self, **environment: str) -> tuple[str, Process]:
        """Start another gateway beside the first; return its URL once it is ready."""
        port = free_port()
        process = self.start("serve", **{**environment, "PORT": str(port)})
        url = f"http://127.0.0.1:{port}"
        await eventually(lambda: self.answers("/readyz", url), START_SECONDS)
        return url, process

    async def worker(self, **environment: str) -> Process:
        return self.start("worker", **environment)

    async def answers(self, path: str, url: str = "") -> bool:
        with suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as http, http.get((url or self.url) + path) as response:
                return response.status == 200
        return False

    async def key(self, name: str, owner: str, by=None, **more) -> dict[str, str]:
        """Make a key as who shows the headers `by`, the first as anybody; return the header that shows it."""
        status, made = await self.call("POST", "/keys", {"name": name, "owner": owner, **more}, by)
        assert status == 200, made
        return {"Authorization": f"Bearer {made['token']}"}

    async def call(self, method: str, path: str, body=None, headers=None, url: str = ""):
        """Return status and JSON of one REST call, to the gateway at `url` or to the first."""
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, (url or self.url) + path, json=body, headers=headers) as response,
        ):
            return response.status, await response.json(content_type=None)

    async def ended(self, job_id: str, seconds: float = PATIENCE_SECONDS):
        """Return a job once it has ended."""

        async def final():
            _, job = await self.call("GET", f"/jobs/{job_id}?wait=5")
            return job if job["state"] in {"completed", "failed", "cancelled"} else None

        return await eventually(final, seconds)

    async def stop(self) -> None:
        for process in self.processes:
            await process.kill()
        self.log.close()


@pytest.fixture
async def redis_url(redis_url, session_redis):
    """The same Redis, as the user of the deployed one."""
    return session_redis.gateway_url


@pytest.fixture
def speed():
    """How many times faster than in earnest the simulation runs, and the engine at most; a slow test says 1."""
    return 10.0


@pytest.fixture
async def system(speed, own_redis, tmp_path):
    async with Simulator(SimulatorSettings(vms=120, seed=7, time_scale=speed)) as sim:
        started = System(sim, own_redis.gateway_url, tmp_path)
        started.environment["ENGINE_SPEED"] = str(min(speed, MOST_SPEED))
        yield started
        await started.stop()


@pytest.fixture
async def gateway(sim, settings):
    """A gateway with a worker in the test's own process; each file says with which `settings`."""
    async with house(sim, settings) as served:
        yield served


@pytest.fixture
async def idle(sim, settings):
    """A gateway without a worker: what is asked of it stays queued until the test starts one."""
    async with house(sim, settings, workers=0) as served:
        yield served
