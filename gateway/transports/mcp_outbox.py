"""What waits to be written on a stream of events that is a session's own."""

import asyncio
import secrets

from aiohttp import web

from gateway.transports.mcp_exchange import WRITE_SECONDS
from gateway.transports.mcp_wire import PING, Reply, frame

MAX_UNREAD = 256  # messages kept for a stream; a client that falls further behind is cut off and may come back


class Outbox:
    """What waits to be written on a session's own stream."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self._unread: asyncio.Queue[Reply | None] = asyncio.Queue(MAX_UNREAD)  # None ends the stream

    def put(self, message: Reply | None) -> None:
        """Add a message; None ends the stream. A full one ends at once: its client is too slow or gone."""
        if self._unread.full():
            while not self._unread.empty():
                self._unread.get_nowait()
            message = None
        self._unread.put_nowait(message)

    async def write_to(self, request: web.Request, response: web.StreamResponse, ping_seconds: float) -> None:
        """Write what is put until the end is put or the client has left; one that reads nothing has left as well."""
        try:
            while (text := await self._next(ping_seconds)) is not None:
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(text)
            await response.write_eof()
        except ConnectionError:
            return
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()

    async def _next(self, ping_seconds: float) -> bytes | None:
        try:
            async with asyncio.timeout(ping_seconds):
                message = await self._unread.get()
        except TimeoutError:
            return PING
        return None if message is None else frame(message)
