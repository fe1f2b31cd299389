"""Runs the official conformance suite against a server, and what it found."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.services import Services, open_services
from gateway.settings import Settings
from gateway.store.backend import open_backend
from gateway.transports.mcp_http import McpEndpoint
from tests.conformance.basics import Resources, add_prompts, add_tools
from tests.conformance.registry import Registry, build
from tests.conformance.rounds import add_asking, add_rounds
from tests.conformance.tasks import add_tasks
from tests.npm import install

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
REVISIONS = {"2025-11-25": 30, "2026-07-28": 37}  # and how many scenarios each requires
RUN_SECONDS = 120


@dataclass(frozen=True)
class Scenario:
    """One scenario's checks, by id; `failures` says what is wrong."""

    name: str
    checks: int
    failures: tuple[str, ...]


async def judged(url: str, *arguments: str, folder: Path) -> list[Scenario]:
    """Run the suite with these arguments against the MCP endpoint at `url`; its reports go to `folder`."""
    env = os.environ | {"PATH": f"{MODULES / '.bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [str(MODULES / ".bin" / "conformance"), "server", "--url", url, *arguments, "-o", str(folder)]
    quiet = asyncio.subprocess.PIPE
    suite = await asyncio.create_subprocess_exec(*command, env=env, stdout=quiet, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(RUN_SECONDS):
        said, _ = await suite.communicate()
    found = [_scenario(path) for path in sorted(folder.glob("*/checks.json"))]  # noqa: ASYNC240
    if not found:
        raise RuntimeError(said.decode())
    return found


def _scenario(path: Path) -> Scenario:
    checks = json.loads(path.read_text())
    wrong = [f"{c['id']}: {c.get('errorMessage') or c['description']}" for c in checks if c["status"] == "FAILURE"]
    counted = sum(check["status"] in {"SUCCESS", "FAILURE"} for check in checks)
    name = path.parent.name.removeprefix("server-").split("-202")[0]
    return Scenario(name, counted, tuple(wrong))


@asynccontextmanager
async def fixtures(services: Services) -> AsyncIterator[str]:
    """Serve the fixture catalog by the gateway's own endpoint class; yield the endpoint's URL."""
    registry = Registry()
    add_tools(registry)
    add_asking(registry)
    add_rounds(registry)
    add_prompts(registry)
    tasks = add_tasks(registry)
    server, _ = build(registry, Resources())
    tasks.register(server)
    app = web.Application()
    McpEndpoint(server, services).mount(app)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


async def main() -> int:
    """Print what the suite finds in each revision; return 1 where anything failed."""
    await install(HERE)
    failed = False
    nowhere = {"vergeos_host": "http://127.0.0.1:1", "vergeos_api_key": "none", "vergeos_site": "conformance"}
    settings = Settings(_env_file=None, state_dir=Path(tempfile.gettempdir()) / "vergeos-conformance", **nowhere)
    async with open_backend(settings, keep=False) as backend, open_services(settings, backend) as services:
        for revision, required in REVISIONS.items():
            folder = HERE / "results" / revision
            shutil.rmtree(folder, ignore_errors=True)
            async with fixtures(services) as url:
                found = await judged(url, "--requirements", revision, folder=folder)
            wrong = [scenario for scenario in found if scenario.failures]
            failed = failed or bool(wrong)
            checks = sum(scenario.checks for scenario in found)
            print(f"{revision}: {len(found)} scenarios ({required} required), {checks} checks, {len(wrong)} failed")
            for scenario in wrong:
                print("  " + "\n  ".join((scenario.name, *(f"  {words}" for words in scenario.failures))))
    return int(failed)
