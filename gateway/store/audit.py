"""The audit trail of one process: linked, archived at once, and shown to all replicas in a window in Redis."""

import asyncio
import json
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

from gateway.core.audit import Chain, Entry, written
from gateway.core.errors import StoreError
from gateway.store.connection import RedisClient, store_errors
from gateway.store.keys import AUDIT_WINDOW_LENGTH, Keys
from gateway.telemetry.archive import Archive, open_archive

MOST_WAITING = 10_000  # entries kept for the window while Redis is away; the archive has them all the same
BATCH = 200


class AuditTrail:
    """Writes entries; `counted(event)` hears of each."""

    def __init__(
        self, redis: RedisClient, keys: Keys, archive: Archive, writer: str, counted: Callable[[str], None]
    ) -> None:
        self._redis, self._keys, self._archive = redis, keys, archive
        self._chain, self._counted = Chain(writer), counted
        self._waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self._one_at_a_time = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None

    def require(self) -> None:
        """Raise `AuditUnavailable` while entries cannot be archived."""
        self._archive.require()

    def record(self, event: str, **members: Any) -> None:
        """Write one entry: to the archive at once, to the window in a moment. Members that say nothing are left out.

        Its time is this machine's: an entry is written even while Redis is away.
        """
        line = written(self._chain.link(time.time(), event, members))
        self._archive.write(line)
        self._waiting.append(line)
        self._counted(event)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_quietly(), name="audit-window")

    async def record_first(self, event: str, **members: Any) -> None:
        """Write an entry that must be kept before what it tells of is done. Raises `StoreError`."""
        self.record(event, **members)
        self.require()
        if not self._archive.present:  # then the window is all there is
            await self.flush()

    async def flush(self) -> None:
        """Put into the window what waits for it. Raises `StoreError`."""
        async with self._one_at_a_time:
            with store_errors():
                while self._waiting:
                    lines = list(islice(self._waiting, BATCH))
                    pipe = self._redis.pipeline(transaction=False)
                    for line in lines:
                        pipe.xadd(self._keys.audit, {"entry": line}, maxlen=AUDIT_WINDOW_LENGTH, approximate=True)
                    await pipe.execute()
                    for _ in lines:
                        self._waiting.popleft()

    async def newest(self, limit: int) -> list[Entry]:
        """Return the newest entries of the window, of all writers, oldest first. Raises `StoreError`."""
        with store_errors():
            found = await self._redis.xrevrange(self._keys.audit, count=limit)
        return [json.loads(fields[b"entry"]) for _, fields in reversed(found)]

    async def _flush_quietly(self) -> None:
        with suppress(StoreError):
            await self.flush()

    async def close(self) -> None:
        """Fill the window with what waits for it, where Redis answers."""
        if self._flushing is not None:
            await asyncio.wait({self._flushing})
        await self._flush_quietly()


@asynccontextmanager
async def open_trail(
    redis: RedisClient, keys: Keys, where: str, counted: Callable[[str], None]
) -> AsyncIterator[AuditTrail]:
    """Open a trail of this process' own, archived at `where` (see `open_archive`). Raises `AuditUnavailable`."""
    writer = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    with open_archive(where) as archive:
        trail = AuditTrail(redis, keys, archive, writer, counted)
        try:
            yield trail
        finally:
            await trail.close()
