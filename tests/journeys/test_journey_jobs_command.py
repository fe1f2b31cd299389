"""`vergeos-gateway jobs` as people and scripts use it: against a running gateway, by its exit status and its output."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from inprocess import engine_settings, house

from tests.conftest import PATIENCE_SECONDS, eventually, free_port

LONG = {"wait_timeout": 600, "force_after_timeout": False}


@pytest.fixture
async def gateway(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url)) as served:
        yield served


def environment(url, **more):
    return {**{k: v for k, v in os.environ.items() if not k.startswith("VERGEOS_")}, "VERGEOS_MCP_URL": url, **more}


async def jobs(gateway_url, *arguments, **more):
    """Run the command; return its exit status, output and complaints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "jobs", *arguments),
        env=environment(gateway_url, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, complaints = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    return process.returncode, out.decode(), complaints.decode()


async def test_a_script_submits_watches_lists_and_shows(gateway):
    job = await gateway.power_off(gateway.sim.vm("web-1"), wait_timeout=60)
    status, out, _ = await jobs(f"{gateway.url}/mcp/", "watch", job["id"])
    assert status == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert {line[0] for line in lines} == {job["id"]}
    assert lines[-1][1:4] == ["power_off_vm", f"vm {job['target']['id']} web-1", "completed"]
    status, out, _ = await jobs(gateway.url, "list", "--vm", "web-1", "--since", "1h", "--json")
    assert (status, [listed["id"] for listed in json.loads(out)]) == (0, [job["id"]])
    status, out, _ = await jobs(gateway.url, "show", job["id"])
    assert status == 0
    for part in ("arguments:", "before:", "POST vm_actions: ok", "completed", "accepted"):
        assert part in out
    status, out, _ = await jobs(gateway.url, "show", job["id"], "--json")
    assert json.loads(out)["details"]["face"] == "rest"
    assert (await jobs(gateway.url, "list", "--caller", "nobody"))[:2] == (0, "")


async def test_a_job_is_cancelled_and_its_end_is_no_success(gateway):
    job = await gateway.power_off(gateway.sim.vm("web-1").ignore_acpi(), **LONG)
    assert (await jobs(gateway.url, "watch", job["id"], "--timeout", "0"))[0] == 4
    assert (await jobs(gateway.url, "show", job["id"]))[0] == 4
    assert (await jobs(gateway.url, "cancel", job["id"]))[0] == 0
    assert (await jobs(gateway.url, "watch", job["id"], "--json"))[0] == 1
    status, _, complaints = await jobs(gateway.url, "cancel", job["id"])
    assert status == 5
    assert "has ended" in complaints
    assert (await jobs(gateway.url, "answer", job["id"], "yes"))[0] == 5
    assert (await jobs(gateway.url, "show", "no-such-job"))[0] == 5


async def test_a_question_is_shown_with_how_to_answer_and_answered(sim, redis_url):
    settings = engine_settings(sim, redis_url, gap_asks_after=3.0)
    async with house(sim, settings, workers=0) as gateway:
        job = await gateway.power_off(sim.vm("web-1").ignore_acpi(), wait_timeout=2, force_after_timeout=True)
        worker = await gateway.start_worker()
        await gateway.at(job["id"], phase="waiting")
        await worker.end()
        stood_still = (await gateway.services.jobs.get(job["id"])).progress_at + 2.1
        await eventually(lambda: _later(gateway, stood_still))
        await gateway.start_worker()
        await gateway.at(job["id"], state="input_required")
        status, out, _ = await jobs(gateway.url, "list", "--state", "input_required")
        assert status == 0
        assert f"jobs answer {job['id']} yes|no" in out
        assert (await jobs(gateway.url, "answer", job["id"], "no"))[0] == 0
        assert (await gateway.ended(job["id"]))["state"] == "cancelled"


async def _later(gateway, moment):
    return await gateway.services.jobs.now() > moment


async def test_a_terminal_gets_a_live_table(gateway):
    job = await gateway.power_off(gateway.sim.vm("web-1"), wait_timeout=60)
    screen, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "jobs", "watch", job["id"]),
        env=environment(gateway.url, TERM="xterm", COLUMNS="160"),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    reading = asyncio.create_task(asyncio.to_thread(all_of, screen))  # a full terminal would hold the command up
    assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
    shown = await reading
    os.close(screen)
    for part in ("target", "power_off_vm", "web-1", "completed", "\x1b["):
        assert part in shown


def all_of(screen):
    """Return what is shown on a terminal until its last user leaves it."""
    shown = b""
    with suppress(OSError):
        while part := os.read(screen, 65_536):
            shown += part
    return shown.decode()


async def test_who_cannot_reach_a_gateway_or_names_none_is_told_by_the_status(tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    status, _, complaints = await jobs(nowhere, "list")
    assert (status, "no connection" in complaints) == (3, True)
    assert (await jobs("gateway.example.com", "list"))[0] == 2
    assert (await jobs(nowhere, "list", VERGEOS_MCP_CA_BUNDLE=str(tmp_path / "none.pem")))[0] == 2
    assert (await jobs(nowhere, "list", "--since", "yesterday"))[0] == 2
    assert (await jobs(nowhere, "answer", "x", "perhaps"))[0] == 2


async def test_the_token_goes_to_the_named_gateway_alone_and_a_strange_answer_is_no_gateways():
    heard = []

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(head)
        if "/jobs/away" in head:
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        assert (await jobs(url, "list", VERGEOS_MCP_TOKEN="t0ken"))[0] == 3
        status, out, complaints = await jobs(url, "show", "away", VERGEOS_MCP_TOKEN="t0ken")
    assert status == 5
    assert "302" in complaints
    assert "t0ken" not in out + complaints
    assert all("Authorization: Bearer t0ken" in head for head in heard)


def test_the_command_starts_without_the_heavy_half_of_the_program():
    heavy = ("aiohttp", "redis", "mcp", "rich", "pydantic")
    told = f"import sys; import gateway.__main__; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
