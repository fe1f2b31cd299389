"""Sessions of clients that begin with a handshake (2025-03-26 to 2025-11-25), kept in this process."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions

from gateway.transports.mcp_exchange import PING_SECONDS, Exchange, OneWay, as_error
from gateway.transports.mcp_wire import (
    PING,
    STREAM_HEADERS,
    RefusedError,
    Reply,
    RequestId,
    RpcNotification,
    RpcRequest,
    error,
    frame,
    notification,
    result,
)

SESSION_HEADER = "Mcp-Session-Id"
REQUEST_CANCELLED = -32800  # ends the reply to a cancelled request, which these revisions leave no other end
IDLE_SECONDS = 1800.0
MAX_SESSIONS = 10_000
MAX_UNREAD = 100  # messages kept for a session's own stream; then the oldest go
MAX_IN_FLIGHT = 100  # requests of one session at once


class Session(OneWay):
    """One client's session: its negotiated facts, its requests in flight, and its own stream (GET)."""

    def __init__(self, server: Server[Any], state: Any, owner: str) -> None:
        self.id, self.owner = secrets.token_urlsafe(24), owner
        self.used_at = time.monotonic()
        self._connection = Connection.for_loop(self, session_id=self.id)
        self._runner = ServerRunner(server, self._connection, state)
        self._in_flight: dict[RequestId, asyncio.Task[Reply]] = {}
        self._unread: asyncio.Queue[Reply | None] = asyncio.Queue(MAX_UNREAD)  # None ends the stream
        self._listening = False

    @property
    def busy(self) -> bool:
        """True while a request is in flight or the session's own stream is open."""
        return self._listening or bool(self._in_flight)

    async def reply_to(self, exchange: Exchange, message: RpcRequest) -> Reply:
        """Answer one request; it runs in a task of its own, for a lost connection does not cancel it here."""
        if message.id in self._in_flight:
            raise RefusedError(400, "A request with this id is in flight", id=message.id)
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            raise RefusedError(429, "Too many requests of this session are in flight", id=message.id)
        task = asyncio.create_task(self._run(exchange, message))
        self._in_flight[message.id] = task
        task.add_done_callback(lambda _: self._in_flight.pop(message.id, None))
        await asyncio.wait({task})
        return error(message.id, REQUEST_CANCELLED, "Request cancelled") if task.cancelled() else task.result()

    async def _run(self, exchange: Exchange, message: RpcRequest) -> Reply:
        try:
            return result(message.id, await self._runner.on_request(exchange, message.method, message.params))
        except Exception as exc:
            return as_error(message.id, exc)

    async def take_notification(self, exchange: Exchange, message: RpcNotification) -> None:
        """Take a notification; `notifications/cancelled` stops the request it names, never a job."""
        if message.method == "notifications/cancelled":
            named = (message.params or {}).get("requestId")
            if isinstance(named, int | str) and not isinstance(named, bool) and named in self._in_flight:
                self._in_flight[named].cancel()
        else:
            await self._runner.on_notify(exchange, message.method, message.params)

    async def stream(self, request: web.Request, ping_seconds: float = PING_SECONDS) -> web.StreamResponse:
        """Serve the session's own stream until either side ends it; raise `RefusedError` for a second one."""
        if self._listening:
            raise RefusedError(409, "This session's stream is open already")
        self._listening = True
        try:
            response = web.StreamResponse(headers=STREAM_HEADERS | {SESSION_HEADER: self.id})
            await response.prepare(request)
            while (text := await self._next_frame(ping_seconds)) is not None:
                await response.write(text)
            await response.write_eof()
        finally:
            self._listening = False
            self.used_at = time.monotonic()
        return response

    async def _next_frame(self, ping_seconds: float) -> bytes | None:
        try:
            async with asyncio.timeout(ping_seconds):
                message = await self._unread.get()
        except TimeoutError:
            return PING
        return None if message is None else frame(message)

    async def notify(self, method: str, params: Mapping[str, Any] | None, _opts: CallOptions | None = None) -> None:
        """Put a notification on the session's own stream."""
        self._put(notification(method, params))

    def _put(self, message: Reply | None) -> None:
        if self._unread.full():
            self._unread.get_nowait()
        self._unread.put_nowait(message)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when the session is closed."""
        self._connection.exit_stack.callback(callback)

    def end_stream(self) -> None:
        """End the session's own stream, so that it holds up no shutdown."""
        self._put(None)

    async def close(self) -> None:
        """End the stream and the requests in flight; jobs go on."""
        self.end_stream()
        for task in tuple(self._in_flight.values()):
            task.cancel()
        await aclose_shielded(self._connection)


SESSION = web.RequestKey("mcp_session", Session)
"""The session of a request that belongs to one."""


class Sessions:
    """The sessions of one endpoint, the longest unused first; each belongs to its caller."""

    def __init__(
        self, server: Server[Any], *, idle_seconds: float = IDLE_SECONDS, max_sessions: int = MAX_SESSIONS
    ) -> None:
        self._server = server
        self._idle_seconds, self._max_sessions = idle_seconds, max_sessions
        self._by_id: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_id)

    async def open(
        self, exchange: Exchange, message: RpcRequest, state: Any, owner: str
    ) -> tuple[Reply, Session | None]:
        """Answer an `initialize`; when the handshake succeeds, the new session comes with the reply."""
        await self._reap()
        if len(self._by_id) >= self._max_sessions:
            raise RefusedError(503, "Too many sessions are open; try again later", id=message.id)
        session = Session(self._server, state, owner)
        reply = await session.reply_to(exchange, message)
        if "error" in reply:
            return reply, None
        self._by_id[session.id] = session
        return reply, session

    def get(self, session_id: str | None, owner: str, request_id: RequestId | None = None) -> Session:
        """Return the session; raise `RefusedError`: 400 without an id, 404 for one that is not the caller's."""
        if session_id is None:
            raise RefusedError(400, f"Missing {SESSION_HEADER}: begin with initialize", id=request_id)
        session = self._by_id.get(session_id)
        if session is None or session.owner != owner:
            raise RefusedError(404, "There is no such session; begin again with initialize", id=request_id)
        session.used_at = time.monotonic()
        self._by_id.move_to_end(session_id)
        return session

    async def close(self, session: Session) -> None:
        """Forget a session and end what it still does."""
        self._by_id.pop(session.id, None)
        await session.close()

    def end_streams(self) -> None:
        """End every session's own stream; requests in flight go on to their answer."""
        for session in self._by_id.values():
            session.end_stream()

    async def close_all(self) -> None:
        """End every session with what it still does."""
        for session in tuple(self._by_id.values()):
            await self.close(session)

    async def _reap(self) -> None:
        """Close what was unused for too long; the longest unused stand in front."""
        now = time.monotonic()
        for session in tuple(self._by_id.values()):
            if session.used_at > now - self._idle_seconds:
                return
            if session.busy:
                session.used_at = now
                self._by_id.move_to_end(session.id)
            else:
                await self.close(session)
