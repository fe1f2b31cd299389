"""Lets a plan's events happen: to the processes, to VergeOS' answers, to its VMs, and to what Redis keeps."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.core.times import EngineTimes
from gateway.store.keys import Keys
from tests.chaos.house import SITE, House
from tests.chaos.plan import BY_HAND, Event
from tests.chaos.vergeos import PERSON_KEY

LATEST_SHARE = 0.35  # of `settle`: what lands later than a lost answer does so within this part of it
LATENCY_SHARE = 0.9  # of a request's time
OPERATOR_SECONDS = 4.0  # his word may have met a Redis that was away, or a refusal that was still under way


class Trouble:
    """One method for each `Event.what`."""

    def __init__(self, house: House, http: aiohttp.ClientSession, vm_keys: list[int]) -> None:
        self.house, self.http, self.vm_keys = house, http, vm_keys
        self.times = EngineTimes().scaled(1 / house.speed)
        self.replaced: list[tuple[str, float]] = []
        self.revoked = False

    async def happen(self, event: Event) -> None:
        """Let an event happen; what meets a process that is away does not happen."""
        try:
            await getattr(self, event.what)(event)
        except (aiohttp.ClientError, TimeoutError, RedisError, OSError) as exc:
            self.house.done[f"{event.what} missed: {type(exc).__name__}"] += 1

    async def kill(self, event: Event) -> None:
        await self.house.kill(event.to, **event.options)

    async def freeze(self, event: Event) -> None:
        await self.house.freeze(event.to, **event.options)

    async def go_back(self, event: Event) -> None:
        await self.house.go_back(event.to, **event.options)

    async def fault(self, event: Event) -> None:
        """Spoil some answers of VergeOS."""
        fault = dict(event.options)
        share = fault.pop("share", None)
        if share is not None:
            late = fault["kind"] == "late"
            most = self.times.settle * LATEST_SHARE if late else self.times.request * LATENCY_SHARE
            fault["seconds"] = share * most
        await self._control("POST", "faults", fault)
        self.house.done[f"fault {fault['kind']}"] += 1

    async def blackout(self, event: Event) -> None:
        """VergeOS drops every connection for some seconds; faults that were in force are over then."""
        async with self.away():
            await asyncio.sleep(event.options["seconds"])
        self.house.done["blackout"] += 1

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """VergeOS drops every connection while the block lasts."""
        await self._control("DELETE", "faults")
        await self._control("POST", "faults", {"kind": "reset_before", "count": None, "path": f"^/api/(?!.*{BY_HAND})"})
        try:
            yield
        finally:
            await self._control("DELETE", "faults")

    async def revoke(self, event: Event) -> None:
        """VergeOS refuses our credentials for some seconds; then somebody lets them be tried again."""
        self.revoked = True
        await self._control("POST", "credentials", {"action": "revoke"})
        await asyncio.sleep(event.options["seconds"])
        await self.readmit()
        self.house.done["token revoked"] += 1

    async def readmit(self) -> None:
        """Make the credentials good again and tell the processes, as an operator does."""
        await self._control("POST", "credentials", {"action": "restore"})
        self.revoked = False
        await self._try_credentials()

    async def operate(self) -> None:
        """Come again for ever, as an operator does, where good credentials are still held for refused."""
        while True:
            await asyncio.sleep(OPERATOR_SECONDS)
            if not self.revoked and await self._latched():
                await self._try_credentials()

    async def _try_credentials(self) -> None:
        command = [sys.executable, "-m", "gateway", "doctor", "--try-credentials"]
        quiet = subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, env=self.house.environment, cwd=self.house.folder, stdout=quiet, stderr=quiet
        )
        await process.wait()

    async def _latched(self) -> bool:
        """Tell whether our processes still hold the credentials for refused; Redis away tells nothing."""
        try:
            async with Redis.from_url(self.house.redis.url, socket_timeout=2) as redis:
                return bool([key async for key in redis.scan_iter(match=Keys(SITE).latch("*"), count=1000)])
        except (RedisError, OSError):
            return False

    async def meddle(self, event: Event) -> None:
        """Somebody works on a VM in VergeOS' own UI."""
        key, deed, number = self.vm_keys[int(event.to)], event.options["deed"], event.options["number"]
        if deed == "replace":
            self.replaced.append((f"vm:{key}", time.time()))
            await self._control("PATCH", f"vms/{key}", {"replace_machine": True})
        elif deed == "rename":
            await self._person("PUT", f"vms/{key}", {"name": f"renamed-{number}"})
        elif deed == "cores":
            await self._person("PUT", f"vms/{key}", {"cpu_cores": 1 + number % 6})
        else:
            await self._person("POST", "vm_actions", {"vm": key, "action": deed})
        self.house.done[f"person: {deed}"] += 1

    async def evict(self, event: Event) -> None:
        """Redis loses keys that live for a time only, as one with an evicting policy does: steps that are queued."""
        rng, keys = random.Random(event.options["number"]), Keys(SITE)
        async with Redis.from_url(self.house.redis.url, socket_timeout=2) as redis:
            active = [raw.decode() for raw in await redis.zrange(keys.active, 0, -1)]
            for job_id in rng.sample(sorted(active), len(active) // 4):
                await redis.delete(f"arq:job:{job_id}")
                await redis.zrem(keys.arq_queue, job_id)
        self.house.done["steps evicted"] += 1

    async def lose_leases(self, _event: Event) -> None:
        """Redis loses the leases of all steps: another worker may take the very step that is being run."""
        keys = Keys(SITE)
        async with Redis.from_url(self.house.redis.url, socket_timeout=2) as redis:
            for job_id in await redis.zrange(keys.active, 0, -1):
                await redis.delete(b"arq:in-progress:" + job_id)
                await redis.zadd(keys.arq_queue, {job_id: int(time.time() * 1000)}, xx=True)
        self.house.done["leases lost"] += 1

    async def calm(self) -> None:
        """End every fault, and let everything run that was stopped."""
        for name in self.house.processes:
            async with self.house.locks[name]:
                self.house.processes[name].send_signal(signal.SIGCONT)
        await self._control("DELETE", "faults")
        await self.readmit()

    async def _control(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.house.vergeos}/_sim/{path}"
        async with self.http.request(method, url, json=body) as response:
            return await response.json(content_type=None)

    async def _person(self, method: str, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {PERSON_KEY}"}
        url = f"{self.house.vergeos}/api/v4/{path}?{BY_HAND}"
        async with self.http.request(method, url, json=body, headers=headers) as response:
            await response.read()
