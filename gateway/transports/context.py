"""What the transports share of an aiohttp application: the services, the catalog, and who calls."""

from dataclasses import dataclass

from aiohttp import web

from gateway.calls import Call
from gateway.core.access import LOCAL, Caller
from gateway.core.tool import Arguments, Catalog, Tool
from gateway.services import Services

SERVICES = web.AppKey("services", Services)
CATALOG = web.AppKey("catalog", Catalog)
TRACEPARENT = "traceparent"  # W3C's header, and MCP's member of `_meta`
CALLER = web.RequestKey("caller", Caller)
"""Who calls, as `auth` has found out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a read was understood to ask for, and as whom: a matter of its bytes and of its address alone."""

    tool: Tool
    arguments: Arguments
    call: Call


ASKED = web.RequestKey("asked", Asked)


def caller_of(request: web.Request) -> Caller:
    """Return who calls; in an application without `auth` everybody who can reach the port is `local`."""
    known: Caller = request.get(CALLER, LOCAL)
    return known
