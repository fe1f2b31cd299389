"""Is it alive, is it ready, how does it do; and where to go from here."""

import asyncio
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from gateway import __version__
from gateway.core.errors import StoreError
from gateway.core.guard import moment
from gateway.services import Services
from gateway.transports.context import SERVICES

REDIS_SECONDS = 1.0
RETRY_SECONDS = 5
ENTRANCES = {
    "/tools": "every tool with its REST routes",
    "/vms": "REST: the virtual machines",
    "/jobs": "REST: the long-running actions",
    "/mcp": "MCP over streamable HTTP",
    "/message": "MCP as plain JSON-RPC, one POST a message",
    "/sse": "MCP over HTTP with SSE, for old clients",
    "/openapi.json": "REST, described for programs",
    "/docs": "REST, described for people",
    "/ui": "jobs and health for people",
    "/health": "how the gateway does",
    "/metrics": "figures for Prometheus",
}
"""Where one may begin; an entrance is shown where it is mounted."""


def mount(app: web.Application) -> None:
    """Add `/`, `/health`, `/livez` and `/readyz`."""
    app.router.add_get("/", index)
    app.router.add_get("/health", health)
    app.router.add_get("/livez", live)
    app.router.add_get("/readyz", ready)


def mount_metrics(app: web.Application) -> None:
    """Add `/metrics`; apart from the others, since it may stand on a port of its own."""
    app.router.add_get("/metrics", metrics)


async def index(request: web.Request) -> web.Response:
    """Answer where to go from here."""
    mounted = {resource.canonical for resource in request.app.router.resources()}
    entrances = {path: words for path, words in ENTRANCES.items() if path in mounted}
    return _json({"name": "vergeos-gateway", "version": __version__, "entrances": entrances})


async def health(request: web.Request) -> web.Response:
    """Answer how Redis and VergeOS do, in words; always 200 while the process serves."""
    services = request.app[SERVICES]
    _, words = await _seen(services)
    about = {"server": "vergeos-gateway", "version": __version__, "site": services.settings.site}
    return _json({"status": "ok", **about, **words})


async def live(_request: web.Request) -> web.Response:
    """Answer that the process serves; asks nobody."""
    return _json({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """Answer 200 while Redis answers and the process is not stopping, else 503; how VergeOS does decides nothing."""
    services = request.app[SERVICES]
    redis_answers, words = await _seen(services)
    if services.closing.is_set():
        return _json({"status": "stopping", **words}, status=503)
    return _json({"status": "ready" if redis_answers else "not ready", **words}, status=200 if redis_answers else 503)


async def metrics(request: web.Request) -> web.Response:
    """Answer every metric of the process in the text format that the scraper asks for.

    What stands in Redis is counted at each scrape; while Redis is away the last counts are told.
    """
    with suppress(StoreError):
        await request.app[SERVICES].measure()
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    body = encode(request.app[SERVICES].metrics.registry)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


async def _seen(services: Services) -> tuple[bool, dict[str, str]]:
    """Return whether Redis answers within a second, and both it and VergeOS in words.

    What is said of VergeOS is what its last request showed to any process: a probe asks it nothing. Where callers must
    prove who they are, a probe, which need not, hears of no job and no person.
    """
    everything = not services.guarded or services.settings.allow_anonymous
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            blind_since, outage = await services.watching.blind_since(), await services.outage(of_all=everything)
            freeze = await services.freezing.present()
    except (StoreError, TimeoutError):
        return False, {"redis": "does not answer", "vergeos": "not known while Redis does not answer"}
    vergeos = "no trouble known" if blind_since is None else f"has not answered since {moment(blind_since)}"
    changes = None if freeze is None else freeze.told() if everything else "frozen"
    told = {"outage": outage, "changes": changes}
    return True, {"redis": "ok", "vergeos": vergeos, **{name: words for name, words in told.items() if words}}


def _json(members: dict[str, Any], *, status: int = 200) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    if status == 503:
        headers[hdrs.RETRY_AFTER] = str(RETRY_SECONDS)
    return web.Response(body=orjson.dumps(members), status=status, headers=headers, content_type="application/json")
