"""The HTTP doors of MCP: `/mcp` for clients with and without a handshake, `/sse` for old ones, `/message` for curl."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

from aiohttp import web
from mcp.server import Server
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER, find_duplicated_routing_header
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from gateway.calls import Face
from gateway.core.access import Caller
from gateway.core.errors import GatewayError
from gateway.services import Services
from gateway.transports.context import CATALOG, caller_of
from gateway.transports.mcp_door import FACE
from gateway.transports.mcp_exchange import PING_SECONDS, Exchange
from gateway.transports.mcp_modern import answer_modern, take_modern_notification
from gateway.transports.mcp_plain import answer_plain
from gateway.transports.mcp_ready import ReadyReplies
from gateway.transports.mcp_session import Session
from gateway.transports.mcp_sessions import IDLE_SECONDS, MAX_SESSIONS, SESSION, SESSION_HEADER, Sessions
from gateway.transports.mcp_sse import EventStreams
from gateway.transports.mcp_wire import (
    STREAM_HEADERS,
    Message,
    RefusedError,
    RpcNotification,
    RpcRequest,
    RpcResponse,
    error,
    json_response,
    message_of,
    read_json,
    require_accept,
    require_known_host,
)

JSON, EVENTS = "application/json", "text/event-stream"


class McpEndpoint:
    """Serves one MCP server, whatever its tools, on an aiohttp application.

    `services` hold what replicas share of sessions: seal, mailboxes, feed. The application must run with
    `handler_cancellation=True`: with the stateless revision a client cancels a request by closing its connection.
    `allowed_hosts` come beside loopback, and the pages of the origins `pages`.
    """

    def __init__(
        self,
        server: Server[Any],
        services: Services,
        *,
        allowed_hosts: Collection[str] = (),
        pages: Collection[str] = (),
        caller_of: Callable[[web.Request], Caller] = caller_of,
        ping_seconds: float = PING_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self._server = server
        self._state: Any = None
        self._allowed_hosts, self._pages = tuple(allowed_hosts), frozenset(pages)
        self._caller_of = caller_of
        self._ping_seconds = ping_seconds
        self.sessions = Sessions(server, services, idle_seconds=idle_seconds, max_sessions=max_sessions)
        services.metrics.sessions.set_function(self.sessions.__len__)
        services.metrics.streams.set_function(self.sessions.listening)
        self._ready = ReadyReplies(services, caller_of)
        self._limits, self._noticing = services.limits, services.noticing
        self._event_streams = EventStreams(self.sessions, services, caller_of, ping_seconds)

    def mount(self, app: web.Application) -> None:
        """Add the routes, and open and close what they need with the application."""
        for method, path, serve in (
            ("POST", "/mcp", self._post),
            ("GET", "/mcp", self._get),
            ("DELETE", "/mcp", self._delete),
            ("GET", "/sse", self._event_streams.get),
            ("POST", "/messages", self._event_streams.post),
            ("POST", "/message", self._plain),
        ):
            app.router.add_route(method, path, self._guarded(serve))
        app.cleanup_ctx.append(self._open)
        app.on_shutdown.append(self._shut_down)

    async def _open(self, _app: web.Application) -> AsyncIterator[None]:
        async with self._server.lifespan(self._server) as self._state, self.sessions.served(self._state):
            yield

    async def _shut_down(self, _app: web.Application) -> None:
        self.sessions.end_streams()

    def _guarded(
        self, serve: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                require_known_host(request, self._allowed_hosts, self._pages)
                return await serve(request)
            except RefusedError as refusal:
                return refusal.response()
            except GatewayError as exc:
                return _failed(exc)

        return guarded

    async def _post(self, request: web.Request) -> web.StreamResponse:
        require_accept(request, JSON, EVENTS)
        message = message_of(await read_json(request))
        _require_scope(request, message)
        duplicated = find_duplicated_routing_header(request.headers.items())
        if duplicated is not None:
            raise RefusedError(400, f"{duplicated} header appears more than once", code=HEADER_MISMATCH, id=message.id)
        if not _modern(request):
            return await self._legacy(request, message)
        if isinstance(message, RpcResponse):
            raise RefusedError(400, "In this revision the server asks nothing, so there is nothing to answer")
        if isinstance(message, RpcNotification):
            return take_modern_notification(request)
        async with Exchange(request, message, ping_seconds=self._ping_seconds) as exchange:
            return await answer_modern(self._server, self._state, exchange, message, self._ready)

    async def _legacy(self, request: web.Request, message: Message) -> web.StreamResponse:
        owner, session_id = self._caller_of(request).name, request.headers.get(SESSION_HEADER)
        if isinstance(message, RpcRequest) and message.method == "initialize" and session_id is None:
            return await self._initialize(request, message, owner)
        session = request[SESSION] = await self.sessions.get(session_id, owner, message.id)
        if isinstance(message, RpcResponse):
            await session.take_answer(message)
            return web.Response(status=202)
        ready = self._ready.reply(request, message, session.version)
        if ready is not None:
            return json_response(ready)
        async with Exchange(request, message, asker=session, ping_seconds=self._ping_seconds) as exchange:
            if isinstance(message, RpcNotification):
                await session.take_notification(exchange, message)
                return web.Response(status=202)
            reply = await session.reply_to(exchange, message)
            self._ready.learn(request, message, session.version, reply)
            return await exchange.finish(reply)

    async def _initialize(self, request: web.Request, message: RpcRequest, owner: str) -> web.StreamResponse:
        async with Exchange(request, message, ping_seconds=self._ping_seconds) as exchange:
            reply, opened = await self.sessions.initialize(exchange, message, owner)
            return await exchange.finish(reply, headers=None if opened is None else {SESSION_HEADER: opened.token})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if _modern(request):
            raise RefusedError(405, "This revision has no stream of its own")
        require_accept(request, EVENTS)
        session = await self._session(request)
        async with self._limits.waiting(self._caller_of(request)):
            return await self._stream(request, session)

    async def _stream(self, request: web.Request, session: Session) -> web.StreamResponse:
        outbox = await session.open_stream(noticing=self._noticing(self._caller_of(request)))
        try:
            response = web.StreamResponse(headers=STREAM_HEADERS | {SESSION_HEADER: session.token})
            await response.prepare(request)
            await outbox.write_to(request, response, self._ping_seconds)
        finally:
            session.leave_stream(outbox)
        return response

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        if _modern(request):
            raise RefusedError(405, "This revision has no sessions")
        await self.sessions.close(await self._session(request))
        return web.Response(status=204)

    async def _session(self, request: web.Request) -> Session:
        return await self.sessions.get(request.headers.get(SESSION_HEADER), self._caller_of(request).name)

    async def _plain(self, request: web.Request) -> web.StreamResponse:
        request[FACE] = Face.PLAIN
        return await answer_plain(self._server, self._state, request, await read_json(request))


def _require_scope(request: web.Request, message: Message) -> None:
    """Raise `Forbidden` for a tool that a token's scopes do not give: its client may ask for more, and come again."""
    caller = caller_of(request)
    if caller.standing is None or caller.standing.scopes is None or not isinstance(message, RpcRequest):
        return
    named, catalog = (message.params or {}).get("name"), request.app[CATALOG]
    if message.method == "tools/call" and isinstance(named, str) and named in catalog:
        catalog[named].require(caller)


def _failed(exc: GatewayError) -> web.Response:
    """Return a failure before any handler was reached: Redis is out, and the request may come again."""
    headers = None if exc.retry_after is None else {"Retry-After": str(math.ceil(exc.retry_after))}
    return json_response(error(None, INTERNAL_ERROR, exc.detail, exc.as_problem()), exc.status, headers)


def _modern(request: web.Request) -> bool:
    """Tell the era: any version that no handshake knows is modern, so that an unknown one is told so properly."""
    version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
    return version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS
