"""What the transports share of an aiohttp application: the services, the catalog, and who calls."""

from aiohttp import web

from gateway.core.access import LOCAL, Caller
from gateway.core.tool import Catalog
from gateway.services import Services

SERVICES = web.AppKey("services", Services)
CATALOG = web.AppKey("catalog", Catalog)
TRACEPARENT = "traceparent"  # W3C's header, and MCP's member of `_meta`
CALLER = web.RequestKey("caller", Caller)
"""Who calls, as `auth` has found out."""


def caller_of(request: web.Request) -> Caller:
    """Return who calls; in an application without `auth` everybody who can reach the port is `local`."""
    known: Caller = request.get(CALLER, LOCAL)
    return known
