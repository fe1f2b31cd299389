"""Makes a plan's calls as callers do: over REST and MCP, again after a failure, with hang-ups and second thoughts."""

import asyncio
import itertools
import json
import time
from collections import Counter
from typing import Any

import aiohttp
import mcp_types as t
from mcp import Client

from tests.chaos.child import CALLER_HEADER
from tests.chaos.evidence import Accepted
from tests.chaos.plan import Call

TRIES, PAUSE_SECONDS, ANSWER_SECONDS = 60, 0.5, 20.0
MODERN = "2026-07-28"
ROUTES = {
    "power_off_vm": ("POST", "/vms/{vm}/poweroff"),
    "power_on_vm": ("POST", "/vms/{vm}/poweron"),
    "force_off_vm": ("POST", "/vms/{vm}/forceoff"),
    "reset_vm": ("POST", "/vms/{vm}/reset"),
    "modify_vm": ("PATCH", "/vms/{vm}"),
    "create_vm_snapshot": ("POST", "/vms/{vm}/snapshots"),
    "delete_vm_snapshot": ("DELETE", "/snapshots/{snapshot_id}"),
    "restore_vm_snapshot": ("POST", "/vms/{vm}/snapshots/{snapshot_id}/restore"),
    "add_drive": ("POST", "/vms/{vm}/drives"),
    "resize_drive": ("PUT", "/drives/{drive_id}"),
    "network_action": ("POST", "/networks/{id}/{action}"),
    "tenant_action": ("POST", "/tenants/{id}/{action}"),
}
OF_A_VM = {"create_vm_snapshot": "vm_id", "restore_vm_snapshot": "vm_id"}  # what the tool calls its VM, where not `id`
SPOILED = (aiohttp.ClientError, TimeoutError, OSError)


class Unanswered(Exception):
    """The call has no usable answer: the caller calls again."""


class Refused(Exception):
    """The gateway said no, with this code."""


