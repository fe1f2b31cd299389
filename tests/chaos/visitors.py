"""Who comes to a run that Prometheus watches, beside its callers: what they do shows on every panel, and is not judged.

They have VMs of their own, and a gateway of their own where each has a key. Each comes again until he has met what he
came for, and for as long as the plan lasts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.chaos.house import STREAMS_OF_ONE
from tests.chaos.trouble import Trouble

VISITED = 4  # VMs of the visitors alone
READS = ("vms", "nodes", "cluster/stats", "cluster/status", "alarms", "logs", "overview", "networks", "vms/no-such-vm")
READERS = 3  # who read the same at once
NEW_SECONDS = 5  # a reader takes nothing older
AWAY_SECONDS = 60.0  # of VergeOS at most: longer than one VM's view lives, also while the hour is nearly spent
THINKS_SECONDS = 3.0  # before a person answers
FROZEN_SECONDS, THAWED_SECONDS = 3.0, 60.0
ANSWER_SECONDS = 30.0
HEARD_SECONDS = 5.0  # until whoever was cut off comes back
PAUSE_SECONDS, PATIENCE_SECONDS = 0.5, 300.0
KINDS = {"ann": "person", "crowd": "machine", "bot": "agent"}
UNKNOWN = {"Authorization": "Bearer vgw_nobody"}
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "visitor", "version": "1"}}
STREAMING = {"Accept": "application/json, text/event-stream"}
FOR_EVER = aiohttp.ClientTimeout(total=None)
AWAY = (aiohttp.ClientError, TimeoutError, OSError)


class Visitors:
    """All of them; `vms` are the keys of their VMs."""

    def __init__(self, trouble: Trouble, vms: list[int]) -> None:
        self.house, self.http, self.trouble = trouble.house, trouble.http, trouble
        self.stubborn, self.broken, self.asked, self.plagued = vms
        self.jobs: set[str] = set()
        self.keys: dict[str, dict[str, str]] = {}
        self._met: dict[str, asyncio.Event] = {}
        self._coming: list[asyncio.Task[None]] = []

    async def come(self) -> None:
        """Let everybody come, and come again."""
        for name, kind in KINDS.items():
            self.keys[name] = await self._key(name, kind)
        await self._control(self.stubborn, ignore_acpi=True, power="start")
        await self._control(self.asked, ignore_acpi=True, power="start")
        visits = (self._read, self._guess, self._follow, self._listen, self._be_asked, self._leave_off)
        for visit in (*visits, self._overdo, self._freeze):
            self._met[visit.__name__] = asyncio.Event()
            self._coming.append(asyncio.create_task(self._again(visit), name=visit.__name__))

    async def leave(self) -> list[str]:
        """Return who has not met what he came for, having waited for him; nothing of theirs is open or frozen then."""
        self._met["_leave_off"].clear()  # once more: what a killed worker had counted is lost, and now none is killed
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(met.wait() for met in self._met.values()))
        for task in self._coming:
            task.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)
        await self._insist("DELETE", "freeze")
        for job in self.jobs:
            await self._insist("POST", f"jobs/{job}/cancel")
        for job in self.jobs:  # one that ends later would make forgotten what is to be told as stale
            await self._ended(job)
        missed = [f"visitor {name} met nothing" for name, met in self._met.items() if not met.is_set()]
        return missed if await self._sees_old() else [*missed, "no visitor was told what is stale"]

    async def _sees_old(self) -> bool:
        """While VergeOS is away somebody is told what was known of a VM before, and that it is old."""
        await self._insist("GET", f"vms/{self.plagued}")
        async with self.trouble.away():
            for _ in range(round(AWAY_SECONDS / PAUSE_SECONDS)):
                url = f"{self.house.door}/vms/{self.plagued}"
                with suppress(*AWAY):
                    async with self.http.get(url, headers=self.keys["ann"]) as response:
                        if response.headers.get("X-Source") == "stale":
                            return True
                await asyncio.sleep(PAUSE_SECONDS)
        return False

    async def _again(self, visit: Callable[[], Awaitable[bool]]) -> None:
        while True:
            try:
                if await visit():
                    self._met[visit.__name__].set()
            except AWAY:
                pass  # whoever he called was killed
            except Exception as exc:
                if not isinstance(exc, ExceptionGroup):  # the SDK's, for the same
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    # what they do; each returns whether he met what he came for

    async def _read(self) -> bool:
        """Several at once read the same: one asks VergeOS, the others join him."""
        for path in READS:
            await asyncio.gather(*(self._call("GET", path, max_age=NEW_SECONDS) for _ in range(READERS)))
            await asyncio.sleep(PAUSE_SECONDS / len(READS))
        return True

    async def _guess(self) -> bool:
        """Somebody has no key."""
        async with self.http.get(f"{self.house.door}/vms", headers=UNKNOWN) as response:
            return response.status == 401

    async def _follow(self) -> bool:
        """More follow one job than one caller may."""
        job = await self._submitted("POST", f"vms/{self.stubborn}/poweroff", {"wait_timeout": 600})
        if job is None:
            return False
        async with asyncio.TaskGroup() as group:
            for _ in range(STREAMS_OF_ONE + 5):
                group.create_task(self._stream(f"jobs/{job}/events"))
        await asyncio.sleep(HEARD_SECONDS)
        return False

    async def _stream(self, path: str) -> None:
        """Listen until the job has ended or the gateway is killed."""
        with suppress(*AWAY):
            url, headers = f"{self.house.door}/{path}", self.keys["crowd"]
            async with self.http.get(url, headers=headers, timeout=FOR_EVER) as response:
                if response.status == 429:
                    self._met["_follow"].set()
                await response.read()

    async def _listen(self) -> bool:
        """A client of the session era listens on its stream."""
        url = f"{self.house.door}/mcp"
        headers = {**self.keys["ann"], **STREAMING}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
        async with self.http.post(url, json=message, headers=headers) as response:
            session = response.headers.get("Mcp-Session-Id")
        if session is None:
            return False
        headers["Mcp-Session-Id"] = session
        self._met["_listen"].set()
        async with self.http.get(url, headers=headers, timeout=FOR_EVER) as response:
            await response.read()
        return True

    async def _be_asked(self) -> bool:
        """A person takes his time to say whether a guest that does not listen may be forced."""
        asked = asyncio.Event()

        async def person(_context: Any, _params: Any) -> ElicitResult:
            asked.set()
            await asyncio.sleep(THINKS_SECONDS)
            return ElicitResult(action="accept", content={"answer": True})

        await self._control(self.asked, power="start")
        async with (
            httpx2.AsyncClient(headers=self.keys["ann"], timeout=ANSWER_SECONDS) as http,
            Client(
                streamable_http_client(f"{self.house.door}/mcp", http_client=http), elicitation_callback=person
            ) as client,
        ):
            result = await client.call_tool("power_off_vm", {"id": self.asked, "wait_timeout": 1, "again": True})
            job = (result.structured_content or {}).get("id")
            if job is not None:
                self.jobs.add(str(job))
                await self._ended(str(job))
        return asked.is_set()

    async def _leave_off(self) -> bool:
        """A VM that is resized does not start again."""
        await self._control(self.broken, fail_to_start=False, power="start")
        seen = await self._call("GET", f"vms/{self.broken}", max_age=0)
        await self._control(self.broken, fail_to_start="no room")
        size = {"cpu_cores": 3 if seen.get("cpu_cores") == 2 else 2, "shutdown_if_running": True}
        wish = {**size, "force_after_timeout": True, "wait_timeout": 2, "again": True}
        job = await self._submitted("PATCH", f"vms/{self.broken}", wish)
        ended = None if job is None else await self._ended(job)
        return ended is not None and (ended.get("problem") or {}).get("code") == "left_off"

    async def _overdo(self) -> bool:
        """An agent stops more than it may, and tries what nobody may."""
        networks = await self._call("GET", "networks")
        core = next((row["id"] for row in networks if row.get("type") == "core"), 1) if networks else 1
        await self._call("POST", f"networks/{core}/poweroff", {"reason": "a test"}, by="bot")
        body = {"reason": "a test", "again": True}
        job = await self._call("POST", f"vms/{self.plagued}/reset", body, by="bot")
        if "id" in job:
            self.jobs.add(job["id"])
            await self._ended(job["id"])
        return bool(job.get("code") == "agent_limit")

    async def _freeze(self) -> bool:
        """An administrator stops all changes for a moment, somebody tries one meanwhile."""
        frozen = await self._call("PUT", "freeze", {"why": "an incident"})
        refused = await self._call("POST", f"vms/{self.plagued}/poweron", {})
        await asyncio.sleep(FROZEN_SECONDS)
        await self._insist("DELETE", "freeze")
        await asyncio.sleep(THAWED_SECONDS if frozen.get("frozen") else 0)
        return refused.get("code") == "frozen"

    # how they do it

    async def _key(self, name: str, kind: str) -> dict[str, str]:
        """Return the header that proves who somebody is; anybody may make keys at the gateways of the plan."""
        wanted = {"name": name, "owner": "ann", "kind": kind, "role": ["admin"]}
        async with self.http.post(f"{self.house.urls()[0]}/keys", json=wanted) as response:
            return {"Authorization": f"Bearer {(await response.json())['token']}"}

    async def _call(
        self, method: str, path: str, body: Any = None, *, by: str = "ann", max_age: float | None = None
    ) -> Any:
        """Return the JSON of one answer, whatever it says."""
        headers = self.keys[by] if max_age is None else {**self.keys[by], "Cache-Control": f"max-age={max_age}"}
        async with self.http.request(method, f"{self.house.door}/{path}", json=body, headers=headers) as response:
            return await response.json(content_type=None)

    async def _insist(self, method: str, path: str) -> None:
        """Call until the answer is no fault of the gateway's."""
        while True:
            with suppress(*AWAY):
                async with self.http.request(method, f"{self.house.door}/{path}", headers=self.keys["ann"]) as response:
                    if response.status < 500:
                        return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _submitted(self, method: str, path: str, body: Any) -> str | None:
        """Return the job that a call made, None where it was refused."""
        job = (await self._call(method, path, body)).get("id")
        if job is not None:
            self.jobs.add(str(job))
        return job and str(job)

    async def _ended(self, job: str) -> dict[str, Any]:
        """Return a job once it has ended, or is not known any more: Redis came back from an older copy."""
        while True:
            with suppress(*AWAY):
                seen = await self._call("GET", f"jobs/{job}")
                if seen.get("state") in {"completed", "failed", "cancelled"} or seen.get("code") == "job_not_found":
                    return dict(seen)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _control(self, vm: int, **order: Any) -> None:
        async with self.http.patch(f"{self.house.vergeos}/_sim/vms/{vm}", json=order) as response:
            response.raise_for_status()
