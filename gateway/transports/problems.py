"""Failures as problem documents (RFC 9457), the same for every face of the HTTP server."""

import math
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.core.errors import GatewayError
from gateway.core.text import clean
from gateway.telemetry.logs import get_logger
from gateway.transports.hosts import require_known
from gateway.transports.ready import OWN_HEADERS

TYPE_PREFIX = "urn:vergeos-gateway:problem:"
SHOWN_CHARACTERS = 200

HTTP_PROBLEMS = {
    404: ("unknown_route", "GET /tools lists the tools and their routes."),
    405: ("method_not_allowed", "Use a method that the Allow header names."),
    408: ("request_timeout", "Send the whole body at once."),
    413: ("too_large", "Send less in one request."),
    417: ("expectation_failed", "Expect nothing, or 100-continue."),
}
"""Code and next step of the server's own refusals; others are called by their HTTP reason."""

log = get_logger(__name__)


def install(app: web.Application) -> None:
    """Give the application its outermost middleware: problem documents, for unknown hosts too."""
    app.middlewares.insert(0, as_problems)
    app.on_response_prepare.append(_set_own_headers)


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem document; what is not meant for callers stays in our log."""
    try:
        require_known(request)
        return await handler(request)
    except GatewayError as error:
        return problem_of(error)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        return of_refusal(request, refusal)
    except web.RequestPayloadError:
        return of_refusal(request, web.HTTPBadRequest(reason="Unreadable Body"))
    except Exception:
        if request.writer.output_size > 0:
            raise  # a stream has begun: the server logs it and cuts the connection
        incident = f"urn:uuid:{uuid4()}"
        log.exception("unexpected failure", method=request.method, route=_route(request), incident=incident)
        return problem_of(GatewayError("the gateway failed; the reason is in its log", instance=incident))


def problem_of(error: GatewayError) -> web.Response:
    """Return the response that tells `error`: its members, and `Retry-After` in whole seconds where it has one."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(max(math.ceil(error.retry_after), 1))
    if error.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return _response(error.status, error.code, error.as_problem(), headers)


def of_refusal(request: web.Request, refusal: web.HTTPException) -> web.Response:
    """Return the response that tells a refusal of the server's own: its code, what was refused, and the next step."""
    named = refusal.reason.lower().replace(" ", "_")
    code, next_step = HTTP_PROBLEMS.get(refusal.status, (named, "Correct the request and send it again."))
    what = f"{request.method} {clean(request.path, SHOWN_CHARACTERS)}"
    members = {"code": code, "detail": f"{what}: {refusal.reason.lower()}", "next_step": next_step}
    kept = {name: value for name, value in refusal.headers.items() if name == hdrs.ALLOW}
    return _response(refusal.status, code, members, kept)


def _response(status: int, code: str, members: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    fixed = {"type": TYPE_PREFIX + code, "title": _title(code), "status": status}
    return web.Response(
        body=orjson.dumps({**fixed, **members, **fixed}, default=str),  # first to be read first, last to prevail
        status=status,
        headers={**headers, hdrs.CACHE_CONTROL: "no-store"},
        content_type="application/problem+json",
    )


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize().replace("Vergeos", "VergeOS")


def _route(request: web.Request) -> str:
    """Return the route as it was declared, so that the log groups by it."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


async def _set_own_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(OWN_HEADERS)
