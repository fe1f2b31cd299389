"""Reads that were asked before with the very same bytes: what they ask for is known, so that no route is looked for.

Only that is remembered which is a matter of a request's bytes and of the address that they come from: the tool, its
arguments, the token. Whether the token still holds, what its caller may do and see, whether he has calls left and
whether an answer stands is asked anew each time, of those who tell it on the long way too.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from gateway.calls import kept_answer
from gateway.transports import rest
from gateway.transports.auth import Door, token_of
from gateway.transports.context import ASKED, Asked
from gateway.transports.ready import is_plain

REQUESTS_KNOWN: Final = 2_048
LONGEST_BYTES: Final = 2_048  # of the path and headers of a request that is remembered

LongWay = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Seen = tuple[object, ...]
"""All that a request is made of, where it is no more than its headers."""


class ShortWay:
    """Answers such reads; everything else goes the `long_way`, on which everything is found out, refused and told."""

    def __init__(self, door: Door, long_way: LongWay) -> None:
        self._door, self._long_way = door, long_way
        self._known: dict[Seen, tuple[str | None, Asked]] = {}

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        if not isinstance(request, web.Request) or not is_plain(request):
            return await self._long_way(request)
        seen = request.raw_path, request.raw_headers, request.remote
        known = self._known.get(seen)
        response = None if known is None else self._answered(request, *known)
        if response is None:
            response = await self._long_way(request)
            self._remember(request, seen)
        return response

    def _answered(self, request: web.Request, token: str | None, asked: Asked) -> web.StreamResponse | None:
        caller = self._door.at_hand(token, asked.call.address)
        if caller is None or caller is not asked.call.caller:
            return None
        answer = kept_answer(asked.tool, asked.arguments, asked.call)
        if answer is None:
            return None
        if caller.standing is not None:
            self._door.count()
        return rest.respond(request, answer)

    def _remember(self, request: web.Request, seen: Seen) -> None:
        asked: Asked | None = request.get(ASKED)
        if asked is None or request.body_exists or hdrs.EXPECT in request.headers or _size(request) > LONGEST_BYTES:
            return
        if len(self._known) >= REQUESTS_KNOWN:
            self._known.clear()
        self._known[seen] = token_of(request), asked


def _size(request: web.Request) -> int:
    return len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers)
