"""The bridge: a client that speaks stdio only, a real bridge process, and a gateway that may come and go."""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from inprocess import engine_settings, house
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from test_journey_questions import QUESTION, UNSAID, Person

from gateway.tools import CATALOG
from tests.conftest import PATIENCE_SECONDS, eventually, free_port

MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture
def settings(sim, redis_url):
    return engine_settings(sim, redis_url).model_copy(update={"port": free_port()})


def environment(url, **more):
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "VERGEOS_MCP_URL": url, **more}


def bridged(url, mode, **options):
    command = StdioServerParameters(command=sys.executable, args=["-m", "gateway", "bridge"], env=environment(url))
    return Client(stdio_client(command), mode=mode, **options)


class Bridge:
    """A bridge process, spoken to line by line."""

    def __init__(self, process):
        self._process = process

    def say(self, message):
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._process.stdin.write(line + b"\n")

    async def hear(self):
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await self._process.stdout.readline()
        return json.loads(line)

    async def end(self):
        """Close stdin; return what was still said, the exit status and what stands on stderr."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await self._process.communicate(b"")
        return [json.loads(line) for line in out.splitlines()], self._process.returncode, err.decode()


@asynccontextmanager
async def bridge(url, **more):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "bridge"),
        env=environment(url, **more),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Bridge(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def asked(method, params=None, id=1):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


INITIALIZE = asked(
    "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}, 0
)
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@MODES
async def test_a_whole_conversation_goes_through(gateway, mode):
    vm, person, told = gateway.sim.vm("web-1").ignore_acpi(), Person(), []

    async def progress(number, total, message):
        told.append(message)

    async with bridged(gateway.url, mode, elicitation_callback=person) as client:
        assert len((await client.list_tools()).tools) == len(CATALOG)
        done = await client.call_tool("power_off_vm", UNSAID, progress_callback=progress)
        assert (person.asked, done.structured_content["result"]["forced"]) == ([QUESTION], True)
        seen = await client.call_tool("get_job", {"id": done.structured_content["id"]})
        assert seen.structured_content["state"] == "completed"
    assert told
    assert vm.power_actions() == ["poweroff", "kill"]


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
async def test_what_is_followed_is_told_also_after_the_gateway_was_restarted(sim, settings):
    heard = []

    async def hear(message):
        if getattr(message, "method", "") == "notifications/resources/updated":
            heard.append(str(message.params.uri))

    async with AsyncExitStack() as client_left:
        async with house(sim, settings) as first:
            client = await client_left.enter_async_context(bridged(first.url, "legacy", message_handler=hear))
            await client.subscribe_resource("vergeos://vms/web-1")
            await eventually(lambda: listening(first))
        async with house(sim, settings) as second:
            await eventually(lambda: heard)
            heard.clear()
            await client.call_tool("power_off_vm", {"id": "web-1", "wait_timeout": 30})
            await eventually(lambda: heard)
            await client_left.aclose()
    assert second.url == first.url


def listening(gateway):
    """Return how many sessions have a stream of their own open at a gateway."""
    return gateway.services.metrics.registry.get_sample_value("vergeos_gateway_mcp_streams")


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.slow)])
async def test_the_bridge_outlives_the_gateway_and_says_meanwhile_what_is_wrong(sim, settings, mode):
    async with AsyncExitStack() as client_left:
        async with house(sim, settings) as first:
            client = await client_left.enter_async_context(
                bridged(first.url, mode, read_timeout_seconds=PATIENCE_SECONDS)
            )
            await client.call_tool("list_vms", {"limit": 1})
        began = time.monotonic()
        with pytest.raises(MCPError, match=r"no connection to .*nothing was sent"):
            await client.call_tool("list_vms", {"limit": 1})
        assert time.monotonic() - began < PATIENCE_SECONDS
        waiting = asyncio.create_task(client.call_tool("list_vms", {"limit": 1}))
        async with house(sim, settings):
            assert (await waiting).structured_content["items"]
            await client_left.aclose()


async def test_a_connection_that_breaks_after_the_call_was_sent_says_that_the_same_call_is_safe():
    async def breaks(request):
        await request.read()
        request.transport.abort()
        return web.Response()

    async with served(breaks) as url, bridge(url) as talk:
        talk.say(asked("tools/call", {"name": "power_off_vm", "arguments": {"id": "web-1"}}, "x"))
        answer = await talk.hear()
    assert (answer["id"], answer["error"]["data"]) == ("x", {"code": "gateway_lost"})
    assert "the same call again" in answer["error"]["message"]


@asynccontextmanager
async def served(handler):
    app = web.Application()
    app.router.add_route("*", "/mcp", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("status", "words"), [(401, "VERGEOS_MCP_TOKEN"), (403, "VERGEOS_MCP_TOKEN"), (502, "502")])
async def test_a_refusal_is_told_with_what_to_do_and_the_token_is_sent_but_never_shown(status, words):
    seen = []

    async def refuses(request):
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=status, text="<html>no</html>")

    async with served(refuses) as url, bridge(f"{url}/mcp/", VERGEOS_MCP_TOKEN="hunter2") as talk:
        talk.say(asked("tools/list"))
        answer = await talk.hear()
        _, exit_status, errors = await talk.end()
    assert words in answer["error"]["message"]
    assert (seen, exit_status) == (["Bearer hunter2"], 0)
    assert "hunter2" not in errors + json.dumps(answer)


async def test_a_session_that_is_gone_is_begun_anew_and_the_request_is_sent_once_more(sim, settings, redis):
    async with house(sim, settings) as first, bridge(first.url) as talk:
        for message in (INITIALIZE, INITIALIZED, asked("ping", id=1)):
            talk.say(message)
        assert [(await talk.hear())["id"] for _ in range(2)] == [0, 1]
        await first.stop()
        await redis.flushall()  # with the key that sealed the session
        async with house(sim, settings):
            for number in (2, 3):
                talk.say(asked("ping", id=number))
            answers = [await talk.hear() for _ in range(2)]
    assert sorted(answer["id"] for answer in answers if "result" in answer) == [2, 3]


async def test_lines_that_are_no_messages_are_answered_and_an_echoed_request_needs_no_handshake(gateway):
    async with bridge(gateway.url) as talk:
        for line in (b"nonsense", b"[1]", b'{"jsonrpc":"1.0"}', b""):
            talk.say(line)
        for _ in range(3):
            assert (await talk.hear())["error"]["code"] == -32700
        meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
        meta["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {}
        talk.say(asked("server/discover", meta))
        [answer], exit_status, errors = await talk.end()
    assert answer["result"]["supportedVersions"] == ["2026-07-28"]
    assert (exit_status, errors) == (0, "")


async def test_a_stateless_request_is_cancelled_by_closing_its_connection(gateway):
    gateway.sim.vm("web-1").ignore_acpi()
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"id": "web-1", "wait_timeout": 600, "force_after_timeout": False}
    async with bridge(gateway.url) as talk:
        talk.say(asked("tools/call", {"name": "power_off_vm", "arguments": arguments, "_meta": envelope}, "w"))
        await eventually(lambda: gateway.services.feed.followers)
        talk.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}})
        await eventually(lambda: not gateway.services.feed.followers)
    [job] = (await gateway.get("/jobs")).body
    assert job["state"] == "working"


async def test_it_says_what_is_missing(tmp_path):
    for more, words in (({}, "VERGEOS_MCP_URL"), ({"VERGEOS_MCP_CA_BUNDLE": str(tmp_path)}, "VERGEOS_MCP_CA_BUNDLE")):
        async with bridge("https://gateway" if more else "", **more) as talk:
            said, exit_status, errors = await talk.end()
        assert (said, exit_status) == ([], 2)
        assert words in errors
