"""Whoever calls whatever over any face: each cell is answered as the policy says, what is hidden as what is absent."""

import asyncio
import contextlib
import json
from collections import defaultdict

import pytest

from gateway.core.access import CallerKind
from gateway.rights.issuing import issue
from gateway.store.api_keys import NewKey
from gateway.tools import CATALOG
from gateway.transports.bridge import Bridge, Remote
from tests.conftest import eventually
from tests.journeys.inprocess import house
from tests.rights.matrix import IDS, OWNER, OWNER_ROLE, PLACES, SITE, Subjects, callers, groups, objects_of
from tests.transports.mcp_fixtures import HEADERS, asked, modern

REFUSED = {"unauthorized": "unauthorized", "forbidden": "forbidden", "not_found": "absent", "job_not_found": "absent"}
SAMPLE_EVERY = 23


class Piped:
    """A client that speaks stdio only, and its bridge, inside this process."""

    def __init__(self, gateway, headers):
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        self._lines, self._asked = asyncio.Queue(), {}
        bridge = Bridge(Remote(f"{gateway.url}/mcp"), gateway.http, self._hear, lambda: token)
        self._running = asyncio.create_task(bridge.run(self._said()))

    async def ask(self, message):
        """Return the answer to a message, as the bridge writes it."""
        answer = self._asked[message["id"]] = asyncio.get_running_loop().create_future()
        self._lines.put_nowait(json.dumps(message).encode())
        return (await answer).decode()

    async def _said(self):
        while (line := await self._lines.get()) is not None:
            yield line

    async def _hear(self, line):
        self._asked.pop(json.loads(line)["id"]).set_result(line)

    async def end(self):
        self._lines.put_nowait(None)
        await self._running


class Faces:
    """Every face of one gateway, for every caller of the matrix."""

    def __init__(self, gateway, subjects, headers, sessions):
        self.gateway, self.subjects, self.headers, self.sessions = gateway, subjects, headers, sessions
        self.pipes = {name: Piped(gateway, shown) for name, shown in headers.items()}

    async def answer(self, cell):
        """Return the verdict of a cell and the text that its caller reads."""
        arguments, headers = cell.arguments(self.subjects), self.headers[cell.who.name]
        if cell.face == "route":
            route = cell.tool.routes[-1]
            path = route.path.format(**{name: arguments.pop(name) for name in route.path_parameters})
            sent = (None, arguments) if route.method == "GET" else (arguments, {})
            return _over_http(await self.gateway.call(route.method, path, sent[0], headers, **sent[1]))
        if cell.face == "tools":
            return _over_http(await self.gateway.call("POST", f"/tools/{cell.tool.name}", arguments, headers))
        called = {"name": cell.tool.name, "arguments": arguments}
        if cell.face == "stdio":
            message = modern("tools/call", called, name=cell.tool.name)["json"]
            return _of_reply(await self.pipes[cell.who.name].ask(message))
        if cell.face == "modern":
            told = modern("tools/call", called, name=cell.tool.name)
            return await self._over_mcp("/mcp", told["json"], HEADERS | headers | told["headers"])
        path, session = ("/message", {}) if cell.face == "plain" else ("/mcp", self.sessions.get(cell.who.name, {}))
        return await self._over_mcp(path, asked("tools/call", called), HEADERS | headers | session)

    async def _over_mcp(self, path, message, headers):
        async with self.gateway.http.post(self.gateway.url + path, json=message, headers=headers) as reply:
            text = await reply.text()
        assert reply.status < 500, text
        if reply.content_type == "text/event-stream":
            text = [line for line in text.splitlines() if line.startswith("data: {")][-1].removeprefix("data: ")
        return _of_reply(text)

    async def end(self):
        for pipe in self.pipes.values():
            await pipe.end()


def _over_http(answered):
    code = answered.body.get("code") if answered.status >= 400 else None
    assert answered.status < 500, answered.text
    return REFUSED.get(code, code or "ok"), answered.text


def _of_reply(text):
    told = json.loads(text)
    if "result" in told:
        return _of_mcp(told["result"])
    code = told.get("code", "unauthorized" if "answered 401" in text else text)
    return REFUSED.get(code, code), text


def _of_mcp(result):
    text = "\n".join(part["text"] for part in result["content"])
    if not result.get("isError"):
        return "ok", text
    problem = next(value for name, value in result["_meta"].items() if name.endswith("/problem"))
    return REFUSED.get(problem["code"], problem["code"]), text


