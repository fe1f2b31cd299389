"""Announcements of changed resources: to sessions that subscribed, and on the streams of `subscriptions/listen`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as t
from mcp import MCPError
from mcp.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated

from gateway.store.events import Changes
from gateway.telemetry.logs import get_logger
from gateway.transports.mcp_door import Context, Door
from gateway.transports.mcp_offers import Offers
from gateway.transports.mcp_sessions import SESSION, Session

log = get_logger(__name__)

MOST_FOLLOWED = 100  # resources of one session, or of one stream
UPDATED = "notifications/resources/updated"

Followed = dict[str, frozenset[str]]
"""The changes that concern each URI, as the client wrote it."""


@dataclass(frozen=True)
class _Subscriber:
    """A session, or the one client over stdio, and what it subscribed to."""

    tell: Callable[[str], Awaitable[None]]
    followed: Followed = field(default_factory=dict)


class Updates:
    """Who follows which resources on one server, and the task that tells them of changes."""

    def __init__(self, door: Door, offers: Offers) -> None:
        self._door, self._offers = door, offers
        self._subscribers: dict[Session | None, _Subscriber] = {}  # None is the client over stdio
        self._listening: dict[object, Followed] = {}  # of each open listen stream
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)

    async def subscribe(self, ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        """Announce changes of a resource on the session's own stream from now on.

        Raises `MCPError` where there is no such resource, no session, or too many are followed.
        """
        subscriber, uri = self._subscriber(ctx), str(params.uri)
        changes = await self._offers.changes_of(ctx, uri)
        _require_few({*subscriber.followed, uri})
        subscriber.followed[uri] = changes
        return t.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        """Announce changes of a resource no more; nothing happens where it was not followed."""
        self._subscriber(ctx).followed.pop(str(params.uri), None)
        return t.EmptyResult()

    async def listen(self, ctx: Context, params: t.SubscriptionsListenRequestParams) -> t.SubscriptionsListenResult:
        """Announce changes on the reply's own stream until the client leaves or the gateway stops.

        Raises `MCPError` where one of the resources is not there, or they are too many.
        """
        wanted = dict.fromkeys(map(str, params.notifications.resource_subscriptions or ()))
        _require_few(wanted)
        followed = {uri: await self._offers.changes_of(ctx, uri) for uri in wanted}
        if self._door.services_of().closing.is_set():  # the open streams have been ended: this one would be forgotten
            raise MCPError(t.INTERNAL_ERROR, "The gateway is stopping")
        stream = object()
        self._listening[stream] = followed
        try:
            return await self._streams(ctx, params)
        finally:
            del self._listening[stream]

    @asynccontextmanager
    async def announced(self, _server: Server[Any]) -> AsyncIterator[None]:
        """Announce what the feed tells of while the block lasts; listen streams end when the services close."""
        services = self._door.services_of()
        async with services.feed.changes() as changes:
            tasks = (
                asyncio.create_task(self._announce_for_ever(changes), name="mcp-updates"),
                asyncio.create_task(self._end_streams_on(services.closing), name="mcp-updates-closing"),
            )
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _announce_for_ever(self, changes: Changes) -> None:
        while True:
            changed = await changes.take()
            try:
                await self._announce(changed)
            except Exception:  # one client's fault must not leave the others without news
                log.exception("a change could not be announced")

    async def _announce(self, changed: set[str] | None) -> None:
        for subscriber in tuple(self._subscribers.values()):
            for uri in _concerned(subscriber.followed, changed):
                await subscriber.tell(uri)
        # The bus tells every stream that asked for a URI, so each is published once.
        for uri in {uri for followed in self._listening.values() for uri in _concerned(followed, changed)}:
            await self._bus.publish(ResourceUpdated(uri=uri))

    async def _end_streams_on(self, closing: asyncio.Event) -> None:
        await closing.wait()
        self._streams.close()

    def _subscriber(self, ctx: Context) -> _Subscriber:
        """Return who asks; raise `MCPError` for a request over plain HTTP, whose client has no stream to be told on."""
        session: Session | None = None
        if ctx.request is not None:
            session = ctx.request.get(SESSION)
            if session is None:
                raise MCPError(t.INVALID_REQUEST, "Nothing can be announced without a session")
        if session not in self._subscribers:
            self._subscribers[session] = _Subscriber(
                ctx.session.send_resource_updated if session is None else _on(session)
            )
            if session is not None:
                session.on_close(lambda: self._subscribers.pop(session, None))
        return self._subscribers[session]


def _on(session: Session) -> Callable[[str], Awaitable[None]]:
    async def tell(uri: str) -> None:
        await session.notify(UPDATED, {"uri": uri})

    return tell


def _concerned(followed: Followed, changed: set[str] | None) -> list[str]:
    """Return the URIs that a change concerns; all of them where nobody knows what changed."""
    return [uri for uri, changes in followed.items() if changed is None or not changes.isdisjoint(changed)]


def _require_few(uris: Collection[str]) -> None:
    if len(uris) > MOST_FOLLOWED:
        raise MCPError(t.INVALID_REQUEST, f"At most {MOST_FOLLOWED} resources may be followed at once")
