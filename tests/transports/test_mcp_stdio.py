"""MCP over a pair of pipes, as a client that starts the gateway itself meets it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp_fixtures import CATALOG, SOON_SECONDS, BellServices, soon

from gateway.services import open_services
from gateway.store.backend import open_backend
from gateway.tools import CATALOG as ALL_TOOLS
from gateway.transports.mcp_stdio import serve_pipes
from gateway.transports.mcp_wire import MAX_BODY_BYTES

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Talk:
    """One client at the other ends of the pipes."""

    def __init__(self, services, reader, write_fd, serving):
        self.services, self.serving = services, serving
        self._reader, self._write_fd = reader, write_fd

    def say(self, *messages):
        for message in messages:
            os.write(self._write_fd, message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    async def hear(self):
        line = await soon(self._reader.readline())
        return json.loads(line) if line else None

    def hang_up(self):
        if self._write_fd is not None:
            os.close(self._write_fd)
        self._write_fd = None


@asynccontextmanager
async def talking(services=None, catalog=CATALOG):
    """Serve a catalog over two pipes; the service must end by itself when the client hangs up."""
    services = services or BellServices()
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    reader = asyncio.StreamReader()
    with os.fdopen(to_client, "rb") as heard:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), heard
        )
        serving = asyncio.create_task(serve_pipes(services, catalog, to_server, from_server))
        talk = Talk(services, reader, from_client, serving)
        try:
            yield talk
        finally:
            talk.hang_up()
            await soon(serving)
            os.close(from_server)
            transport.close()
            os.close(to_server)


def asked(method, params=None, id=1):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


async def test_a_client_that_shakes_hands_is_served():
    async with talking() as talk:
        talk.say(INITIALIZE, INITIALIZED, asked("tools/list"))
        assert (await talk.hear())["result"]["protocolVersion"] == "2025-06-18"
        assert len((await talk.hear())["result"]["tools"]) == len(CATALOG)


async def test_a_client_of_the_stateless_revision_is_served():
    async with talking() as talk:
        talk.say(asked("server/discover", {"_meta": ENVELOPE}))
        assert (await talk.hear())["result"]["supportedVersions"] == ["2026-07-28"]
        talk.say(asked("tools/call", {"name": "who_calls", "_meta": ENVELOPE}, id="b"))
        assert (await talk.hear())["result"]["structuredContent"]["face"] == "stdio"


@pytest.mark.parametrize("before", [[], [asked("ping", id=0)]])
async def test_a_bare_request_is_answered_without_a_handshake(before):
    async with talking() as talk:
        talk.say(*before, asked("tools/list"))
        talk.hang_up()
        for _ in before:
            await talk.hear()
        assert len((await talk.hear())["result"]["tools"]) == len(CATALOG)
        await soon(talk.serving)


async def test_changed_resources_are_announced_to_clients_of_both_eras(settings, redis):
    listen = {"notifications": {"resourceSubscriptions": ["vergeos://vms/list"]}, "_meta": ENVELOPE}
    legacy = [INITIALIZE, INITIALIZED, asked("resources/subscribe", {"uri": "vergeos://vms/list"})]
    for begun, answers in ((legacy, 2), ([asked("subscriptions/listen", listen)], 1)):
        async with (
            open_backend(settings) as backend,
            open_services(settings, backend) as services,
            talking(services, ALL_TOOLS) as talk,
        ):
            talk.say(*begun)
            for _ in range(answers):
                await talk.hear()
            await redis.xadd(services.keys.events, {"view": b'{"view":"vms","generation":1}'})
            told = await talk.hear()
            assert told["method"] == "notifications/resources/updated"
            assert told["params"]["uri"] == "vergeos://vms/list"


async def test_progress_is_told_on_the_way():
    async with talking() as talk:
        talk.say(asked("tools/call", {"name": "stop_thing", "_meta": {"progressToken": "p"}}))
        told = [await talk.hear(), await talk.hear()]
        assert [message["params"]["progress"] for message in told] == [1, 2]
        talk.services.bell.set()
        assert (await talk.hear())["result"]["structuredContent"]["state"] == "completed"


@pytest.mark.parametrize("by", ["closing", "end of stdin"])
async def test_a_waiting_call_is_answered_when_the_conversation_ends(by):
    async with talking() as talk:
        talk.say(asked("tools/call", {"name": "stop_thing"}))
        await soon(talk.services.waiting.wait())
        if by == "closing":
            talk.services.closing.set()
        else:
            talk.hang_up()
        assert (await talk.hear())["result"]["structuredContent"]["state"] == "working"
        await soon(talk.serving)


async def test_a_cancelled_call_gets_no_answer_and_does_not_delay_the_end():
    async with talking() as talk:
        talk.say(asked("tools/call", {"name": "stop_thing"}, id=4))
        await soon(talk.services.waiting.wait())
        talk.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}})
        await soon(talk.services.left.wait())
        talk.say(asked("ping", id=5))
        assert (await talk.hear())["id"] == 5


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n', b"\xff\n"])
async def test_a_malformed_line_is_answered_and_the_talk_goes_on(line):
    async with talking() as talk:
        talk.say(line, b"\n", asked("ping", id=2))
        answers = {(await talk.hear())["id"], (await talk.hear())["id"]}
        assert answers == {None, 2}


async def test_a_line_without_an_end_ends_the_talk():
    async with talking() as talk:
        piece = b" " * 65_536
        for _ in range(MAX_BODY_BYTES // len(piece) + 1):
            await asyncio.to_thread(os.write, talk._write_fd, piece)
        await soon(talk.serving)


async def test_a_client_that_reads_no_more_ends_the_talk(tmp_path):
    services = BellServices()
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    os.close(to_client)
    try:
        os.write(from_client, json.dumps(asked("ping")).encode() + b"\n")
        await soon(serve_pipes(services, CATALOG, to_server, from_server))
        assert services.closing.is_set()
    finally:
        for fd in (from_client, from_server, to_server):
            os.close(fd)


SCRIPT = """
import asyncio, signal, sys
sys.path.insert(0, sys.argv[1])
from mcp_fixtures import CATALOG, BellServices
from gateway.transports.mcp_stdio import serve_stdio

async def main():
    services = BellServices()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, services.closing.set)
    loop.call_soon(print, "a stray line")
    await serve_stdio(services, CATALOG)

asyncio.run(main())
"""


async def test_a_process_keeps_its_stdout_clean_and_ends_while_its_stdin_stays_open(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, str(Path(__file__).parent)), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    process.stdin.write(json.dumps(asked("tools/list")).encode() + b"\n")
    async with asyncio.timeout(SOON_SECONDS):
        answer = await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
        assert await process.wait() == 0, errors
    assert json.loads(answer)["id"] == 1
    assert rest == b""
    assert b"a stray line" in errors
