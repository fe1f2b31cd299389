"""A hundred thousand requests, each unlike any other, leave a gateway as large as it was."""

import asyncio
import json
import time

import psutil
import pytest

from tests.transports.mcp_fixtures import HEADERS, asked, modern

REQUESTS, CONNECTIONS = 100_000, 24
WARM_UP = 100_000  # until what is kept of callers, names and answers has reached its bounds
MAY_GROW_BYTES = 12 << 20  # what the allocator keeps back; 100,000 requests that leave 200 bytes each are seen
MOST_SECONDS = 480

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def stateless(method, params, name=None):
    request = modern(method, params, name=name)
    return "/mcp", json.dumps(request["json"]).encode(), request["headers"]


def plain(method, params, **headers):
    return "/message", json.dumps(asked(method, params)).encode(), headers


def kinds(n):
    """Return requests that a cache by what callers send would keep apart."""
    word = f"word-{n}"
    completed = {"ref": {"type": "ref/prompt", "name": "diagnose_vm"}, "argument": {"name": "vm", "value": word}}
    call = {"name": "list_vms", "arguments": {"name": word, "limit": n % 50 + 1}}
    named = {"name": word, "arguments": {}}
    return (
        stateless("tools/call", call, "list_vms"),
        stateless("tools/call", {"name": "get_vm", "arguments": {"id": word}}, "get_vm"),
        stateless("tools/call", named, word),
        stateless("resources/read", {"uri": f"vergeos://vms/{word}"}, f"vergeos://vms/{word}"),
        stateless("tasks/get", {"taskId": word}, word),
        stateless(word, {}),
        plain("tools/call", call, **{"User-Agent": word}),
        plain("tools/list", {}, **{"X-Tools": f"read,{word}"}),
        plain("completion/complete", completed),
        plain("ping", {}, Host=f"{word}.example.com"),
        ("/message", b"{" * (n % 3000), {}),
        ("/message", word.encode(), {}),
        ("/mcp", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"Mcp-Session-Id": word * 20}),
        ("/mcp", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"MCP-Protocol-Version": word}),
        (f"/messages?session_id={word}", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {}),
        (f"/tools/{word}", b"{}", {}),
        ("/tools/list_vms", json.dumps({word: n}).encode(), {}),
        (f"/vms/{word}/poweroff", b"{}", {"Idempotency-Key": word}),
        (f"/vms?name={word}", b"", {"User-Agent": word}, "GET"),
    )


async def ask(connection, path, body, headers, method="POST"):
    """Send one request on a connection that stays open; return the status and the session that it began, if any."""
    reader, writer = connection
    lines = {"Host": "localhost", **HEADERS, "Content-Length": len(body), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    told = dict(line.split(": ", 1) for line in lines if line)
    await reader.readexactly(int(told.get("Content-Length", 0)))
    return int(status.split()[1]), told.get("Mcp-Session-Id")


async def session_of(connection, n):
    """Open a session and end it, as clients that start and stop do; return the last status."""
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": f"client-{n}", "version": "1"}}
    _, session = await ask(connection, "/mcp", json.dumps(asked("initialize", info)).encode(), {})
    status, _ = await ask(connection, "/mcp", b"", {"Mcp-Session-Id": session}, "DELETE")
    return status


async def load(port, first, count):
    """Send so many requests over several connections; return how many were put off, for Redis was too slow.

    None may be answered as a fault of ours.
    """
    numbers, put_off = iter(range(first, first + count)), 0

    async def one():
        nonlocal put_off
        connection = await asyncio.open_connection("127.0.0.1", port)
        try:
            for n in numbers:
                status = await sent(connection, n)
                assert 200 <= status < 500 or status == 503, (n, status)
                put_off += status == 503
        finally:
            connection[1].close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return put_off


async def sent(connection, n):
    choice = kinds(n)
    kind = n % (len(choice) + 1)
    return await session_of(connection, n) if kind == len(choice) else (await ask(connection, *choice[kind]))[0]


async def test_a_hundred_thousand_requests_leave_no_trace_in_memory(system):
    gateway = await system.gateway(LOG_LEVEL="ERROR", MCP_WAIT_SECONDS="0")
    seen = psutil.Process(gateway.popen.pid)
    await load(system.port, 0, WARM_UP)
    before, began = seen.memory_info().rss, time.monotonic()
    assert await load(system.port, WARM_UP, REQUESTS) < REQUESTS / 100
    grown = seen.memory_info().rss - before
    assert time.monotonic() - began < MOST_SECONDS
    assert grown < MAY_GROW_BYTES, f"{grown >> 10} KiB more than after the warm-up"
