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

from gateway.core.errors import StoreError
from gateway.store.events import Changes
from gateway.telemetry.logs import get_logger
from gateway.transports.mcp_door import Context, Door
from gateway.transports.mcp_offers import Offers
from gateway.transports.mcp_session import Followed, Session, concerned
from gateway.transports.mcp_sessions import SESSION

log = get_logger(__name__)

MOST_FOLLOWED = 100  # resources of one session, or of one stream


async def _nobody(_uri: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Subscriber:
    """The one client over stdio, and what it subscribed to."""

    tell: Callable[[str], Awaitable[None]] = _nobody
    followed: Followed = field(default_factory=dict)


class Updates:
    """Who follows which resources on one server, and the task that tells them of changes."""

    def __init__(self, door: Door, offers: Offers) -> None:
        self._door, self._offers = door, offers
        self._local = _Subscriber()  # over stdio; sessions over HTTP keep their own
        self._listening: dict[object, Followed] = {}  # of each open listen stream
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)

    async def subscribe(self, ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        """Announce changes of a resource on the session's own stream from now on.

        Raises `MCPError` where there is no such resource, no session, or too many are followed.
        """
        session, uri = _session(ctx), str(params.uri)
        changes = await self._offers.changes_of(ctx, uri)
        _require_few({*(self._local.followed if session is None else session.followed), uri})
        if session is None:
            self._local = _Subscriber(ctx.session.send_resource_updated, self._local.followed | {uri: changes})
        else:
            await _kept(session.follow(uri, changes))
        return t.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        """Announce changes of a resource no more; nothing happens where it was not followed."""
        session, uri = _session(ctx), str(params.uri)
        if session is None:
            self._local.followed.pop(uri, None)
        elif uri in session.followed:
            await _kept(session.unfollow(uri))
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
        for uri in concerned(self._local.followed, changed):
            await self._local.tell(uri)
        # The bus tells every stream that asked for a URI, so each is published once.
        for uri in {uri for followed in self._listening.values() for uri in concerned(followed, changed)}:
            await self._bus.publish(ResourceUpdated(uri=uri))

    async def _end_streams_on(self, closing: asyncio.Event) -> None:
        await closing.wait()
        self._streams.close()


def _session(ctx: Context) -> Session | None:
    """Return who asks, None for the client over stdio.

    Raises `MCPError` for a request over plain HTTP, whose client has no stream to be told on.
    """
    if ctx.request is None:
        return None
    session: Session | None = ctx.request.get(SESSION)
    if session is None:
        raise MCPError(t.INVALID_REQUEST, "Nothing can be announced without a session")
    return session


async def _kept(writing: Awaitable[None]) -> None:
    try:
        await writing
    except StoreError as exc:
        raise MCPError(t.INTERNAL_ERROR, f"{exc.code}: {exc.detail}", exc.as_problem()) from None


def _require_few(uris: Collection[str]) -> None:
    if len(uris) > MOST_FOLLOWED:
        raise MCPError(t.INVALID_REQUEST, f"At most {MOST_FOLLOWED} resources may be followed at once")
