"""The sessions of clients that begin with a handshake (2024-11-05 to 2025-11-25), carried on by any replica.

What a session is stands sealed in its id; a replica that does not know it opens the seal. What its requests leave
for the holder of its stream lies in its mailbox (see `store.mailboxes`). So sessions in memory are a cache.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from mcp.server import Server
from mcp_types import InitializeRequestParams

from gateway.core.errors import StoreError
from gateway.services import Services
from gateway.store.events import MAIL, Changes
from gateway.store.keys import MAILBOX_SECONDS
from gateway.telemetry.logs import get_logger
from gateway.transports.mcp_exchange import Exchange
from gateway.transports.mcp_session import CLOSED, RECEIVED, Session
from gateway.transports.mcp_wire import (
    RefusedError,
    Reply,
    RequestId,
    RpcRequest,
    message_of,
)

SESSION_HEADER = "Mcp-Session-Id"
IDLE_SECONDS = 1800.0  # after that a session is forgotten here; it may come back all the same
MAX_SESSIONS = 10_000
MAX_FACTS_BYTES = 4096  # of what a client says of itself: it comes back in a header with each request

SESSION = web.RequestKey("mcp_session", Session)
"""The session of a request that belongs to one."""

log = get_logger(__name__)


@dataclass(frozen=True)
class Facts:
    """What a session's id says: the name of its mailbox, its caller, and what was agreed; None before a handshake."""

    key: str
    owner: str
    agreed: InitializeRequestParams | None

    def dump(self) -> bytes:
        """Return the facts as they are sealed; raise `RefusedError` where the client tells too much of itself."""
        agreed = self.agreed and self.agreed.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"meta": True, "capabilities": {"experimental"}}
        )
        content = orjson.dumps([self.key, self.owner, agreed])
        if len(content) > MAX_FACTS_BYTES:
            raise RefusedError(400, f"clientInfo and capabilities are larger than {MAX_FACTS_BYTES} bytes")
        return content

    @classmethod
    def load(cls, content: bytes) -> "Facts":
        """Return the facts that `dump` made."""
        key, owner, agreed = orjson.loads(content)
        return cls(key, owner, agreed and InitializeRequestParams.model_validate(agreed, by_name=False))


