"""Which Host and Origin a request may name: a web page that a browser shows must not reach the gateway."""

from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.core.errors import CallError
from gateway.core.text import clean
from gateway.transports.context import SERVICES

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ASKED_BY_ADDRESS = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Kubernetes and Prometheus call these by a pod's address, which nobody can list beforehand."""
SHOWN_CHARACTERS = 100


class HostNotAllowed(CallError):
    """The request names a host that is not ours."""

    code, status = "host_not_allowed", 421
    next_step = "Call the gateway by a name that it knows, or add this one to its setting ALLOWED_HOSTS."


class OriginNotAllowed(CallError):
    """The request comes from a web page of another site."""

    code, status = "origin_not_allowed", 403
    next_step = "Add the page's host to the gateway's setting ALLOWED_HOSTS if that page may call it."


def host_allowed(host_header: str | None, allowed: Collection[str]) -> bool:
    """Tell whether a Host header names loopback or one of `allowed`: `name`, or `name:port` for that port only.

    A missing header is refused: every HTTP/1.1 client sends it.
    """
    return _known((host_header or "").lower(), tuple(allowed))


def origin_allowed(origin: str | None, allowed: Collection[str], pages: Collection[str] = ()) -> bool:
    """Tell whether an Origin header is a page of loopback, of a host of `allowed`, or one of the origins `pages`.

    Only browsers send it.
    """
    if origin is None or origin in pages:
        return True
    scheme, _, address = origin.partition("://")
    return scheme.lower() in {"http", "https"} and host_allowed(address, allowed)


def require_known(request: web.Request) -> None:
    """Raise `HostNotAllowed`, `OriginNotAllowed` unless a request names a known Host and, if any, a known Origin."""
    settings = request.app[SERVICES].settings
    allowed = (*settings.allowed_hosts, settings.host)
    host, origin = request.headers.get(hdrs.HOST), request.headers.get(hdrs.ORIGIN)
    if not host_allowed(host, allowed) and request.path not in ASKED_BY_ADDRESS:
        raise HostNotAllowed(f"this gateway is not {clean(host or 'nameless', SHOWN_CHARACTERS)}")
    if not origin_allowed(origin, allowed, settings.cors_origins):
        raise OriginNotAllowed(f"a page of {clean(origin or '', SHOWN_CHARACTERS)} may not call this gateway")


@lru_cache(maxsize=256)
def _known(address: str, allowed: tuple[str, ...]) -> bool:
    """Tell whether `address` (host or host:port, lower case) is loopback or allowed; asked for every request."""
    try:
        parts = urlsplit(f"//{address}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if host is None or parts.netloc != address or parts.username is not None:
        return False
    names = {name.lower() for name in allowed}
    return host in LOOPBACK or host in names or address in names
