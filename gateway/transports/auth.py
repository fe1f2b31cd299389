"""Who calls: proves it by an API key or a bearer token in the Authorization header, or is refused before all else."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.core.access import LOCAL, Caller
from gateway.core.errors import MalformedCredentials, StoreError, Unauthorized
from gateway.core.permission import Permission
from gateway.core.text import clean
from gateway.services import Services
from gateway.transports.address import address_of
from gateway.transports.context import CALLER
from gateway.transports.problems import problem_of

OPEN: Final = frozenset({"/", "/health", "/livez", "/readyz", "/docs", "/openapi.json"})
"""What everybody may ask: how the process does, and what the product can do; nothing of the site."""
METRICS: Final = "/metrics"
SCHEME: Final = "bearer"
QUERY: Final = frozenset({"access_token", "api_key", "token"})
LONGEST_TOKEN: Final = 16_384
SHOWN_CHARACTERS: Final = 100
LOOK_SECONDS: Final = 0.5  # between looks at whether those who are being served still have their right


@dataclass
class _Served:
    """A request under way: as whom, and until when (Unix seconds) his token holds."""

    request: web.Request
    caller: Caller
    until: float | None


@dataclass
class Door:
    """Lets callers in. What takes long is cut off once its caller's right has changed or his token has expired."""

    services: Services
    served: dict[int, _Served] = field(default_factory=dict)

    def install(self, app: web.Application) -> None:
        """Let every route of the application be asked by known callers only, but for those that are open."""

        @web.middleware
        async def known_callers(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.serve(request, handler)

        app.middlewares.append(known_callers)
        app.cleanup_ctx.append(self._watching)

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve a request as its caller, or tell how he can prove who he is."""
        if request.path in OPEN or (request.path == METRICS and self.services.settings.metrics_open):
            return await handler(request)
        try:
            caller, until = await self.caller_of(request)
            if request.path == METRICS:
                caller.require(Permission.READ, METRICS)
        except Unauthorized as error:
            wanted = f"{request.method} {clean(request.path, SHOWN_CHARACTERS)}"
            about = {"address": address_of(request), "tool": wanted}
            self.services.audit.record("call", **about, outcome=error.code, detail=error.detail)
            self.services.metrics.authentications.labels("unauthorized").inc()
            return self._challenge(problem_of(error))
        request[CALLER] = caller
        if caller.standing is None:
            return await handler(request)
        self.services.metrics.authentications.labels("ok").inc()
        self.served[id(request)] = _Served(request, caller, until)
        try:
            return await handler(request)
        finally:
            del self.served[id(request)]

    async def caller_of(self, request: web.Request) -> tuple[Caller, float | None]:
        """Return who calls, and until when his token holds.

        Raises `Unauthorized`, `MalformedCredentials`, `StoreError`.
        """
        if self.services.settings.allow_anonymous:
            return LOCAL, None
        directory = self.services.directory
        try:
            await directory.refresh()
        except StoreError:
            if self.required or not directory.ready:
                raise
        if not self.required:
            return LOCAL, None
        return await directory.by_key(_bearer(request), address_of(request)), None

    @property
    def required(self) -> bool:
        """Whether callers must prove who they are."""
        settings = self.services.settings
        return settings.listens_beyond_loopback or self.services.directory.keys_in_use

    def _challenge(self, response: web.Response) -> web.Response:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        return response

    async def _watching(self, _app: web.Application) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch(), name="callers")
        yield
        watching.cancel()
        await asyncio.wait({watching})

    async def _watch(self) -> None:
        """Cut off, within a second or so, whoever is served by a right that he has no more."""
        directory, version = self.services.directory, self.services.directory.version
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.served:
                continue
            try:
                await directory.refresh()
            except StoreError:
                continue
            changed, version = directory.version != version, directory.version
            for served in tuple(self.served.values()):
                if _over(served) or (changed and directory.present(served.caller.standing) != served.caller.right):
                    _cut(served.request)


def _over(served: _Served) -> bool:
    return served.until is not None and time.time() >= served.until


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _bearer(request: web.Request) -> str:
    """Return the token; raise `Unauthorized` without one, `MalformedCredentials` where it stands anywhere else."""
    if not QUERY.isdisjoint(request.query):
        raise MalformedCredentials("a token in the address would stand in every log")
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(given) > 1:
        raise MalformedCredentials("the Authorization header came more than once")
    if not given:
        raise Unauthorized("this gateway serves known callers only", next_step=NEXT_STEP)
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != SCHEME or not token.strip() or len(token) > LONGEST_TOKEN:
        raise Unauthorized("this gateway takes bearer tokens", next_step=NEXT_STEP)
    return token.strip()


NEXT_STEP: Final = "Send `Authorization: Bearer <key>`; `vergeos-gateway keys create` makes keys."


async def is_configured(services: Services) -> bool:
    """Tell whether callers can prove who they are. Raises `StoreError` where it cannot be known."""
    if services.settings.policy_file is not None:
        return True
    await services.directory.refresh()
    return services.directory.keys_in_use