@contextlib.asynccontextmanager
async def served(sim, settings, tmp_path, whose):
    """Serve a gateway that knows these callers, and a job on the seen and on the hidden VM."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"people: {{{OWNER}: {OWNER_ROLE}}}\n")
    told = {"policy_file": policy, "vergeos_site": SITE, "mcp_wait_seconds": 0.0, "auth_failures_per_minute": 0}
    async with house(sim, settings.model_copy(update=told), workers=0) as gateway:
        jobs = [(await gateway.call("POST", f"/vms/{vm}/poweroff", {})).body["id"] for vm in IDS["vm"][:2]]
        drives = [(await gateway.get(f"/vms/{vm}/drives")).body[0]["id"] for vm in IDS["vm"][:2]]
        headers = {who.name: await _key(gateway, who) for who in whose}
        sessions = {who.name: await _session(gateway, headers[who.name]) for who in whose if who.role}
        faces = Faces(gateway, Subjects(tuple(jobs), tuple(drives)), headers, sessions)
        yield faces
        await faces.end()


async def _session(gateway, headers):
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    message = asked("initialize", about)
    async with gateway.http.post(f"{gateway.url}/mcp", json=message, headers=HEADERS | headers) as reply:
        session = {"Mcp-Session-Id": reply.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    async with gateway.http.post(f"{gateway.url}/mcp", json=message, headers=HEADERS | headers | session) as reply:
        assert reply.status == 202
    return session


async def _key(gateway, who):
    if who.role is None:
        return {}
    owner = OWNER if who.kind is CallerKind.AGENT else who.name
    _, token = await issue(gateway.services.directory, NewKey(who.name, owner, who.kind, (who.role,), who.select))
    headers = {"Authorization": f"Bearer {token}"}

    async def known():
        return (await gateway.call("GET", "/tools", headers=headers)).status == 200

    await eventually(known)
    return headers


async def compare(faces, chosen):
    """Return the cells that are not answered as the policy says; those that lack a permission go first, unasked."""
    wrong, texts = [], defaultdict(set)
    cells = [(number, cell) for number, group in enumerate(chosen) for cell in group]
    denied = [(number, cell) for number, cell in cells if cell.who.role is None or cell.lacks_permission]
    allowed = [(number, cell) for number, cell in cells if cell.who.role is not None and not cell.lacks_permission]
    for part in (denied, allowed):
        faces.gateway.sim.reset_counts()
        for number, cell in part:
            verdict, text = await faces.answer(cell)
            expected = "ok" if verdict not in REFUSED.values() else verdict
            if expected != cell.expected:
                wrong.append(f"{cell} but {verdict}: {text[:200]}")
            if cell.expected == "absent":
                texts[number].add(_without_names(cell, faces.subjects, text))
        if part is denied:
            assert not faces.gateway.sim.requests, "what no permission is for asks VergeOS nothing"
    wrong += [f"told apart: {sorted(told)}" for told in texts.values() if len(told) > 1]
    return wrong


def _without_names(cell, subjects, text):
    for kind in cell.kinds.values():
        text = text.replace(str(subjects.ref(kind, cell.place, cell.by_name)), "…")
    return text


async def test_a_sample_of_the_matrix_is_answered_as_the_policy_says(sim, settings, tmp_path):
    whose = tuple(who for who in callers() if who.name in ("nobody", "viewer-part", "operator-part", "agent"))
    async with served(sim, settings, tmp_path, whose) as faces:
        chosen = list(groups(whose))[::SAMPLE_EVERY]
        assert await compare(faces, chosen) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_cell_of_the_matrix_is_answered_as_the_policy_says(sim, settings, tmp_path):
    async with served(sim, settings, tmp_path, callers()) as faces:
        assert await compare(faces, list(groups())) == []


async def test_the_events_of_a_job_are_followed_by_who_sees_its_object(sim, settings, tmp_path):
    async with served(sim, settings, tmp_path, callers()) as faces:
        for who in callers():
            for place in PLACES:
                url = f"{faces.gateway.url}/jobs/{faces.subjects.ref('job', place, by_name=False)}/events"
                cell = next(
                    c for g in groups((who,), ("route",)) for c in g if (c.tool.name, c.place) == ("get_job", place)
                )
                async with faces.gateway.http.get(url, headers=faces.headers[who.name]) as answered:
                    expected = {"ok": 200, "absent": 404, "unauthorized": 401, "forbidden": 403}[cell.expected]
                    assert answered.status == expected, str(cell)


def test_the_matrix_knows_the_object_of_every_tool():
    without = {tool.name for tool in CATALOG if not objects_of(tool)}
    routed = {tool.name for tool in CATALOG if "{id}" in tool.routes[0].path or "_id}" in tool.routes[0].path}
    assert not without & routed
