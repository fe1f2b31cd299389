"""What streamable HTTP demands of a request before any handler sees it: its body and its headers."""

import asyncio
import gzip
import io
import json

import aiohttp
import pytest
from mcp_fixtures import HEADERS, MODERN, asked, begin, modern, serving, soon

from gateway.transports import mcp_wire
from gateway.transports.mcp_wire import MAX_BODY_BYTES, MAX_DEPTH


@pytest.fixture
async def served():
    async with serving() as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


def deep(levels):
    return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


MALFORMED = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a lone surrogate": b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
    "not a number": b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    "null": b"null",
    "a string": b'"ping"',
    "a number": b"1",
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "an empty batch": b"[]",
    "an empty object": b"{}",
    "another version": b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    "a null id": b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    "a true id": b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    "a broken id": b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    "a huge id": b'{"jsonrpc":"2.0","id":' + b"9" * 400 + b',"method":"ping"}',
    "a list as id": b'{"jsonrpc":"2.0","id":[1],"method":"ping"}',
    "no method": b'{"jsonrpc":"2.0","id":1}',
    "a number as method": b'{"jsonrpc":"2.0","id":1,"method":1}',
    "positional params": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    "params as text": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}',
    "too deep": deep(MAX_DEPTH + 1),
    "far too deep": deep(50_000),
}


@pytest.mark.parametrize("headers", [{}, {"MCP-Protocol-Version": MODERN}, {"MCP-Protocol-Version": "2025-06-18"}])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_body_is_told_so(served, http, body, headers):
    async with http.post(served.mcp, data=body, headers=headers) as reply:
        assert reply.status == 400
        error = (await reply.json())["error"]
        assert error["code"] in {-32700, -32600}
        assert error["message"]


WRONG_SHAPES = [
    ("tools/call", {}),
    ("tools/call", {"name": 1}),
    ("tools/call", {"name": "list_things", "arguments": []}),
    ("tools/call", {"name": "list_things", "arguments": "x", "_meta": 3}),
    ("tools/list", {"cursor": {}}),
    ("initialize", {}),
    ("initialize", {"protocolVersion": 1}),
    ("resources/read", {"uri": 5}),
    ("no/such/method", {}),
    ("", {}),
]


@pytest.mark.parametrize(("method", "params"), WRONG_SHAPES)
async def test_wrong_params_are_a_protocol_error_in_every_revision_and_never_ours(served, http, method, params):
    session = await begin(http, served)
    requests = [
        {"json": asked(method, params), "headers": session},
        {"json": asked(method, params)},
        modern(method, {key: value for key, value in params.items() if key != "_meta"}, name="list_things"),
    ]
    for request in requests:
        async with http.post(served.mcp, **request) as reply:
            assert reply.status < 500
            answer = await reply.json()
            assert answer["error"]["code"] in {-32600, -32601, -32602, -32020}, answer
            assert answer["id"] == 1


async def test_a_body_of_the_greatest_size_is_read_and_a_larger_one_refused(served, http):
    spaces = MAX_BODY_BYTES - len(json.dumps(asked("ping")))
    async with http.post(f"{served.url}/message", data=json.dumps(asked("ping")) + " " * spaces) as reply:
        assert reply.status == 200
    for body in (io.BytesIO(b" " * (MAX_BODY_BYTES + 1)), in_pieces(b" " * (1 << 16), 17)):
        async with http.post(served.mcp, data=body) as reply:
            assert reply.status == 413


async def in_pieces(piece, count):
    for _ in range(count):
        yield piece


async def test_a_packed_body_may_not_grow_past_the_limit_nor_be_broken(served, http):
    headers = {"Content-Encoding": "gzip"}
    async with http.post(served.mcp, data=gzip.compress(b" " * (8 * MAX_BODY_BYTES)), headers=headers) as reply:
        assert reply.status == 413
    sent = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{ENCODED}\r\nnot gzip!"
    assert (await raw(served, sent.encode())).startswith(b"HTTP/1.1 400")


ENCODED = "Accept: */*\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n"


async def raw(served, sent):
    """Send bytes and return the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.runner.addresses[0][1])
    writer.write(sent)
    try:
        return await soon(reader.readline())
    finally:
        writer.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:3002", "LOCALHOST:1"])
async def test_loopback_is_always_served(served, http, host):
    async with http.post(served.mcp, json=asked("ping"), headers={"Host": host}) as reply:
        assert reply.status == 400  # let in, and told to begin with initialize


@pytest.mark.parametrize("path", ["/mcp", "/message"])
async def test_a_foreign_host_or_origin_is_refused(served, http, path):
    async with http.post(served.url + path, json=asked("ping"), headers={"Host": "evil.example.com"}) as reply:
        assert reply.status == 421
    for origin in ("http://evil.example.com", "null", "", "http://localhost.evil.example.com", "http://[::1"):
        async with http.post(served.url + path, json=asked("ping"), headers={"Origin": origin}) as reply:
            assert reply.status == 403
    async with http.post(
        served.url + path, **modern("tools/list") | {"headers": {"Origin": "http://localhost"}}
    ) as reply:
        assert reply.status != 403


async def test_a_host_that_is_allowed_is_served(http):
    async with serving(allowed_hosts=("vergeos.example.com", "other.example.com:8443")) as served:
        for host, status in (
            ("vergeos.example.com", 200),
            ("VergeOS.example.com:443", 200),
            ("other.example.com:8443", 200),
            ("other.example.com", 421),
            ("vergeos.example.com.evil.net", 421),
        ):
            async with http.post(f"{served.url}/message", json=asked("ping"), headers={"Host": host}) as reply:
                assert reply.status == status, host


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/html"])
async def test_a_client_that_takes_no_stream_or_no_json_is_told_so(served, http, accept):
    async with http.post(served.mcp, json=asked("ping"), headers={"Accept": accept}) as reply:
        assert reply.status == 406


async def test_a_body_that_is_not_declared_as_json_is_refused(served, http):
    async with http.post(served.mcp, data=b"{}", headers={"Content-Type": "text/plain"}) as reply:
        assert reply.status == 415


async def test_other_methods_are_not_allowed(served, http):
    for method in ("PUT", "PATCH", "HEAD"):
        async with http.request(method, served.mcp) as reply:
            assert reply.status == 405


async def test_a_body_that_does_not_come_is_given_up(served, monkeypatch):
    monkeypatch.setattr(mcp_wire, "BODY_SECONDS", 0.05)
    head = "POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    assert (await raw(served, head.encode())).startswith(b"HTTP/1.1 408")


async def test_many_bodies_that_come_slowly_hold_up_nobody_and_are_given_up(served, http, monkeypatch):
    monkeypatch.setattr(mcp_wire, "BODY_SECONDS", 0.5)
    head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    slow = [asyncio.create_task(raw(served, head.encode())) for _ in range(60)]
    async with http.post(f"{served.url}/message", json=asked("ping")) as reply:
        assert reply.status == 200
    assert {(await task).split()[1] for task in slow} == {b"408"}
