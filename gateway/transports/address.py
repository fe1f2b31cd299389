"""From where a request comes, behind proxies that are trusted as well."""

from functools import lru_cache
from ipaddress import ip_address, ip_network

from aiohttp import web

from gateway.transports.context import SERVICES

FORWARDED = "X-Forwarded-For"


def address_of(request: web.Request) -> str:
    """Return the caller's address: the nearest one that is no proxy of TRUSTED_PROXIES; empty where it is not known."""
    nearest = request.remote or ""
    trusted = request.app[SERVICES].settings.trusted_proxies
    if not trusted or not _within(nearest, trusted):
        return nearest
    named = [part.strip() for line in request.headers.getall(FORWARDED, ()) for part in line.split(",")]
    for address in reversed(named):
        if not _within(address, trusted):
            return address if _is_address(address) else nearest
        nearest = address
    return nearest


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _within(address: str, networks: tuple[str, ...]) -> bool:
    return _is_address(address) and any(ip_address(address) in ip_network(network) for network in networks)
