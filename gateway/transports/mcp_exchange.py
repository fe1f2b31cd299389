"""One message of a client on its way through the kernel: where notifications and questions go, how the reply ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

import anyio
from aiohttp import web
from mcp.server.runner import modern_error_data
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext

from gateway.transports.mcp_wire import (
    PING,
    STREAM_HEADERS,
    Reply,
    RequestId,
    RpcNotification,
    RpcRequest,
    error,
    frame,
    json_response,
    notification,
)

PING_SECONDS = 15.0  # proxies give up a silent connection after 30 s or more
WRITE_SECONDS = 30.0  # a client that reads nothing for so long is gone

Say = Callable[[Reply], Awaitable[None]]
"""Sends one message to the client."""


class Asker(Protocol):
    """Asks the client something, and hears its answer, whichever request brings it."""

    async def ask(
        self, say: Say, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None
    ) -> dict[str, Any]:
        """Send a request by `say` and return the client's result; raise `MCPError` for its error or its silence."""


class Channel:
    """The kernel's view of one message of a client (its `DispatchContext`).

    Without an `asker` the server may tell, but not ask.
    """

    def __init__(
        self, request: web.Request, message: RpcRequest | RpcNotification, asker: Asker | None, kind: Any
    ) -> None:
        self.request, self.request_id = request, message.id
        self.can_send_request = asker is not None
        self.transport = TransportContext(kind=kind, can_send_request=asker is not None, headers=request.headers)
        self.message_metadata = ServerMessageMetadata(request_context=request)
        self._progress_token = progress_token_from_params(message.params)
        self._asker = asker

    @cached_property
    def cancel_requested(self) -> anyio.Event:
        """Part of the kernel's protocol; a cancelled request's task is cancelled instead."""
        return anyio.Event()

    async def say(self, message: Reply) -> None:
        """Send one message to the client beside the reply."""
        raise NotImplementedError

    async def notify(self, method: str, params: Mapping[str, Any] | None, _opts: CallOptions | None = None) -> None:
        """Send a notification that belongs to this request; dropped once nobody reads it."""
        await self.say(notification(method, params))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client something and return its result. Raises as `Asker.ask`, and where nobody can be asked."""
        if self._asker is None:
            raise NoBackChannelError(method)
        return await self._asker.ask(self.say, method, params, opts)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress, if the client gave a token for it."""
        if self._progress_token is None:
            return
        params = {"progressToken": self._progress_token, "progress": progress, "total": total, "message": message}
        await self.notify("notifications/progress", {key: value for key, value in params.items() if value is not None})


class Exchange(Channel):
    """One HTTP request and the writer of its reply.

    The reply is plain JSON until something is said before the end: a notification, a question, or a ping after a
    long silence, turns it into an event stream. Without `streams` what would be said is dropped.
    Open it with `async with`: the block's end stops the pings.
    """

    def __init__(
        self,
        request: web.Request,
        message: RpcRequest | RpcNotification,
        *,
        asker: Asker | None = None,
        streams: bool = True,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        super().__init__(request, message, asker, "streamable-http")
        self._ping_seconds = ping_seconds
        self._stream: web.StreamResponse | None = None
        self._lock = asyncio.Lock()
        self._silent = not streams
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Exchange":
        if not self._silent:
            self._arm()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._silent = True
        if self._timer is not None:
            self._timer.cancel()

    async def say(self, message: Reply) -> None:
        """Send one message on this request's stream; dropped once nobody reads it."""
        await self._write(frame(message))

    async def finish(
        self, reply: Reply, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """Send the last message: as the whole body with `status`, or as the stream's last event."""
        async with self._lock:
            self._silent = True
            if self._stream is None:
                return json_response(reply, status, headers)
            await self._stream.write(frame(reply))
            await self._stream.write_eof()
            return self._stream

    async def _write(self, text: bytes) -> None:
        async with self._lock:
            if self._silent:
                return
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await (await self._opened()).write(text)
            except ConnectionError:
                self._silent = True
            except TimeoutError:
                self._silent = True
                if self.request.transport is not None:
                    self.request.transport.abort()

    async def _opened(self) -> web.StreamResponse:
        if self._stream is None:
            stream = web.StreamResponse(headers=STREAM_HEADERS)
            await stream.prepare(self.request)
            self._stream = stream
        return self._stream

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._ping_seconds, self._ping_soon)

    def _ping_soon(self) -> None:
        self._pinging = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        await self._write(PING)
        if not self._silent:
            self._arm()


def as_error(id: RequestId | None, exc: Exception) -> Reply:
    """Return the response to a request whose handler raised; what is not meant for the wire goes to our log only."""
    what = modern_error_data(exc)
    return error(id, what.code, what.message, what.data)
