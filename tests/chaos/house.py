"""The processes of a chaos run: Redis with its AOF, VergeOS simulated, two gateways, two workers; and their hurts."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

from gateway.store.embedded import server_binary
from tests.chaos.child import MUTANT, SKEW
from tests.chaos.evidence import GoneBack
from tests.conftest import RedisServer, eventually, free_port

START_SECONDS = 60  # of one process, on a machine that has other work
SITE = "chaos"
AUDIT = "audit.log"  # of all processes together
DOOR = "door"  # the gateway of visitors, who prove who they are; it is left alone
STREAMS_OF_ONE = 20  # that one visitor may have at once
VERGEOS_TO_ENGINE = 2.0  # VMs are this much faster still, so that a run waits for the engine rather than for guests


class House:
    """Everything that runs, by name: `redis`, `vergeos`, `gateway0`, `worker1` …; whoever dies is started again."""

    def __init__(self, folder: Path, *, vms: int, speed: float, mutant: str = "") -> None:
        self.folder, self.vms, self.speed = folder, vms, speed
        binary = server_binary()
        if binary is None:
            raise SystemExit("needs redis-server: apt install redis-server")
        (folder / "redis").mkdir()
        self.redis = RedisServer(binary, folder / "redis")
        self.vergeos_port = free_port()
        self.gateways = {f"gateway{number}": free_port() for number in range(2)}
        self.workers = {f"worker{number}": free_port() for number in range(2)}
        self.door_port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.done: Counter[str] = Counter()
        self.gone_back: list[GoneBack] = []
        self.busy = dict.fromkeys(("redis", "vergeos", DOOR, *self.gateways, *self.workers))
        self.locks = {name: asyncio.Lock() for name in self.busy}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VERGEOS_")},
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "VERGEOS_HOST": f"http://127.0.0.1:{self.vergeos_port}",
            "VERGEOS_SITE": SITE,
            "VERGEOS_API_KEY": "demo",
            "VERGEOS_REQUESTS_PER_SECOND": "0",
            "VERGEOS_MAX_CONCURRENT": "50",
            "REDIS_URL": self.redis.url,
            "ENGINE_SPEED": str(speed),
            "ENGINE__WATCH_UNFORCED": "60",
            "ENGINE__ANSWER_WITHIN": "60",
            "MCP_WAIT_SECONDS": "2",
            "LOG_LEVEL": "WARNING",
            "AUDIT_LOG": str(folder / AUDIT),
            "ALLOW_ANONYMOUS": "true",
            MUTANT: mutant,
        }

    @property
    def vergeos(self) -> str:
        return self.environment["VERGEOS_HOST"]

    @property
    def scraped(self) -> dict[str, list[int]]:
        """The ports where gateways and workers tell their figures, by the name of Prometheus' job."""
        gateways = [self.door_port, *self.gateways.values()]
        return {"vergeos-gateway": gateways, "vergeos-gateway-worker": [*self.workers.values()]}

    @property
    def door(self) -> str:
        return f"http://127.0.0.1:{self.door_port}"

    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.gateways.values()]

    async def open(self, *, working: bool = True) -> None:
        """Start everything, workers only where it is to be `working`, and return when it answers."""
        await asyncio.to_thread(self.redis.start)
        scale = str(self.speed * VERGEOS_TO_ENGINE)
        simulated = ("--vms", str(self.vms), "--port", str(self.vergeos_port), "--scale", scale)
        self._run("vergeos", "tests.chaos.vergeos", *simulated)
        await self._answers(f"{self.vergeos}/_sim/state")
        for name in (*self.gateways, *(self.workers if working else ())):
            self.start(name)
        for url in self.urls():
            await self._answers(f"{url}/readyz")

    async def open_door(self) -> None:
        """Start one more gateway, where callers have keys and limits; return when it answers."""
        own = {"PORT": str(self.door_port), "ALLOW_ANONYMOUS": "false", "WAITS_PER_CALLER": str(STREAMS_OF_ONE)}
        own |= {"METRICS_OPEN": "true", "PLATFORM_METRICS": "true", "VERGEOS_REQUESTS_PER_HOUR": "0"}
        self._run(DOOR, "gateway", "serve", **own)
        await self._answers(f"{self.door}/readyz")

    def start(self, name: str, *, skew: float = 0.0) -> None:
        """Start a gateway or a worker, with a wall clock that is off by `skew` seconds."""
        command = "serve" if name in self.gateways else "worker"
        port = {"PORT": str(self.gateways.get(name, 0)), "WORKER_METRICS_PORT": str(self.workers.get(name, 0))}
        self._run(name, "tests.chaos.child", command, **port, **({SKEW: str(skew)} if skew else {}))

    def _run(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**self.environment, **environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _answers(self, url: str) -> None:
        async def answers() -> bool:
            try:
                async with aiohttp.ClientSession() as http, http.get(url) as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers, START_SECONDS)

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.redis.process if name == "redis" else self.processes[name]
        assert process is not None
        return process

    # what befalls them

    async def kill(self, name: str, *, away: float = 0.0, skew: float = 0.0) -> None:
        """Kill with -9, and start again after `away` seconds."""
        async with self.locks[name]:
            process = self._process(name)
            process.kill()
            await asyncio.to_thread(process.wait)
            self.done[f"kill {name.rstrip('01')}"] += 1
            self.done["clock off"] += skew != 0.0
            await asyncio.sleep(away)
            if name == "redis":
                await asyncio.to_thread(self.redis.start)
            else:
                self.start(name, skew=skew)

    async def freeze(self, name: str, *, seconds: float) -> None:
        """Stop a process with SIGSTOP and let it go on later."""
        async with self.locks[name]:
            process = self._process(name)
            process.send_signal(signal.SIGSTOP)
            self.done[f"freeze {name.rstrip('01')}"] += 1
            await asyncio.sleep(seconds)
            process.send_signal(signal.SIGCONT)

    async def go_back(self, name: str, *, seconds: float) -> None:
        """Put a copy of Redis' files from `seconds` ago in place of what it has."""
        async with self.locks[name]:
            kept, copy = self.redis.folder / "appendonlydir", self.folder / "copy"
            copied_at = time.time()
            await asyncio.to_thread(shutil.copytree, kept, copy)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.redis.stop, signal.SIGKILL)
            await asyncio.to_thread(shutil.rmtree, kept)
            copy.rename(kept)
            await asyncio.to_thread(self.redis.start)
            self.gone_back.append(GoneBack(copied_at, time.time()))
            self.done["redis goes back"] += 1

    async def close(self) -> None:
        """End everything that was started here."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            await asyncio.to_thread(process.wait)
        if self.redis.process is not None and self.redis.process.poll() is None:
            self.redis.process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(self.redis.stop, signal.SIGKILL)
