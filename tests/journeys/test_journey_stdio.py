"""Clients that start the gateway themselves: side by side, one after the other, and what they find of each other."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from gateway.store.embedded import server_binary
from tests.conftest import NO_REDIS, PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.skipif(server_binary() is None, reason=NO_REDIS)
PATIENT = {"id": "web-1", "wait_timeout": 600, "force_after_timeout": False}


@pytest.fixture
def environment(sim, tmp_path):
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "VERGEOS_HOST": sim.url,
        "VERGEOS_API_KEY": "demo",
        "STATE_DIR": str(tmp_path / "state"),
        "ENGINE_SPEED": "10",
        "MCP_WAIT_SECONDS": "0",
    }


@pytest.fixture
def vm(sim):
    return sim.vm("web-1").ignore_acpi()


def client(environment, mode="auto"):
    command = StdioServerParameters(command=sys.executable, args=["-m", "gateway", "stdio"], env=environment)
    return Client(stdio_client(command), mode=mode)


async def completed(client, job_id):
    async def done():
        seen = await client.call_tool("get_job", {"id": job_id})
        return seen.structured_content["state"] == "completed"

    await eventually(done)


async def test_a_job_goes_on_when_the_client_that_began_it_leaves_another_one_at_work(environment, vm):
    async with client(environment, "legacy") as stays:
        async with client(environment) as leaves:
            job = (await leaves.call_tool("power_off_vm", PATIENT)).structured_content
            assert job["state"] == "working"
            await eventually(vm.power_actions)
        vm.stop()
        await completed(stays, job["id"])
    assert vm.power_actions() == ["poweroff"]


async def test_what_the_last_client_left_goes_on_at_the_next_start_and_is_named_in_the_first_answer(environment, vm):
    async with client(environment) as first:
        begun = await first.call_tool("power_off_vm", PATIENT)
        job_id = begun.structured_content["id"]
        await eventually(vm.power_actions)
        assert "Unfinished" not in begun.model_dump_json()
    async with client(environment, "legacy") as second:
        told = [(await second.call_tool("list_vms", {"limit": 1})).content[-1].text for _ in range(2)]
        assert f"Unfinished jobs from before this conversation: {job_id} (power_off_vm web-1, " in told[0]
        assert "Unfinished" not in told[1]
        vm.stop()
        await completed(second, job_id)
    assert vm.power_actions() == ["poweroff"]


async def test_nothing_but_json_is_said_on_stdout(environment):
    lines = (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "power_off_vm", "arguments": PATIENT}},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_vm", "arguments": {"id": "none"}}},
        {"jsonrpc": "2.0", "id": 3, "method": "nonsense"},
    )
    said = "".join(json.dumps(line) + "\n" for line in lines) + "no JSON\n"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "stdio"),
        env=environment | {"LOG_LEVEL": "DEBUG", "AUDIT_LOG": "-"},
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, _ = await process.communicate(said.encode())
    answers = [json.loads(line) for line in out.splitlines()]
    assert {answer["id"] for answer in answers} == {1, 2, 3, None}
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}


WITHOUT = """
import asyncio, os, sys
import aiohttp, arq, fakeredis, mcp.server, redis.asyncio, structlog  # which see to their platforms themselves
for name in ("fcntl", "pwd", "grp", "termios", "resource"):
    sys.modules[name] = None
del os.getuid, os.fork, os.killpg, os.geteuid

def refuse(*_):
    raise NotImplementedError

asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = refuse
from gateway.store import embedded
embedded.server_binary = lambda: None
from gateway.__main__ import main
sys.exit(main(["stdio"]))
"""


@pytest.mark.slow
async def test_what_windows_lacks_is_not_needed(environment, vm):
    """No POSIX module, no signal handlers, no Redis server: jobs are made and carried out all the same."""
    command = StdioServerParameters(command=sys.executable, args=["-c", WITHOUT], env=environment)
    async with Client(stdio_client(command)) as alone:
        job = (await alone.call_tool("power_off_vm", PATIENT)).structured_content
        await eventually(vm.power_actions)
        vm.stop()
        await completed(alone, job["id"])
    assert vm.power_actions() == ["poweroff"]