class Sessions:
    """The sessions that this replica knows, the longest unused first; each belongs to its caller."""

    def __init__(
        self,
        server: Server[Any],
        services: Services,
        *,
        idle_seconds: float = IDLE_SECONDS,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self._server, self._services = server, services
        self._idle_seconds, self._max_sessions = idle_seconds, max_sessions
        self._by_token: OrderedDict[str, Session] = OrderedDict()
        self._by_key: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def listening(self) -> int:
        """Return how many sessions have a stream open here."""
        return sum(session.listening for session in self._by_token.values())

    @asynccontextmanager
    async def served(self, state: Any) -> AsyncIterator[None]:
        """Hear of changes and of mail while the block lasts; `state` is that of the server's lifespan."""
        self._state = state
        async with self._services.feed.changes() as changes:
            hearing = asyncio.create_task(self._hear_for_ever(changes), name="mcp-sessions")
            try:
                yield
            finally:
                hearing.cancel()
                await asyncio.wait({hearing})
                for session in tuple(self._by_token.values()):
                    await self._forget(session)

    async def initialize(self, exchange: Exchange, message: RpcRequest, owner: str) -> tuple[Reply, Session | None]:
        """Answer an `initialize`; when the handshake succeeds, the new session comes with the reply.

        Raises `RefusedError`, `StoreError`.
        """
        await self._make_room(message.id)
        session = self._new(owner)
        reply = await session.reply_to(exchange, message)
        if "error" in reply:
            return reply, None
        await self._keep(session)
        return reply, session

    async def begin(self, owner: str) -> Session:
        """Begin a session of HTTP+SSE, whose handshake comes on its stream. Raises as `initialize`."""
        await self._make_room()
        session = self._new(owner)
        await self._keep(session)
        return session

    async def get(self, token: str | None, owner: str, request_id: RequestId | None = None) -> Session:
        """Return the session, known here or not.

        Raises `RefusedError`: 400 without an id, 404 for one that is not the caller's, was closed or is too old;
        `StoreError` for one that is not known here while Redis is out.
        """
        if token is None:
            raise RefusedError(400, f"Missing {SESSION_HEADER}: begin with initialize", id=request_id)
        session = self._by_token.get(token)
        if session is None or session.owner != owner:
            session = await self._recall(token, owner, request_id)
        if session is None or session.closed:
            raise _unknown(request_id)
        session.used_at = time.monotonic()
        self._by_token.move_to_end(token)
        return session

    async def deliver(self, token: str, owner: str, message: Any) -> None:
        """Bring a message of HTTP+SSE to its session's stream, here or at another replica. Raises as `get`."""
        checked, session = message_of(message), self._by_token.get(token)
        if session is None or session.owner != owner:
            facts = await self._facts(token, owner)
            if facts is None or not await self._open_elsewhere(facts.key):
                raise _unknown(checked.id)
            await self._services.mailboxes.post(facts.key, RECEIVED, message)
        else:
            await session.receive(checked)

    async def close(self, session: Session) -> None:
        """End a session for all replicas. Raises `StoreError`; then it lives on."""
        await self._services.mailboxes.empty_for(session.key, CLOSED)
        session.closed = True
        await self._forget(session)

    def end_streams(self) -> None:
        """End every session's own stream; requests in flight go on to their answer."""
        for session in self._by_token.values():
            session.end_stream()

    def _new(self, owner: str, key: str | None = None) -> Session:
        key = key or secrets.token_urlsafe(12)
        return Session(self._server, self._state, self._services.mailboxes, key=key, owner=owner)

    async def _keep(self, session: Session) -> None:
        """Seal a new session's id and know it from now on."""
        facts = Facts(session.key, session.owner, session.agreed)
        session.token = await self._services.sealing.seal(facts.dump())
        self._by_token[session.token] = self._by_key[session.key] = session

    async def _recall(self, token: str, owner: str, request_id: RequestId | None) -> Session | None:
        """Return a session of the caller that began at another replica, or before this one's restart."""
        facts = await self._facts(token, owner)
        if facts is None or facts.agreed is None:
            return None
        session = self._new(facts.owner, facts.key)
        session.token = token
        session.carry_on(facts.agreed)
        await session.collect()
        if session.closed:
            return None
        await self._make_room(request_id)
        known = self._by_token.setdefault(token, session)  # two requests may have come at once
        self._by_key[facts.key] = known
        return known

    async def _facts(self, token: str, owner: str) -> Facts | None:
        """Return what an id of the caller's own says; somebody else's costs what a made-up one does."""

        def his(content: bytes) -> bool:
            try:
                return Facts.load(content).owner == owner
            except ValueError:  # another thing that we sealed, such as a cursor
                return False

        content = await self._services.sealing.unseal(token, max_age_seconds=MAILBOX_SECONDS, fits=his)
        return None if content is None else Facts.load(content)

    async def _open_elsewhere(self, key: str) -> bool:
        posts = await self._services.mailboxes.read(key)
        return bool(posts) and all(post.kind != CLOSED for post in posts)

    async def _make_room(self, request_id: RequestId | None = None) -> None:
        """Forget what was unused for too long, and the longest unused where there are too many."""
        oldest_use = time.monotonic() - self._idle_seconds
        for session in tuple(self._by_token.values()):
            if session.used_at > oldest_use and len(self) < self._max_sessions:
                return
            if not session.busy:
                await self._forget(session)
        if len(self) >= self._max_sessions:
            raise RefusedError(503, "Too many sessions are open; try again later", id=request_id)

    async def _forget(self, session: Session) -> None:
        self._by_token.pop(session.token, None)
        self._by_key.pop(session.key, None)
        await session.let_go()

    async def _hear_for_ever(self, changes: Changes) -> None:
        while True:
            changed = await changes.take()
            try:
                await self._hear(changed)
            except StoreError as exc:
                log.warning("mail of sessions is late", error=exc.code)
                changes.note_any()
                await asyncio.sleep(1)
            except Exception:  # one session's fault must not leave the others without news
                log.exception("news could not be told")

    async def _hear(self, changed: set[str] | None) -> None:
        """Tell the streams that are open here what changed, and see to the mail of the sessions known here."""
        for session in tuple(self._by_key.values()):
            await session.announce(changed)
        keys = tuple(self._by_key) if changed is None else [name.removeprefix(MAIL) for name in changed]
        for key in keys:
            if key in self._by_key:
                await self._collect(self._by_key[key])

    async def _collect(self, session: Session) -> None:
        await session.collect()
        if session.closed:
            await self._forget(session)


def _unknown(request_id: RequestId | None) -> RefusedError:
    return RefusedError(404, "There is no such session; begin again with initialize", id=request_id)
