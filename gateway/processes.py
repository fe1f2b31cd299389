"""How the parts become processes: the one place that may also start the worker. Imported for these commands only."""

import argparse
import asyncio
import contextlib
import gc
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pydantic import SecretStr, ValidationError

from gateway import __version__, access_commands, app, doctor, guard_commands, trial
from gateway.core.errors import GatewayError
from gateway.services import Services, open_services
from gateway.settings import SIMULATED, Settings
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator import serve as serve_simulator
from gateway.store.backend import Backend, open_backend
from gateway.store.connection import WORKING
from gateway.telemetry import logs
from gateway.telemetry.archive import STDOUT
from gateway.telemetry.loop import watched_loop
from gateway.telemetry.traces import tracing
from gateway.tools import CATALOG
from gateway.transports.mcp_stdio import serve_stdio
from worker.runner import run_worker

DEMO_VMS = 40
FULL_COLLECTIONS = 100  # ten times rarer than by default: one takes 10 ms with ten thousand rows, and finds little
DEMO_TEXT = """
VergeOS Gateway {version}, demo: {url}   (simulated VergeOS with {vms} VMs, {redis})
Try in another terminal:
  curl {url}/vms
  curl -X POST {url}/vms/web-1/poweroff -d '{{"wait_timeout":30,"force_after_timeout":true}}'
  curl -N {url}/jobs/<id>/events            the job's events until it has ended
  curl {url}/tools                          all tools
MCP clients: {url}/mcp        Health: {url}/health        Metrics: {url}/metrics
Anybody who reaches this port may do everything here; Ctrl-C ends it and forgets it all.
"""
UP_TEXT = """
VergeOS Gateway {version}: {url}   (VergeOS at {host}, {redis})
MCP clients: {url}/mcp        REST: {url}/vms        Health: {url}/health
"""


class WrongSettings(GatewayError):
    """The environment holds what no setting takes."""

    code = "wrong_settings"
    next_step = "Correct the named environment variables."


def run(options: argparse.Namespace) -> None:
    """Run the command that `options` names. Raises `WrongSettings`, and what the command raises."""
    try:
        settings = Settings()
    except ValidationError as exc:
        raise WrongSettings(f"wrong settings: {_named(exc)}") from None
    logs.configure(settings.log_level)
    service = "vergeos-gateway-worker" if options.command == "worker" else "vergeos-gateway"
    with tracing(settings.otel_exporter_otlp_endpoint, service):
        gc.freeze()  # what was imported stays for good: no collection need look through it while somebody waits
        gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)
        try:
            asyncio.run(COMMANDS[options.command](settings, options))
        finally:
            logs.flush()


async def demo(settings: Settings, _options: argparse.Namespace) -> None:
    """Run everything against a simulation, whatever VergeOS the environment names."""
    simulated = SimulatorSettings(vms=DEMO_VMS)
    with tempfile.TemporaryDirectory(prefix="vergeos-demo-", ignore_cleanup_errors=True) as folder:
        async with Simulator(simulated) as sim, _stopping() as stop:
            safe = {
                "vergeos_host": sim.url,
                "vergeos_site": SIMULATED,
                "vergeos_api_key": SecretStr(simulated.api_key),
                "vergeos_token": None,
                "vergeos_user": "",
                "vergeos_pass": None,
                "redis_url": None,
                "policy_file": None,
                "write_as": "service",
                "state_dir": Path(folder),
            }
            await _all_in_one(settings.model_copy(update=safe), stop, DEMO_TEXT, keep=False)


async def up(settings: Settings, _options: argparse.Namespace) -> None:
    """Run everything on this machine for a real VergeOS."""
    async with _stopping() as stop:
        await _all_in_one(settings, stop, UP_TEXT, keep=True)


async def _all_in_one(settings: Settings, stop: asyncio.Event, text: str, *, keep: bool) -> None:
    """Run Redis, worker and gateway in this process until `stop`."""
    async with _with_worker(settings, stop, keep=keep) as (services, backend):

        def ready(url: str) -> None:
            told = {"version": __version__, "url": url, "redis": backend.words, "host": settings.base_url}
            print(text.format(**told, vms=DEMO_VMS), flush=True)

        await app.serve(services, stop, ready)


