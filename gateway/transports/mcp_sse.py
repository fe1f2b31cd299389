"""MCP over HTTP as in 2024-11-05: messages go in at `/messages`, all answers come on the stream of `/sse`."""

import hashlib
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from gateway.core.access import Caller
from gateway.services import Services
from gateway.transports.mcp_exchange import PING_SECONDS
from gateway.transports.mcp_sessions import SESSION, Sessions
from gateway.transports.mcp_wire import STREAM_HEADERS, RefusedError, read_json, require_accept

PARAMETER = "session_id"


class EventStreams:
    """Serves the older transport over the sessions of an endpoint."""

    def __init__(
        self,
        sessions: Sessions,
        services: Services,
        caller_of: Callable[[web.Request], Caller],
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self._sessions, self._services = sessions, services
        self._caller_of, self._ping_seconds = caller_of, ping_seconds

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Open the stream of a new session, which ends with it; its first event says where messages go."""
        require_accept(request, "text/event-stream")
        caller = self._caller_of(request)
        async with self._services.limits.waiting(caller):
            return await self._stream(request, caller)

    async def _stream(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        session = request[SESSION] = await self._sessions.begin(_holder(caller))
        try:
            outbox = await session.open_stream(request, noticing=self._services.noticing(caller))
            response = web.StreamResponse(headers=STREAM_HEADERS)
            await response.prepare(request)
            address = f"/messages?{PARAMETER}={quote(session.token)}"
            await response.write(f"event: endpoint\r\ndata: {address}\r\n\r\n".encode())
            await outbox.write_to(request, response, self._ping_seconds)
        finally:
            await self._sessions.close(session)
        return response

    async def post(self, request: web.Request) -> web.Response:
        """Take one message of a session; its answer comes on the stream, whichever replica holds that.

        It is run by the right of the stream, so only who has that very right may send it.
        """
        token = request.query.get(PARAMETER)
        if token is None:
            raise RefusedError(400, f"Missing {PARAMETER}: begin with GET /sse")
        await self._sessions.deliver(token, _holder(self._caller_of(request)), await read_json(request))
        return web.Response(status=202)


def _holder(caller: Caller) -> str:
    """Return what tells a caller with this key, or with these claims of a token, from every other, himself included."""
    if caller.standing is None:
        return caller.name
    return f"{caller.name} {hashlib.sha256(caller.standing.model_dump_json().encode()).hexdigest()}"
