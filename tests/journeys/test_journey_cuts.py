"""The connection is cut at some byte of an answer, and the caller calls again: one job, one effect."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from inprocess import engine_settings, house
from mcp import Client
from test_journey_questions import Address, begin, stateless

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import eventually

GRACE = {"wait_timeout": 600, "force_after_timeout": False}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
SAMPLE = (0, 1, 12, 150, 250, 400, 700, 1000)
AT_ONCE = 12
ROOMY = {"request": 20.0, "step": 25.0, "lease": 40.0, "settle": 30.0}


class Rest:
    """A power-off over REST with a key of its own."""

    def __init__(self, url):
        pass

    def request(self, vm):
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"off {vm.key}"}
        return f"/vms/{vm.key}/poweroff?wait=20", GRACE, headers

    def job(self, body):
        return body


class Stateless:
    """A power-off in 2026-07-28, its progress told on the way."""

    def __init__(self, url):
        pass

    def request(self, vm):
        params = {"name": "power_off_vm", "arguments": {"id": vm.key, **GRACE}}
        request = stateless("tools/call", params, name="power_off_vm", capabilities={})
        request["json"]["params"]["_meta"]["progressToken"] = "p"
        return "/mcp", request["json"], ACCEPT | request["headers"]

    def job(self, body):
        return body["result"]["structuredContent"]


class InSession(Stateless):
    """A power-off in a session; its requests have ids of their own, as a client's have."""

    def __init__(self, session):
        self.session, self.last_id = session, 1

    def request(self, vm):
        self.last_id += 1
        params = {"name": "power_off_vm", "arguments": {"id": vm.key, **GRACE}, "_meta": {"progressToken": "p"}}
        body = {"jsonrpc": "2.0", "id": self.last_id, "method": "tools/call", "params": params}
        return "/mcp", body, ACCEPT | self.session


@asynccontextmanager
async def cut_after(count, port):
    """Relay to a port of this machine; once more than `count` bytes have come back, pass those and cut both sides."""

    async def relay(reader, writer):
        behind, ahead = await asyncio.open_connection("127.0.0.1", port)
        sending = asyncio.create_task(copied(reader, ahead))
        left = count
        try:
            with suppress(ConnectionError):
                while left >= 0 and (chunk := await behind.read(1 << 16)):
                    writer.write(chunk[:left])
                    left -= len(chunk)
                await writer.drain()
        finally:
            sending.cancel()
            ahead.transport.abort()
            writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def copied(reader, writer):
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)


async def heard(port, path, body, headers):
    """Send one request as bytes; return all that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    text = json.dumps(body)
    lines = {"Host": "localhost", "Content-Length": len(text), "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n{text}".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


async def whole(http, url, path, body, headers):
    """Send one request; return the last message of the answer."""
    async with http.post(url + path, json=body, headers=headers) as reply:
        assert reply.status in {200, 202}, await reply.text()
        lines = (await reply.text()).splitlines()
        return json.loads([line.removeprefix("data: ") for line in lines if line and line[0] not in ":e"][-1])


async def cut_and_call_again(gateway, http, door, vm, count):
    """Return the bytes of the answer that came through, and the job that the second call was answered with."""
    async with cut_after(count, int(gateway.url.rpartition(":")[2])) as port:
        part = await heard(port, *door.request(vm))
    return part, door.job(await whole(http, gateway.url, *door.request(vm)))


async def door_of(kind, http, gateway):
    return kind(await begin(http, Address(gateway)) if kind is InSession else gateway.url)


@asynccontextmanager
async def crowd(redis_url, count):
    """Yield a gateway, so many running VMs of its own, and a client."""
    async with Simulator(SimulatorSettings(vms=2 * count + 20, seed=7, time_scale=20.0)) as sim:
        rows = [sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")]
        vms = [vm.start() for vm in rows[:count]]
        async with (
            house(sim, engine_settings(sim, redis_url, **ROOMY)) as gateway,
            aiohttp.ClientSession(headers=ACCEPT) as http,
        ):
            yield gateway, vms, http


async def every_cut(kind, gateway, vms, http, offsets):
    """Cut at each offset, each time with another VM, and call again; return the lengths that came through."""
    door, turns = await door_of(kind, http, gateway), asyncio.Semaphore(AT_ONCE)

    async def one(vm, count):
        async with turns:
            part, job = await cut_and_call_again(gateway, http, door, vm, count)
        assert len(part) <= count
        assert (job["state"], job["target"]["id"], job["result"]["forced"]) == ("completed", vm.key, False)
        return len(part)

    lengths = await asyncio.gather(*(one(vm, count) for vm, count in zip(vms, offsets, strict=True)))
    assert {tuple(gateway.sim.power_actions(vm.key)) for vm in vms} == {("poweroff",)}
    total = int((await gateway.get("/jobs", limit=1)).headers["X-Total-Count"])
    assert total == len(vms)
    return lengths


DOORS = pytest.mark.parametrize("kind", [Rest, Stateless, InSession])


@DOORS
async def test_an_answer_that_breaks_off_leaves_one_job_and_one_effect_to_who_calls_again(redis_url, kind):
    async with crowd(redis_url, len(SAMPLE)) as (gateway, vms, http):
        lengths = await every_cut(kind, gateway, vms, http, SAMPLE)
    assert lengths[:4] == list(SAMPLE[:4])


@pytest.mark.slow
@pytest.mark.timeout(900)
@DOORS
async def test_wherever_an_answer_breaks_off_there_is_one_job_and_one_effect(redis_url, kind):
    async with crowd(redis_url, 1) as (gateway, [vm], http):
        door = await door_of(kind, http, gateway)
        length = len(await heard(int(gateway.url.rpartition(":")[2]), *door.request(vm)))
    async with crowd(redis_url, length + 20) as (gateway, vms, http):  # the next answer may be a little longer
        lengths = await every_cut(kind, gateway, vms, http, range(len(vms)))
    assert lengths[: length // 2] == list(range(length // 2))


MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


async def powered_off(client, **more):
    done = await client.call_tool("power_off_vm", {"id": "web-1", **GRACE, **more})
    assert done.structured_content["state"] == "completed"
    return done.structured_content


@MODES
async def test_the_same_call_after_its_success_is_answered_with_its_job_unless_it_says_again(sim, redis_url, mode):
    async with (
        house(sim, engine_settings(sim, redis_url)) as gateway,
        Client(f"{gateway.url}/mcp", mode=mode) as client,
    ):
        first, same = await powered_off(client), await powered_off(client)
        assert (same["id"], "same call" in same["note"]) == (first["id"], True)
        other = await powered_off(client, again=True)
        assert (other["id"] != first["id"], other["result"]["changed"]) == (True, False)
    assert sim.power_actions(sim.vm("web-1").key) == ["poweroff"]


@MODES
async def test_the_same_call_a_while_later_is_another_one(sim, redis_url, mode):
    settings = engine_settings(sim, redis_url).model_copy(update={"same_call_seconds": 0.01})
    async with house(sim, settings) as gateway, Client(f"{gateway.url}/mcp", mode=mode) as client:
        first = await powered_off(client)

        async def another():
            return (await powered_off(client))["id"] != first["id"]

        await eventually(another)
