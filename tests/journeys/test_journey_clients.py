"""Other people's clients over each door: the 1.x SDK in an environment of its own, and the Inspector's CLI."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from inprocess import engine_settings, house

from gateway.tools import CATALOG
from tests.conformance.judge import HERE as NODE_PROJECT
from tests.npm import available, install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SDK1 = Path(__file__).parent / "sdk1"
ENVIRONMENT = SDK1 / ".venv"
UV = str(Path(sys.executable).with_name("uv"))
DOORS = pytest.mark.parametrize("door", ["http", "sse", "stdio", "bridge"])


async def run(*command, **environment):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | environment
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()
    return out.decode()


@pytest.fixture
async def sdk1():
    """The Python of an environment with the 1.x SDK, made anew when its lock is newer."""
    lock, mark = SDK1 / "requirements.lock", ENVIRONMENT / "pyvenv.cfg"
    if not mark.exists() or mark.stat().st_mtime < lock.stat().st_mtime:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        await run(UV, "venv", "--quiet", str(ENVIRONMENT))
        await run(UV, "pip", "sync", "--quiet", "--python", str(ENVIRONMENT), "--require-hashes", str(lock))
    return str(ENVIRONMENT / "bin" / "python")


@pytest.fixture
async def gateway(sim, redis_url):
    sim.vm("web-1").ignore_acpi()
    async with house(sim, engine_settings(sim, redis_url)) as served:
        yield served


def target(door, gateway):
    """Return what a client is told to reach the gateway by, and the environment of a process that it starts."""
    if door in {"http", "sse"}:
        return [f"{gateway.url}/{'mcp' if door == 'http' else door}"], {}
    environment = {
        "VERGEOS_HOST": gateway.sim.url,
        "VERGEOS_API_KEY": "demo",
        "REDIS_URL": gateway.settings.redis_url.get_secret_value(),
        "ENGINE_SPEED": "10",
        "VERGEOS_REQUESTS_PER_SECOND": "0",
        "VERGEOS_MAX_CONCURRENT": str(gateway.settings.vergeos_max_concurrent),
        "VERGEOS_MCP_URL": gateway.url,
    }
    return [sys.executable, "-m", "gateway", door], environment


@DOORS
async def test_the_1x_sdk_makes_the_whole_journey(sdk1, gateway, door):
    where, environment = target(door, gateway)
    kind = "stdio" if door == "bridge" else door
    seen = json.loads(await run(sdk1, "-I", str(SDK1 / "journey.py"), kind, *where, **environment))
    assert seen["version"] in {"2024-11-05", "2025-11-25"}
    assert {"list_vms", "power_off_vm"} <= set(seen["tools"])
    assert (seen["listed"], seen["forced"], seen["state"]) == (3, True, "completed")
    assert seen["asked"] == ["web-1 still runs after 1 s. Force it off?"]
    assert seen["progressed"]
    assert gateway.sim.vm("web-1").power_actions() == ["poweroff", "kill"]


@pytest.mark.skipif(not available(NODE_PROJECT), reason="neither npm nor the installed Inspector is there")
@DOORS
async def test_the_inspector_s_command_line_lists_reads_and_acts(gateway, door, tmp_path):
    await install(NODE_PROJECT)
    where, environment = target(door, gateway)
    programs = NODE_PROJECT / "node_modules" / ".bin"
    environment |= {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "MCP_CATALOG_PATH": str(tmp_path / "catalog.json"),
    }
    given = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]

    async def inspect(method, *arguments):
        starts = [] if door in {"http", "sse"} else given
        command = [str(programs / "mcp-inspector"), "--cli", *starts, *where, "--method", method, *arguments]
        return json.loads(await run(*command, **environment))

    tools = await inspect("tools/list")
    assert len(tools["tools"]) == len(CATALOG)
    listed = await inspect("tools/call", "--tool-name", "list_vms", "--tool-arg", "limit=2")
    assert len(listed["structuredContent"]["items"]) == 2
    arguments = ["id=web-2", "wait_timeout=30"]
    done = await inspect("tools/call", "--tool-name", "power_off_vm", "--tool-arg", *arguments)
    assert done["structuredContent"]["state"] == "completed"
    assert gateway.sim.vm("web-2").power_actions() == ["poweroff"]
