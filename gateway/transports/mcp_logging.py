"""A job told to its client as log messages, from the level on that the client named, for a session or one request."""

from collections.abc import Awaitable, Callable
from typing import Any, cast, get_args

import mcp_types as t
from mcp import MCPError
from mcp.server import Server
from mcp.server.context import ServerRequestContext

from gateway.core.job import JobState, JobView
from gateway.transports.mcp_sessions import SESSION

LEVELS: tuple[t.LoggingLevel, ...] = get_args(t.LoggingLevel)
LEVEL_OF: dict[str, t.LoggingLevel] = {JobState.FAILED: "error", JobState.INPUT_REQUIRED: "notice"}
LOGGER = "vergeos-gateway.jobs"

Context = ServerRequestContext[Any, Any]
Report = Callable[[JobView], Awaitable[None]]


class Logs:
    """From which level on the clients of one server want to be told."""

    def __init__(self) -> None:
        self._local: t.LoggingLevel | None = None  # by the one client over stdio

    def register(self, server: Server[Any]) -> None:
        """Serve `logging/setLevel`, which the stateless revision has no more: there each request says it."""
        server.add_request_handler("logging/setLevel", t.SetLevelRequestParams, self.set_level)

    async def set_level(self, ctx: Context, params: t.SetLevelRequestParams) -> t.EmptyResult:
        """Tell the session's client of its jobs from this level on. Raises `MCPError` where there is no session."""
        if ctx.request is None:
            self._local = params.level
            return t.EmptyResult()
        session = ctx.request.get(SESSION)
        if session is None:
            raise MCPError(t.INVALID_REQUEST, "A level holds for a session, and there is none")
        await session.log_from(params.level)
        return t.EmptyResult()

    def reporter(self, ctx: Context) -> Report | None:
        """Return what tells the client of a job on this request's own stream; None where it wants to hear nothing."""
        wanted, said = self._wanted(ctx), ""
        if wanted not in LEVELS:
            return None
        least = LEVELS.index(wanted)

        async def report(view: JobView) -> None:
            nonlocal said
            level, told = LEVEL_OF.get(view.state, "info"), _told(view)
            if LEVELS.index(level) >= least and said != (said := str(told)):
                params = t.LoggingMessageNotificationParams(level=level, logger=LOGGER, data=told)
                message = cast("t.ServerNotification", t.LoggingMessageNotification(params=params))
                await ctx.session.send_notification(message, ctx.request_id)

        return report

    def _wanted(self, ctx: Context) -> Any:
        by_request = (ctx.meta or {}).get(t.LOG_LEVEL_META_KEY)
        if by_request is not None or ctx.request is None:
            return by_request or self._local
        session = ctx.request.get(SESSION)
        return None if session is None else session.log_level


def _told(view: JobView) -> dict[str, Any]:
    told = {"job": view.id, "tool": view.tool, "target": view.target.name, "state": view.state, "phase": view.phase}
    return {name: value for name, value in {**told, "detail": view.question or view.detail}.items() if value}
