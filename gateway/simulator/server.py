"""The HTTP side: reads requests, counts them, lets faults happen, sends answers."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from gateway.simulator.api import MAX_REQUEST_LINE_BYTES, Answer, Api, ApiRequest
from gateway.simulator.faults import Fault, Faults
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.world import World

CONTROL = "/_sim"
Control = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
HUGE_BODY_BYTES = 64 * 2**20
_LINGER_ZERO = struct.pack("ii", 1, 0)  # close with a reset, not with a goodbye


class RateModel:
    """Above the rate the platform drops TCP connections, without 429 (VergeOS API notes 2.8)."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._tokens = per_second
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Whether a request at `now` (monotonic seconds) is within the rate; a second's worth may come at once."""
        if self.per_second <= 0:
            return True
        self._tokens = min(self.per_second, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _Refused(asyncio.Protocol):
    """What a connection meets while the server is down."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        reset(transport)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection by RST."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


class Server:
    """Serves a world over HTTP and keeps the counts: requests, bytes sent, connections."""

    def __init__(self, world: World, settings: SimulatorSettings, control: Control) -> None:
        self.world = world
        self.settings = settings
        self.api = Api(world)
        self.faults = Faults(settings.seed)
        self.requests: Counter[str] = Counter()
        self.bytes_sent: Counter[str] = Counter()
        self.connections = 0
        self.rate = RateModel(settings.max_requests_per_second)
        self._control = control
        self._down = False
        self._closing = asyncio.Event()
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen and return the address as a URL."""
        loop = asyncio.get_running_loop()
        self._web = web.Server(self._handle, access_log=None, max_line_size=2**20, max_field_size=2**20)
        self._listener = await loop.create_server(
            self._protocol, self.settings.host, self.settings.port, ssl=self.settings.ssl_context
        )
        port = self._listener.sockets[0].getsockname()[1]
        scheme = "http" if self.settings.ssl_context is None else "https"
        return f"{scheme}://{self.settings.host}:{port}"

    async def close(self) -> None:
        """Stop listening and end every connection, hanging ones too."""
        self._closing.set()
        if self._listener is not None:
            self._listener.close()
        self._reset_connections()
        if self._web is not None:
            await self._web.shutdown(timeout=1.0)
        if self._listener is not None:
            await self._listener.wait_closed()

    @property
    def down(self) -> bool:
        """Whether the whole server is out: connections are reset, `/_sim` included."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._down = down
        if down:
            self._reset_connections()

    def _reset_connections(self) -> None:
        for connection in list(self._web.connections) if self._web is not None else ():
            reset(connection.transport)

    def _protocol(self) -> asyncio.Protocol:
        if self._down or self._web is None:
            return _Refused()
        self.connections += 1
        return self._web()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith(CONTROL):
            return await self._control(request)
        at = self.world.db.clock.now()
        seen = ApiRequest(
            request.method,
            request.path,
            dict(request.rel_url.query),
            request.headers,
            request.cookies,
            await request.read(),
            at,
        )
        label = seen.label()
        self.requests[label] += 1
        if not self.rate.allows(asyncio.get_running_loop().time()):
            return _dropped(request)
        if len(request.method) + len(request.raw_path) + len(" HTTP/1.1 ") > MAX_REQUEST_LINE_BYTES:
            return web.Response(status=414, text="<html><body>414 Request-URI Too Large</body></html>")
        if seen.method == "GET" and self.settings.read_latency_seconds > 0:
            await asyncio.sleep(self.settings.read_latency_seconds)
        response = await self._faulty(request, seen)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            self.bytes_sent[label] += len(response.body)
        return response

    async def _faulty(self, request: web.BaseRequest, seen: ApiRequest) -> web.StreamResponse:
        body = seen.body.decode(errors="replace")
        for fault in self.faults.take(seen.method, request.path_qs, body):
            if fault.kind != "latency":
                return await self._fault(fault, request, seen)
            await asyncio.sleep(fault.seconds)
        return _response(request, self.api.answer(seen))

    async def _fault(self, fault: Fault, request: web.BaseRequest, seen: ApiRequest) -> web.StreamResponse:
        if fault.kind == "late":
            self.world.db.clock.after(fault.seconds, lambda _moment: self._carry_out(seen), scaled=False)
            return _dropped(request) if fault.answer == "reset" else _error(int(fault.answer))
        answer = self.api.answer(seen) if fault.effect or fault.kind in ("reset_after", "malformed") else None
        if fault.kind == "status":
            return _error(fault.status)
        if fault.kind == "hang":
            await self._closing.wait()
            return _dropped(request)
        if fault.kind == "malformed" and answer is not None:
            return _malformed(fault.body, request, answer)
        return _dropped(request)

    def _carry_out(self, seen: ApiRequest) -> None:
        self.api.answer(seen)


def _dropped(request: web.BaseRequest) -> web.Response:
    reset(request.transport)
    return web.Response()  # never leaves: the connection is gone


def _error(status: int) -> web.Response:
    return web.Response(status=status, body=orjson.dumps({"err": f"Error {status}"}), content_type="application/json")


def _response(request: web.BaseRequest, answer: Answer) -> web.Response:
    body = b"" if answer.payload is None else _json(request, answer.payload)
    return web.Response(status=answer.status, body=body, content_type="application/json")


def _json(request: web.BaseRequest, payload: Any) -> bytes:
    pretty = request.headers.get("X-JSON-Non-Compact", "0") not in ("", "0")
    return orjson.dumps(payload, option=orjson.OPT_INDENT_2 if pretty else None)


def _malformed(kind: str, request: web.BaseRequest, answer: Answer) -> web.Response:
    content_type = "application/json"
    match kind:
        case "html":
            body, content_type = b"<html><body><h1>It works!</h1></body></html>", "text/html"
        case "truncated":
            whole = _json(request, answer.payload)
            body = whole[: max(1, len(whole) * 2 // 3)]
        case "huge":
            body = b'["' + b"x" * HUGE_BODY_BYTES + b'"]'
        case _:  # empty
            body = b""
    return web.Response(status=answer.status, body=body, content_type=content_type)
