"""Announcements of changes: of resources to who subscribed over stdio, of resources and tasks on listen streams.

Sessions over HTTP keep their own subscriptions and are told by `mcp_sessions`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import mcp_types as t
from mcp import MCPError
from mcp.server import Server
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY

from gateway.store.events import Changes
from gateway.telemetry.logs import get_logger
from gateway.transports.mcp_door import Context, Door, caller, mcp_errors
from gateway.transports.mcp_followed import Followed
from gateway.transports.mcp_offers import Offers
from gateway.transports.mcp_session import Session
from gateway.transports.mcp_sessions import SESSION
from gateway.transports.mcp_tasks import TaskNotification, Tasks, require_declared

log = get_logger(__name__)

MOST_FOLLOWED = 100  # resources and tasks of one session, or of one stream


class Updates:
    """Who follows what on one server."""

    def __init__(self, door: Door, offers: Offers, tasks: Tasks) -> None:
        self._door, self._offers, self._tasks = door, offers, tasks
        self._local = Followed()  # by the one client over stdio
        self._tell_local: Any = None

    async def subscribe(self, ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        """Announce changes of a resource on the session's own stream from now on.

        Raises `MCPError` where there is no such resource, no session, or too many are followed.
        """
        session, uri = _session(ctx), str(params.uri)
        changes = await self._offers.changes_of(ctx, uri)
        _require_few({*(self._local if session is None else session.followed), uri})
        if session is None:
            await self._local.add(uri, changes)
            self._tell_local = ctx.session.send_resource_updated
        else:
            with mcp_errors():
                await session.follow(uri, changes)
        return t.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: t.UnsubscribeRequestParams) -> t.EmptyResult:
        """Announce changes of a resource no more; nothing happens where it was not followed."""
        session, uri = _session(ctx), str(params.uri)
        if session is None:
            self._local.remove(uri)
        elif uri in session.followed:
            with mcp_errors():
                await session.unfollow(uri)
        return t.EmptyResult()

    async def listen(self, ctx: Context, params: t.SubscriptionsListenRequestParams) -> t.SubscriptionsListenResult:
        """Announce changes on the reply's own stream until the client leaves or the gateway stops.

        Raises `MCPError` where a resource or task is not there, they are too many, the caller has too many waits and
        streams, or the gateway stops already.
        """
        wanted = params.notifications
        uris, task_ids = _unique(wanted.resource_subscriptions), _task_ids(wanted)
        _require_few([*uris, *task_ids])
        if task_ids:
            require_declared(ctx)
        stream, services = _Stream(ctx), self._door.services_of()
        followed = Followed(services.noticing(caller(ctx)))
        for uri in uris:
            await followed.add(uri, await self._offers.changes_of(ctx, uri))
        for task_id in task_ids:
            await self._tasks.shown(ctx, task_id)
        with mcp_errors():
            async with services.limits.waiting(caller(ctx)):
                await self._listened(ctx, stream, followed, task_ids)
        return t.SubscriptionsListenResult(_meta=stream.meta)

    async def _listened(self, ctx: Context, stream: "_Stream", followed: Followed, task_ids: list[str]) -> None:
        services = self._door.services_of()
        async with services.feed.changes() as changes:
            if services.closing.is_set():
                raise MCPError(t.INTERNAL_ERROR, "The gateway is stopping")
            await stream.acknowledge(list(followed), task_ids)
            await services.first_of(self._relay(ctx, stream, changes, followed, task_ids))

    async def _relay(
        self, ctx: Context, stream: "_Stream", changes: Changes, followed: Followed, task_ids: Collection[str]
    ) -> None:
        while True:
            changed = await changes.take()
            for uri in await followed.concerned(changed):
                await stream.tell(t.ResourceUpdatedNotification(params=_about(uri, stream.meta)))
            for task_id in task_ids:
                if changed is None or f"job:{task_id}" in changed:
                    task = await self._tasks.shown(ctx, task_id)
                    await stream.tell(TaskNotification(params=task | {"_meta": stream.meta}))

    @asynccontextmanager
    async def announced(self, _server: Server[Any]) -> AsyncIterator[None]:
        """Announce to the client over stdio what the feed tells of while the block lasts."""
        async with self._door.services_of().feed.changes() as changes:
            announcing = asyncio.create_task(self._announce_for_ever(changes), name="mcp-updates")
            try:
                yield
            finally:
                announcing.cancel()
                await asyncio.wait({announcing})

    async def _announce_for_ever(self, changes: Changes) -> None:
        while True:
            changed = await changes.take()
            try:
                for uri in await self._local.concerned(changed):
                    await self._tell_local(uri)
            except Exception:  # one failure must not leave the client without news for ever
                log.exception("a change could not be announced")


class _Stream:
    """The stream of one listen request; everything on it carries the request's id."""

    def __init__(self, ctx: Context) -> None:
        self._session, self._id = ctx.session, ctx.request_id
        self.meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}

    async def acknowledge(self, uris: list[str], task_ids: list[str]) -> None:
        """Say what is followed: no list of ours ever changes, so of those nothing."""
        honored: dict[str, Any] = {"resourceSubscriptions": uris} if uris else {}
        honored |= {"taskIds": task_ids} if task_ids else {}
        params = {"notifications": honored, "_meta": self.meta}
        await self.tell(
            t.SubscriptionsAcknowledgedNotification(
                params=t.SubscriptionsAcknowledgedNotificationParams.model_validate(params, by_name=False)
            )
        )

    async def tell(self, notification: t.Notification[Any, Any]) -> None:
        """Send one notification on the stream."""
        await self._session.send_notification(cast("t.ServerNotification", notification), self._id)


def _about(uri: str, meta: dict[str, Any]) -> t.ResourceUpdatedNotificationParams:
    return t.ResourceUpdatedNotificationParams(uri=uri, _meta=meta)


def _task_ids(wanted: t.SubscriptionFilter) -> list[str]:
    """Return the tasks that are to be followed, a part of the filter that its extension adds."""
    named = (wanted.model_extra or {}).get("taskIds") or []
    if not isinstance(named, list):
        raise MCPError(t.INVALID_PARAMS, "taskIds must be a list")
    return _unique(named)


def _unique(named: Iterable[object] | None) -> list[str]:
    return list(dict.fromkeys(map(str, named or ())))


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


def _require_few(followed: Collection[str]) -> None:
    if len(followed) > MOST_FOLLOWED:
        raise MCPError(t.INVALID_REQUEST, f"At most {MOST_FOLLOWED} resources may be followed at once")