class Callers:
    """Everybody who calls; `accepted` is what they were promised, `counted` how the calls went."""

    def __init__(self, urls: list[str], http: aiohttp.ClientSession, vm_keys: list[int]) -> None:
        self.urls, self.http, self.vm_keys = urls, http, vm_keys
        self.accepted: list[Accepted] = []
        self.counted: Counter[str] = Counter()
        self.last: dict[int, str] = {}
        self._turn = itertools.count()

    async def carry_out(self, call: Call) -> None:
        """Make a call until it is answered, and then what its caller does about it."""
        try:
            arguments = await self._resolved(call)
            if call.hangs_up is not None:
                await self._hang_up(call, arguments)
            job = await self._insist(call, arguments)
        except Refused as refusal:
            self.counted[f"refused: {refusal}"] += 1
            return
        except Unanswered:
            self.counted["given up"] += 1
            return
        self.last[call.vm] = job
        self.counted[f"accepted {call.face}"] += 1
        async with asyncio.TaskGroup() as group:
            if call.cancel is not None:
                group.create_task(self._cancel(call, job, call.cancel))
            if call.misuse:
                group.create_task(self._misuse(call, arguments))
            for seconds in call.repeats:
                group.create_task(self._repeat(call, arguments, seconds))

    async def _insist(self, call: Call, arguments: dict[str, Any], *, misused: bool = False) -> str:
        """Call until there is an answer; return the job's id. Raises `Refused`, `Unanswered`."""
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    job = await self._answer(call, arguments)
            except (Unanswered, *SPOILED):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.accepted.append(Accepted(call.name, job, time.time(), call.key, misused))
            return job
        raise Unanswered

    async def _hang_up(self, call: Call, arguments: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(call.hangs_up):
                job = await self._answer(call, arguments)
        except (Unanswered, Refused, *SPOILED):
            return
        self.accepted.append(Accepted(call.name, job, time.time(), call.key))

    async def _repeat(self, call: Call, arguments: dict[str, Any], seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            await self._insist(call, arguments)
        except (Refused, Unanswered):
            self.counted["repeat refused"] += 1

    async def _misuse(self, call: Call, arguments: dict[str, Any]) -> None:
        try:
            await self._insist(call, {**arguments, "wait_timeout": 7}, misused=True)
        except (Refused, Unanswered) as exc:
            self.counted[f"misuse: {exc}"] += 1

    async def _cancel(self, call: Call, job: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for _ in range(TRIES):
            try:
                status, _body = await self.rest("POST", f"/jobs/{job}/cancel", caller=call.caller)
            except (Unanswered, *SPOILED):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.counted[f"cancel {status}"] += 1
            return

    # one call

    async def _answer(self, call: Call, arguments: dict[str, Any]) -> str:
        if call.face == "rest":
            return await self._over_rest(call, arguments)
        return await (self._over_mcp if call.face == "mcp" else self._as_person)(call, self._named(call, arguments))

    async def _over_rest(self, call: Call, arguments: dict[str, Any]) -> str:
        method, route = ROUTES[call.tool]
        place = {"vm": self.vm_keys[call.vm], **arguments}
        in_path = {name for name in arguments if f"{{{name}}}" in route}
        body = {name: value for name, value in arguments.items() if name not in in_path and value is not None}
        headers = {} if call.key is None else {"Idempotency-Key": call.key}
        status, told = await self.rest(method, route.format(**place), body, headers, caller=call.caller)
        if status in {200, 202}:
            return str(told["id"])
        raise Refused(told.get("code", status))

    async def rest(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, caller: str = "local"
    ) -> tuple[int, Any]:
        """Return status and JSON of one request to the next gateway in turn.

        Raises `Unanswered` for a 5xx, and for a stream of events that a gateway's end cut off before the answer.
        """
        url = self.urls[next(self._turn) % len(self.urls)]
        named = {CALLER_HEADER: caller, **(headers or {})}
        async with self.http.request(method, url + path, json=body, headers=named) as response:
            if response.status >= 500:
                raise Unanswered
            return response.status, _told(response.content_type, await response.text())

    def _named(self, call: Call, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with the VM, under the name that the tool gives it."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if "{vm}" in ROUTES[call.tool][1]:
            given[OF_A_VM.get(call.tool, "id")] = self.vm_keys[call.vm]
        return given

    async def _over_mcp(self, call: Call, arguments: dict[str, Any]) -> str:
        """Call in one stateless request; the job comes back at the latest after the gateway's own wait."""
        envelope = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": call.tool, "arguments": arguments, "_meta": envelope}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": call.tool}
        headers["Accept"] = "application/json, text/event-stream"
        status, told = await self.rest("POST", "/mcp", message, headers, caller=call.caller)
        if "result" not in told:
            raise Unanswered if status >= 500 else Refused(f"mcp {status}")
        result = told["result"]
        return _job_of(result.get("structuredContent"), result.get("_meta"))

    async def _as_person(self, call: Call, arguments: dict[str, Any]) -> str:
        """Call through the SDK's client, with a person in front of it who answers questions."""

        async def person(_context: Any, _params: Any) -> t.ElicitResult:
            return t.ElicitResult(action="accept", content={"answer": call.says_yes})

        url = self.urls[next(self._turn) % len(self.urls)]
        try:
            async with Client(f"{url}/mcp", mode="auto", elicitation_callback=person) as client:
                result = await client.call_tool(call.tool, arguments)
        except Exception as exc:  # the SDK wraps a lost connection in groups of its own
            raise Unanswered from exc
        return _job_of(result.structured_content, result.meta)

    async def _resolved(self, call: Call) -> dict[str, Any]:
        """Return the call's arguments with the snapshot, drive or job that they are about. Raises as `_insist`."""
        arguments = dict(call.arguments)
        vm = self.vm_keys[call.vm]
        if call.tool in {"delete_vm_snapshot", "restore_vm_snapshot"}:
            arguments["snapshot_id"] = (await self._listed(f"/vms/{vm}/snapshots"))[0]["id"]
        if call.tool == "resize_drive":
            disk = next((row for row in await self._listed(f"/vms/{vm}/drives") if row.get("media") == "disk"), None)
            if disk is None:
                raise Refused("nothing to resize")
            arguments |= {"drive_id": disk["id"], "new_size_gb": round(disk["size_gb"]) + 1}
        if call.after and call.vm in self.last and "id" not in arguments:
            arguments["after"] = self.last[call.vm]
        return arguments

    async def _listed(self, path: str) -> list[Any]:
        for _ in range(TRIES):
            try:
                status, rows = await self.rest("GET", path)
            except (Unanswered, *SPOILED):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if status != 200 or not rows:
                raise Refused("nothing there")
            return list(rows)
        raise Unanswered


def _told(content_type: str, body: str) -> Any:
    """Return the JSON of an answer; an MCP call that takes long is answered by a stream, whose last event it is."""
    if content_type != "text/event-stream":
        return json.loads(body) if body else None
    events = [json.loads(line.removeprefix("data:")) for line in body.splitlines() if line.startswith("data: {")]
    if not events or "id" not in events[-1]:
        raise Unanswered
    return events[-1]


def _job_of(job: dict[str, Any] | None, meta: dict[str, Any] | None) -> str:
    """Return the id of the job in a tool's answer. Raises as the problem beside it says."""
    if job is not None:
        return str(job["id"])
    problem = next((value for value in (meta or {}).values() if isinstance(value, dict) and "code" in value), {})
    if problem.get("retryable") or problem.get("status", 500) >= 500:
        raise Unanswered
    raise Refused(problem["code"])
