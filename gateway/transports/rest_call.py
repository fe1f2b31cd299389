"""The call that a REST request makes, whatever its tool."""

from functools import lru_cache

from aiohttp import hdrs, web

from gateway.calls import Call, Face
from gateway.core.text import clean
from gateway.transports.address import address_of
from gateway.transports.context import SERVICES, TRACEPARENT, caller_of

CLIENT_CHARACTERS = 100


def call_of(request: web.Request) -> Call:
    """Return who calls, from where and with what."""
    headers = request.headers
    return Call(
        request.app[SERVICES],
        caller_of(request),
        Face.REST,
        address=address_of(request),
        client=_client(headers.get(hdrs.USER_AGENT, "")),
        traceparent=headers.get(TRACEPARENT, ""),
    )


@lru_cache(maxsize=256)
def _client(user_agent: str) -> str:
    return clean(user_agent, CLIENT_CHARACTERS)
