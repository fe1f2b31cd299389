"""The README's first five minutes with real processes: the demo, curl's lines, MCP over HTTP and stdio."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import AT_ONCE_SECONDS, PATIENCE_SECONDS
from tests.test_readme import curl_lines

OPEN = b"Anybody who reaches this port may do everything here"
POWER_OFF = {"wait_timeout": 30, "force_after_timeout": True}


@asynccontextmanager
async def demo(folder, **environment):
    """Run `vergeos-gateway demo` on a free port; yield its process and URL once it has said who may use it."""
    env = {**os.environ, "PORT": "0", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "demo"),
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := re.search(rb"demo: (http://\S+)", await process.stdout.readline())):
                pass
            while OPEN not in await process.stdout.readline():
                pass
        yield process, found[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def follow(http, url, job_id):
    """Return a job's events, read as curl -N reads them, until the stream ends."""
    async with http.get(f"{url}/jobs/{job_id}/events") as response:
        assert response.content_type == "text/event-stream"
        return [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: ")]


async def test_a_newcomer_lists_vms_and_powers_one_off_over_rest_whatever_the_environment_names(tmp_path):
    real = {"VERGEOS_HOST": "verge.invalid", "VERGEOS_API_KEY": "real"}
    async with demo(tmp_path, **real) as (_, url), aiohttp.ClientSession() as http:
        health = await (await http.get(f"{url}/health")).json()
        assert health["site"] == "simulated"
        vms = await (await http.get(f"{url}/vms")).json()
        assert {"web-1", "test-vm"} <= {vm["name"] for vm in vms}
        body = json.dumps(POWER_OFF)  # as `curl -d` sends it, with no JSON content type
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        accepted = await http.post(f"{url}/vms/web-1/poweroff", data=body, headers=form)
        assert accepted.status == 202
        job = await accepted.json()
        assert accepted.headers["Location"] == f"/jobs/{job['id']}"
        events = await follow(http, url, job["id"])
        assert events[-1]["state"] == "completed"
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        vm = await (await http.get(f"{url}/vms/web-1")).json()
        assert vm["running"] is False


async def test_an_assistant_does_the_same_over_mcp_in_both_eras(tmp_path):
    async with demo(tmp_path) as (_, url):
        await asyncio.gather(makes_the_journey(url, "auto", "web-1"), makes_the_journey(url, "legacy", "web-2"))


async def makes_the_journey(url, mode, name):
    heard = []

    async def progress(done, total, message):
        heard.append((done, message))

    async with Client(f"{url}/mcp", mode=mode) as client:
        listed = await client.call_tool("list_vms", {"name": name})
        assert listed.structured_content["items"][0]["name"] == name
        result = await client.call_tool("power_off_vm", {"id": name, **POWER_OFF}, progress_callback=progress)
        assert result.structured_content["state"] == "completed", result
        assert len(heard) >= 2
        again = await client.call_tool("power_off_vm", {"id": name, **POWER_OFF})
        assert again.structured_content["id"] == result.structured_content["id"]
        assert "same call" in again.structured_content["note"]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_one_signal_ends_all_of_the_demo_and_waits_for_no_job(tmp_path, number):
    async with demo(tmp_path) as (process, url), aiohttp.ClientSession() as http:
        job = await (await http.post(f"{url}/vms/web-1/poweroff", json=POWER_OFF)).json()
        watching = asyncio.create_task(follow(http, url, job["id"]))
        waiting = asyncio.create_task(http.get(f"{url}/jobs/{job['id']}", params={"wait": 40}))
        children = descendants(process.pid)
        process.send_signal(number)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await process.wait() == 0
        await asyncio.gather(watching, waiting, return_exceptions=True)
        assert not children & running().keys()


def descendants(pid):
    """Return the processes that this one started: its embedded Redis."""
    return {child for child, parent in running().items() if parent == pid}


def running():
    """Return every living process with its parent, as /proc tells it."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                found[int(stat.parent.name)] = int(parent)
    return found


@pytest.mark.slow
async def test_an_assistant_on_this_machine_does_the_same_over_stdio_and_a_second_one_joins(tmp_path):
    async with Simulator(SimulatorSettings(vms=40, time_scale=10)) as sim:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "VERGEOS_HOST": sim.url,
            "VERGEOS_API_KEY": "demo",
            "STATE_DIR": str(tmp_path),
        }
        command = StdioServerParameters(command=sys.executable, args=["-m", "gateway", "stdio"], env=env)
        async with Client(stdio_client(command)) as first, Client(stdio_client(command), mode="legacy") as second:
            done = await first.call_tool("power_off_vm", {"id": "web-1", **POWER_OFF})
            assert done.structured_content["state"] == "completed", done
            seen = await second.call_tool("get_job", {"id": done.structured_content["id"]})
            assert seen.structured_content["state"] == "completed"
        assert sim.power_actions(sim.vm("web-1").key)[0] == "poweroff"


async def test_each_curl_line_of_the_readme_does_what_it_says(tmp_path):
    async with demo(tmp_path) as (_, url), aiohttp.ClientSession() as http:
        for line, method, path, body, headers in curl_lines():
            response = await http.request(method, url + path, data=body, headers=headers)
            assert response.status in {200, 202}, (line, response.status, await response.text())
            assert await response.json(content_type=None), line
