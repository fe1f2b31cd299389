"""One stream per MCP session: what its requests, which may reach any replica, leave for the one that holds its stream.

Posts are announced on the stream of all events, which every gateway reads anyway; so nobody waits on a mailbox.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.store.connection import RedisClient, store_errors
from gateway.store.keys import EVENT_STREAM_LENGTH, MAILBOX_SECONDS, Keys

MOST_POSTS = 200  # kept of one session; then the oldest go


@dataclass(frozen=True)
class Post:
    """One thing left in a mailbox: `id` is its place in the stream, `kind` says what `content` means."""

    id: str
    kind: str
    content: Any

    @property
    def place(self) -> tuple[int, ...]:
        """The id in an order: later posts are greater."""
        return tuple(map(int, self.id.split("-")))


class Mailboxes:
    """The mailboxes of all sessions of a site. Every method raises `StoreError`."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self._redis, self._keys = redis, keys

    async def post(self, session: str, kind: str, content: Any = None) -> str:
        """Leave something for whoever holds the session, and return its place."""
        stream = self._keys.mailbox(session)
        pipe = self._redis.pipeline(transaction=True)
        pipe.xadd(stream, {kind: orjson.dumps(content)}, maxlen=MOST_POSTS, approximate=False)
        pipe.expire(stream, MAILBOX_SECONDS)
        self._announce(pipe, session)
        with store_errors():
            return str((await pipe.execute())[0].decode())

    async def read(self, session: str, after: str = "0-0") -> list[Post]:
        """Return what was left after this place, the oldest first."""
        with store_errors():
            entries = await self._redis.xrange(self._keys.mailbox(session), min=f"({after}", count=MOST_POSTS)
        return [
            Post(place.decode(), kind.decode(), orjson.loads(content))
            for place, fields in entries
            for kind, content in fields.items()
        ]

    async def remove(self, session: str, *places: str) -> None:
        """Take out what has been seen to."""
        if places:
            with store_errors():
                await self._redis.xdel(self._keys.mailbox(session), *places)

    async def empty_for(self, session: str, kind: str) -> None:
        """Leave this one thing alone in the mailbox: nothing before it counts any more."""
        stream = self._keys.mailbox(session)
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(stream)
        pipe.xadd(stream, {kind: orjson.dumps(None)})
        pipe.expire(stream, MAILBOX_SECONDS)
        self._announce(pipe, session)
        with store_errors():
            await pipe.execute()

    def _announce(self, pipe: Any, session: str) -> None:
        pipe.xadd(self._keys.events, {"mail": session}, maxlen=EVENT_STREAM_LENGTH, approximate=True)
