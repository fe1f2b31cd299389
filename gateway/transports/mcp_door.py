"""Through which door an MCP request came: who calls, with which client, and which tools he is offered."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as t
from aiohttp import web
from mcp import MCPError
from mcp.server.context import ServerRequestContext

from gateway.calls import Call, Face
from gateway.core.access import LOCAL, Caller
from gateway.core.errors import InvalidArgument
from gateway.core.job import JobView
from gateway.core.text import clean
from gateway.core.tool import Catalog
from gateway.services import Services
from gateway.transports.context import caller_of
from gateway.transports.selection import Selections

Context = ServerRequestContext[Any, Any]

FACE = web.RequestKey("mcp_face", Face)
"""The door of a request that comes through another one than `/mcp`."""

META = "vergeos-gateway"  # prefix of our own keys in `_meta`
CLIENT_CHARACTERS = 100
TOOLS_QUERY, TOOLS_HEADER = "tools", "X-Tools"


@dataclass(frozen=True)
class Door:
    """What every handler of one server needs of a request. `services_of` is asked at each call."""

    services_of: Callable[[], Services]
    selections: Selections

    def offered(self, ctx: Context) -> Catalog:
        """Return the tools that this connection asked for, by `?tools=` or the header `X-Tools`; else all.

        Raises `MCPError` where it names what there is not.
        """
        try:
            return self.selections(_choice(ctx.request))
        except InvalidArgument as exc:
            raise MCPError(t.INVALID_PARAMS, f"{exc.detail}. {exc.next_step}") from None

    def call(self, ctx: Context) -> Call:
        """Return the call that this request makes, whatever the tool."""
        services = self.services_of()
        return Call(
            services=services,
            caller=caller(ctx),
            face=Face.STDIO if ctx.request is None else ctx.request.get(FACE, Face.MCP),
            client=_client(ctx),
            wait_seconds=services.settings.mcp_wait_seconds,
            report=_progress(ctx),
        )


def caller(ctx: Context) -> Caller:
    """Return who calls; over stdio it is whoever started the process."""
    return LOCAL if ctx.request is None else caller_of(ctx.request)


def _choice(request: web.Request | None) -> str:
    if request is None:
        return ""
    return ",".join(request.query.getall(TOOLS_QUERY, ())) or ",".join(request.headers.getall(TOOLS_HEADER, ()))


def _client(ctx: Context) -> str:
    """Return the client's own name and version, which it may make up; over plain HTTP its user agent."""
    known = ctx.session.client_params
    if known is not None:
        return clean(f"{known.client_info.name}/{known.client_info.version}", CLIENT_CHARACTERS)
    return "" if ctx.request is None else clean(ctx.request.headers.get("User-Agent", ""), CLIENT_CHARACTERS)


def _progress(ctx: Context) -> Callable[[JobView], Awaitable[None]] | None:
    """Return a reporter of a job's progress, if the client wants it; its numbers only count, no job knows its end."""
    if "progress_token" not in (ctx.meta or {}):
        return None
    numbers, said = itertools.count(1), ""

    async def report(view: JobView) -> None:
        nonlocal said
        at = view.phase or view.state
        message = f"{at}: {view.detail}" if view.detail else str(at)
        if message != said:
            said = message
            await ctx.session.report_progress(next(numbers), None, message)

    return report
