"""What browsers let pages of other sites read: nothing, but for the pages of the origins that CORS_ORIGINS names."""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.transports.context import SERVICES

ASKED_FOR: Final = (
    *("Authorization", "Content-Type", "Accept", "Cache-Control", "If-None-Match", "Last-Event-ID", "Idempotency-Key"),
    *("MCP-Protocol-Version", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name", "X-Tools", "traceparent"),
)
TOLD: Final = (
    *("Location", "ETag", "Age", "Link", "Retry-After", "WWW-Authenticate", "Mcp-Session-Id"),
    *("X-As-Of", "X-Source", "X-Older-Because", "X-Total-Count", "X-Note"),
)
REMEMBERED_SECONDS: Final = 600
PREFLIGHT: Final = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PUT, PATCH, DELETE",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(ASKED_FOR),
    hdrs.ACCESS_CONTROL_MAX_AGE: str(REMEMBERED_SECONDS),
}


def install(app: web.Application) -> None:
    """Let pages of the configured origins call; without any, nothing is added to the application."""
    pages = frozenset(app[SERVICES].settings.cors_origins)
    if not pages:
        return

    @web.middleware
    async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if asked and request.headers.get(hdrs.ORIGIN) in pages:
            return web.Response(status=204, headers=PREFLIGHT)
        return await handler(request)

    async def name_page(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        response.headers[hdrs.VARY] = hdrs.ORIGIN
        if origin in pages:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = str(origin)
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(TOLD)

    app.middlewares.append(answer_preflight)
    app.on_response_prepare.append(name_page)
