"""Through which door an MCP request came: who calls, with which client, and which tools he is offered."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as t
from aiohttp import web
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.calls import Call, Face
from gateway.core.access import LOCAL, Caller
from gateway.core.errors import CallError, GatewayError, InvalidArgument
from gateway.core.job import JobView
from gateway.core.text import clean
from gateway.core.tool import Catalog
from gateway.services import Services
from gateway.transports.address import address_of
from gateway.transports.context import TRACEPARENT, caller_of
from gateway.transports.mcp_logging import Logs, Report
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
    logs: Logs = field(default_factory=Logs)

    def offered(self, ctx: Context) -> Catalog:
        """Return the tools that this connection asked for, by `?tools=` or the header `X-Tools`; else all.

        Raises `MCPError` where it names what there is not.
        """
        try:
            return self.selections(choice(ctx.request))
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
            address="" if ctx.request is None else address_of(ctx.request),
            wait_seconds=services.settings.mcp_wait_seconds,
            may_ask=can_answer(ctx),
            report=_to_each(_progress(ctx), self.logs.reporter(ctx)),
            traceparent=_traceparent(ctx),
        )


def caller(ctx: Context) -> Caller:
    """Return who calls; over stdio it is whoever started the process."""
    return LOCAL if ctx.request is None else caller_of(ctx.request)


def modern(ctx: Context) -> bool:
    """Tell whether the request is of a stateless revision."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def can_answer(ctx: Context) -> bool:
    """Tell whether the client can put a question with a form to a person."""
    known = ctx.session.client_capabilities
    asked = known.elicitation if known is not None else None
    by_form = asked is not None and (asked.form is not None or asked.url is None)
    return by_form and (modern(ctx) or ctx.session.can_send_request)


@contextmanager
def mcp_errors() -> Iterator[None]:
    """Turn our failures into errors of the protocol: what the caller did wrong is told as that, all else as ours."""
    try:
        yield
    except GatewayError as exc:
        code = t.INVALID_PARAMS if isinstance(exc, CallError) else t.INTERNAL_ERROR
        raise MCPError(code, f"{exc.code}: {exc.detail}", exc.as_problem()) from None


def choice(request: web.Request | None) -> str:
    """Return which tools a connection asks for, in its own words; empty = all."""
    if request is None:
        return ""
    return ",".join(request.query.getall(TOOLS_QUERY, ())) or ",".join(request.headers.getall(TOOLS_HEADER, ()))


def _client(ctx: Context) -> str:
    """Return the client's own name and version, which it may make up; over plain HTTP its user agent."""
    known = ctx.session.client_params
    if known is not None:
        return clean(f"{known.client_info.name}/{known.client_info.version}", CLIENT_CHARACTERS)
    return "" if ctx.request is None else clean(ctx.request.headers.get("User-Agent", ""), CLIENT_CHARACTERS)


def _traceparent(ctx: Context) -> str:
    """Return the span that the client calls from: as the message says, else as its HTTP request does."""
    said = (ctx.meta or {}).get(TRACEPARENT)
    if isinstance(said, str):
        return said
    return "" if ctx.request is None else ctx.request.headers.get(TRACEPARENT, "")


def _to_each(*reporters: Report | None) -> Report | None:
    """Return a reporter that passes on to those there are; None where there is none."""
    some = [reporter for reporter in reporters if reporter is not None]

    async def report(view: JobView) -> None:
        for reporter in some:
            await reporter(view)

    return report if some else None


def _progress(ctx: Context) -> Report | None:
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
