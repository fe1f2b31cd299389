"""Who calls: proves it by an API key or a bearer token in the Authorization header, or is refused before all else."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.core.access import LOCAL, Caller
from gateway.core.errors import Forbidden, MalformedCredentials, StoreError, TooManyFailures, Unauthorized
from gateway.core.permission import Permission
from gateway.core.policy import system_facts
from gateway.core.text import clean
from gateway.rights.directory import FRESH_SECONDS, NEW_SECONDS
from gateway.services import Services
from gateway.transports.address import address_of
from gateway.transports.context import CALLER
from gateway.transports.failures import Failures
from gateway.transports.oidc import Issuer
from gateway.transports.problems import problem_of

OPEN: Final = frozenset({"/", "/health", "/livez", "/readyz", "/docs", "/openapi.json"})
"""What everybody may ask: how the process does, and what the product can do; nothing of the site."""
METRICS: Final = "/metrics"
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
SCHEME: Final = "bearer"
WRONG, MISPLACED = 'error="invalid_token"', 'error="invalid_request"'
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
    issuer: Issuer | None = None
    failures: Failures = field(init=False)
    served: dict[int, _Served] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.failures = Failures(self.services.settings.auth_failures_per_minute)

    def install(self, app: web.Application) -> None:
        """Let every route of the application be asked by known callers only, but for those that are open."""

        @web.middleware
        async def known_callers(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.serve(request, handler)

        app.middlewares.append(known_callers)
        if self.services.settings.oidc_issuer:
            self.issuer = Issuer(self.services.settings)
            for path in (WELL_KNOWN, f"{WELL_KNOWN}/mcp"):
                app.router.add_get(path, self.describe)
        app.cleanup_ctx.append(self._watching)

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve a request as its caller, or tell how he can prove who he is."""
        if (
            request.path in OPEN
            or request.path.startswith("/.well-known/")
            or (request.path == METRICS and self.services.settings.metrics_open)
        ):
            return await handler(request)
        try:
            caller, until = await self.caller_of(request)
            if request.path == METRICS:
                self._require_figures(caller)
        except (Unauthorized, MalformedCredentials) as error:
            return self._refused(request, error)
        request[CALLER] = caller
        self.served[id(request)] = _Served(request, caller, until)
        try:
            if caller.standing is None:
                return await handler(request)
            self.count()
            return await self._told_scopes(request, caller, handler)
        finally:
            del self.served[id(request)]

    def _require_figures(self, caller: Caller) -> None:
        """Raise `Forbidden` for who may not read the whole site: figures count what he does not see, too."""
        caller.require(Permission.READ, METRICS)
        if not caller.decide(Permission.READ, system_facts(self.services.settings.site)).allowed:
            raise Forbidden(f"{METRICS} counts what the whole site does, and {caller.name} may see a part of it")

    def _refused(self, request: web.Request, error: Unauthorized | MalformedCredentials) -> web.Response:
        """Answer who cannot prove who he is, and keep that he was here; of what he showed nothing is told."""
        wanted = f"{request.method} {clean(request.path, SHOWN_CHARACTERS)}"
        about = {"address": address_of(request), "tool": wanted}
        self.services.audit.record("call", **about, outcome=error.code, detail=error.detail)
        self.services.metrics.unknown_callers.value += 1
        wrong = MISPLACED if isinstance(error, MalformedCredentials) else WRONG
        given = wrong == MISPLACED or hdrs.AUTHORIZATION in request.headers
        return self._challenge(request, problem_of(error), wrong if given else "")

    async def _told_scopes(self, request: web.Request, caller: Caller, handler: Handler) -> web.StreamResponse:
        """Serve a request; where the scopes of its token are too narrow, say which ones there are."""
        scoped = caller.standing is not None and caller.standing.scopes is not None
        try:
            response = await handler(request)
        except Forbidden as error:
            response = problem_of(error)
        if scoped and response.status == 403 and isinstance(response, web.Response):
            return self._challenge(request, response, 'error="insufficient_scope"')
        return response

    async def describe(self, request: web.Request) -> web.Response:
        """Answer who gives tokens for this gateway (RFC 9728)."""
        settings, path = self.services.settings, request.path.removeprefix(WELL_KNOWN)
        document = {
            "resource": f"{self._base(request)}{path}",
            "authorization_servers": [settings.oidc_issuer],
            "scopes_supported": list(self.services.directory.policy.scopes),
            "bearer_methods_supported": ["header"],
            "resource_name": "VergeOS Gateway",
        }
        return web.json_response(document, headers={hdrs.CACHE_CONTROL: "no-store"})

    def _base(self, request: web.Request) -> str:
        return self.services.settings.public_url.rstrip("/") or f"{request.scheme}://{request.host}"

    async def caller_of(self, request: web.Request) -> tuple[Caller, float | None]:
        """Return who calls, and until when his token holds.

        Raises `Unauthorized`, `MalformedCredentials`, `StoreError`.
        """
        if self.services.settings.allow_anonymous:
            return LOCAL, None
        directory = self.services.directory
        if not directory.fresh(self._within):
            try:
                await directory.refresh(self._within)
            except StoreError:
                if self.required or not directory.ready:
                    raise
        if not self.required:
            return LOCAL, None
        address = address_of(request)
        try:
            return await self._proven(_bearer(request), address)
        except Unauthorized:
            wait = self.failures.wait(address)
            self.failures.note(address)
            if wait is not None:
                raise _too_many(wait) from None
            raise

    def at_hand(self, token: str | None, address: str) -> Caller | None:
        """Return as whom a request with this token is served; None where that has to be found out, or he is refused."""
        directory = self.services.directory
        if self.services.settings.allow_anonymous:
            return LOCAL
        if not directory.fresh(self._within):
            return None
        if not self.required:
            return LOCAL
        if token is None:
            return None
        if self.issuer is not None and token.count(".") == 2:
            verified = self.issuer.at_hand(token)
            return None if verified is None else directory.subject_at_hand(verified[0])
        return directory.at_hand(token, address)

    def count(self) -> None:
        """Count one who has proven who he is."""
        self.services.metrics.known_callers.value += 1

    async def _proven(self, token: str, address: str) -> tuple[Caller, float | None]:
        directory = self.services.directory
        if self.issuer is not None and token.count(".") == 2:
            wait = None if self.issuer.knows(token) else self.failures.wait(address)
            if wait is not None:
                raise _too_many(wait)
            standing, until = await self.issuer.verified(token)
            return directory.by_subject(standing), until
        return await directory.by_key(token, address), None

    @property
    def required(self) -> bool:
        """Whether callers must prove who they are."""
        return self.services.guarded

    @property
    def _within(self) -> float:
        """So many seconds old may be what is known of keys; nobody is let in for long past the first one."""
        return FRESH_SECONDS if self.required else NEW_SECONDS

    def _challenge(self, request: web.Request, response: web.Response, error: str) -> web.Response:
        """Say how a caller may prove who he is: where tokens are given, and for which scopes."""
        parts = []
        if self.issuer is not None:
            path = "/mcp" if request.path == "/mcp" else ""
            scopes = " ".join(self.services.directory.policy.scopes)
            parts = [error, f'resource_metadata="{self._base(request)}{WELL_KNOWN}{path}"']
            parts += [f'scope="{scopes}"'] if scopes else []
        response.headers[hdrs.WWW_AUTHENTICATE] = f"Bearer {', '.join(filter(None, parts))}".strip()
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
                if changed and self._changed(served.caller):
                    served.until = time.time() + (LOOK_SECONDS if served.caller.standing is None else 0.0)
                if _over(served):
                    _cut(served.request)

    def _changed(self, caller: Caller) -> bool:
        """Tell whether a caller has another right by now.

        The nameless have none from the first key on; whoever makes it is one of them, and must hear what it is.
        """
        if caller.standing is None:
            return self.required and not self.services.settings.allow_anonymous
        return self.services.directory.present(caller.standing) != caller.right


def _over(served: _Served) -> bool:
    return served.until is not None and time.time() >= served.until


def _too_many(wait: float) -> TooManyFailures:
    return TooManyFailures("too many failures to prove who calls came from this address", retry_after=wait)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def token_of(request: web.Request) -> str | None:
    """Return the token that a request shows where one may; None where it shows none."""
    try:
        return _bearer(request)
    except (Unauthorized, MalformedCredentials):
        return None


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
    if services.settings.policy_file is not None or services.settings.oidc_issuer:
        return True
    await services.directory.refresh()
    return services.directory.keys_in_use
