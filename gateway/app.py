"""The aiohttp application of a gateway, and how it is served until it is told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

from aiohttp import web

from gateway.core.errors import GatewayError, InvalidArgument, StoreError
from gateway.core.tool import Catalog
from gateway.services import Services
from gateway.telemetry.loop import watched_loop
from gateway.tools import CATALOG as ALL_TOOLS
from gateway.transports import auth, cors, docs_page, probes, problems, rest
from gateway.transports.context import CATALOG, SERVICES
from gateway.transports.expect import new_app
from gateway.transports.mcp import build_server
from gateway.transports.mcp_http import McpEndpoint
from gateway.transports.selection import select
from gateway.transports.short_way import ShortWay
from gateway.transports.unasked import KEPT_SECONDS, closed_unasked

SHUTDOWN_SECONDS = 2.0  # for requests under way; waits and streams have been ended by then
MAX_BODY_BYTES = 1024 * 1024
DOOR = web.AppKey("door", auth.Door)


class CannotStart(GatewayError):
    """The settings do not permit to start, or the port is taken."""

    code = "cannot_start"


def create_app(services: Services, catalog: Catalog = ALL_TOOLS) -> web.Application:
    """Return the application with all faces of what the setting TOOLS leaves of the catalog. Raises `CannotStart`."""
    catalog = _served_part(catalog, services.settings.tools)
    app = new_app(client_max_size=MAX_BODY_BYTES)
    app[SERVICES] = services
    app[CATALOG] = catalog
    problems.install(app)
    cors.install(app)
    app[DOOR] = auth.Door(services)
    app[DOOR].install(app)
    probes.mount(app)
    if not services.settings.metrics_port:
        probes.mount_metrics(app)
    rest.mount(app)
    docs_page.mount(app)
    settings = services.settings
    own_names, pages = (*settings.allowed_hosts, settings.host), settings.cors_origins
    McpEndpoint(build_server(catalog, lambda: services), services, allowed_hosts=own_names, pages=pages).mount(app)
    return app


def _served_part(catalog: Catalog, choice: str) -> Catalog:
    try:
        return select(catalog, choice)
    except InvalidArgument as exc:
        raise CannotStart(f"TOOLS={choice}: {exc.detail}", next_step="Correct the setting TOOLS.") from None


def _metrics_app(services: Services) -> web.Application:
    """Return the application of a port of its own for `/metrics` and `/livez`."""
    app = new_app()
    app[SERVICES] = services
    problems.install(app)
    probes.mount(app)
    probes.mount_metrics(app)
    return app


async def require_safe(services: Services) -> None:
    """Raise `CannotStart` where anybody on the network could use the gateway and nobody said so."""
    settings = services.settings
    if settings.allow_anonymous or not settings.listens_beyond_loopback or await auth.is_configured(services):
        return
    raise CannotStart(
        f"HOST={settings.host} can be reached from other machines and no authentication is configured",
        next_step="Make a key with `vergeos-gateway keys create`, set POLICY_FILE or HOST=127.0.0.1, "
        "or ALLOW_ANONYMOUS=true if everybody who reaches it may do everything.",
    )


async def serve(services: Services, stop: asyncio.Event, ready: Callable[[str], None] | None = None) -> None:
    """Serve until `stop` is set; `ready` hears the gateway's URL once it answers. Raises `CannotStart`."""
    settings = services.settings
    await require_safe(services)
    with suppress(StoreError):  # then the first call waits for it
        await services.directory.refresh()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watched_loop(services.metrics.loop_delay.observe))
        if settings.metrics_port:
            await stack.enter_async_context(metrics_served(services, settings.metrics_port))
        url = await stack.enter_async_context(_served(create_app(services), settings.host, settings.port))
        stack.callback(services.feed.let_go)  # both before the server waits for its requests
        stack.callback(services.closing.set)
        if ready is not None:
            ready(url)
        await stop.wait()


def metrics_served(services: Services, port: int) -> AbstractAsyncContextManager[str]:
    """Return the context in which `/metrics` and the probes are served on a port of their own."""
    return _served(_metrics_app(services), services.settings.host, port, setting="(WORKER_)METRICS_PORT")


@asynccontextmanager
async def _served(app: web.Application, host: str, port: int, setting: str = "PORT") -> AsyncIterator[str]:
    """Serve an application during the block; yield its URL. `setting` is what a taken port is changed with."""
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_SECONDS,
        keepalive_timeout=KEPT_SECONDS,
        access_log=None,
    )
    await runner.setup()
    try:
        if DOOR in app and runner.server is not None:
            runner.server.request_handler = ShortWay(app[DOOR], runner.server.request_handler).serve
        await _listen(runner, host, port, setting)
        bound, port = runner.addresses[0][:2]
        async with closed_unasked(runner):
            yield f"http://{f'[{bound}]' if ':' in bound else bound}:{port}"
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int, setting: str) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        raise CannotStart(
            f"cannot listen on {host}:{port}: {exc.strerror or exc}", next_step=f"Choose another port with {setting}."
        ) from None