async def serve(settings: Settings, _options: argparse.Namespace) -> None:
    """Run a gateway."""
    settings = _archiving(settings)
    async with _stopping() as stop, open_backend(settings) as backend, open_services(settings, backend) as services:
        _read_policy_on_hangup(services)
        await app.serve(services, stop, lambda url: print(f"serving on {url}", flush=True))


async def worker(settings: Settings, _options: argparse.Namespace) -> None:
    """Run a worker."""
    settings = _archiving(settings)
    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(_stopping())
        backend = await stack.enter_async_context(open_backend(settings))
        services = await stack.enter_async_context(open_services(settings, backend, worker=True))
        redis = await stack.enter_async_context(backend.open(WORKING))
        _read_policy_on_hangup(services)
        await stack.enter_async_context(watched_loop(services.metrics.loop_delay.observe))
        if settings.worker_metrics_port:
            await stack.enter_async_context(app.metrics_served(services, settings.worker_metrics_port))
        await run_worker(services, redis, stop)


def _archiving(settings: Settings) -> Settings:
    """Return settings under which the audit goes to stdout where nothing else is said, as containers want it."""
    return settings if settings.audit_log else settings.model_copy(update={"audit_log": STDOUT})


async def stdio(settings: Settings, _options: argparse.Namespace) -> None:
    """Serve one MCP client over standard input and output, with a worker beside it."""
    if settings.audit_log == STDOUT:  # which belongs to the client
        settings = settings.model_copy(update={"audit_log": ""})
    async with _stopping() as stop, _with_worker(settings, stop, keep=True) as (services, _backend):
        talking = asyncio.create_task(serve_stdio(services, CATALOG))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        services.closing.set()
        stopping.cancel()
        await talking


async def simulator(_settings: Settings, options: argparse.Namespace) -> None:
    """Run a simulated VergeOS."""
    simulated = SimulatorSettings(vms=options.vms, seed=options.seed, host=options.host, port=options.port)
    print(f"simulated VergeOS on http://{simulated.host}:{simulated.port}, API key '{simulated.api_key}'", flush=True)
    async with _stopping() as stop:
        serving = asyncio.create_task(serve_simulator(simulated))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def diagnose(settings: Settings, options: argparse.Namespace) -> None:
    """Check what the gateway needs and print what to mend."""
    async with open_backend(settings) as backend, open_services(settings, backend, worker=True) as services:
        print(await doctor.examine(services, backend, try_credentials=options.try_credentials))
    if options.tools:
        logs.configure("CRITICAL")  # what fails stands in the report
        async with open_backend(settings) as backend, open_services(settings, backend) as services:
            print(await trial.tried(services))


@asynccontextmanager
async def _with_worker(
    settings: Settings, stop: asyncio.Event, *, keep: bool
) -> AsyncIterator[tuple[Services, Backend]]:
    """Yield a gateway's services with a worker beside them; it drains after the block."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(settings, keep=keep))
        services = await stack.enter_async_context(open_services(settings, backend))
        working = await stack.enter_async_context(
            open_services(settings, backend, worker=True, metrics=services.metrics)
        )
        redis = await stack.enter_async_context(backend.open(WORKING))
        ended = asyncio.Event()
        running = asyncio.create_task(run_worker(working, redis, ended), name="worker")
        running.add_done_callback(lambda _: stop.set())
        try:
            yield services, backend
        finally:
            ended.set()
            await running


@asynccontextmanager
async def _stopping() -> AsyncIterator[asyncio.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt there
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    yield stop


def _read_policy_on_hangup(services: Services) -> None:
    """Take SIGHUP for the order to read the policy file again; without such a file it ends the process, as ever."""
    if services.settings.policy_file is not None:
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, services.directory.reload)


def _named(exc: ValidationError) -> str:
    """Return which settings are wrong and why, without their values."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(str(part) for part in error['loc']).upper()}: {error['msg']}" for error in errors)


COMMANDS = {
    "demo": demo,
    "up": up,
    "serve": serve,
    "worker": worker,
    "stdio": stdio,
    "simulator": simulator,
    "doctor": diagnose,
    **guard_commands.COMMANDS,
    "keys": access_commands.keys,
    "policy": access_commands.policy,
}
