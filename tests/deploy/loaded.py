"""A gateway and a worker under a load that leaves something to show on every panel, with a Prometheus beside them."""

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.conftest import eventually
from tests.deploy.programs import ROOT
from tests.deploy.prometheus import Prometheus, prometheus
from tests.journeys.conftest import System, free_port

READS = (
    "/vms",
    "/vms/web-1",
    "/nodes",
    "/cluster/stats",
    "/cluster/status",
    "/alarms",
    "/logs",
    "/overview",
    "/networks",
)
REFUSED = (("GET", "/vms/no-such-vm"), ("POST", "/vms/nobody/reset"))
LOAD_SECONDS = 15.0


@dataclass
class Loaded:
    """What ran: since when (Unix seconds), and the Prometheus that knows."""

    known: Prometheus
    since: float


@asynccontextmanager
async def loaded(system: System, folder: Path):
    """Serve, work and scrape under load; yield once the load has been seen for a while."""
    ports = {"vergeos-gateway": [free_port()], "vergeos-gateway-worker": [free_port()]}
    (gateway,), (worker,) = ports.values()
    system.environment.update(PLATFORM_METRICS="true", MCP_WAIT_SECONDS="1")
    await system.gateway(METRICS_PORT=str(gateway))
    await system.worker(WORKER_METRICS_PORT=str(worker))
    async with prometheus(folder, ports) as known, aiohttp.ClientSession() as http:
        began = time.time()
        running = [vm["id"] for vm in (await system.call("GET", "/vms?running=true"))[1] if vm["name"] != "web-1"]
        following = await _open_job_with_follower(system, http, running.pop())
        async with asyncio.timeout(LOAD_SECONDS + 60):
            await asyncio.gather(_read(system, http, began), _change(system, running[:5]), _refuse(system, http, began))
        await _outage(system, running[5:])
        yield Loaded(known, began)
        following.close()


async def _open_job_with_follower(system: System, http: aiohttp.ClientSession, vm: int) -> aiohttp.ClientResponse:
    """Leave a job that waits for its guest, a follower of its events, and a session."""
    system.sim.vm(vm).ignore_acpi()
    body = {"wait_timeout": 14_400, "force_after_timeout": False}
    _, job = await system.call("POST", f"/vms/{vm}/poweroff", body)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    accept = {"Accept": "application/json, text/event-stream"}
    async with http.post(f"{system.url}/mcp", json=message, headers=accept) as reply:
        assert reply.status == 200
    return await http.get(f"{system.url}/jobs/{job['id']}/events")


async def _read(system: System, http: aiohttp.ClientSession, began: float) -> None:
    while time.time() < began + LOAD_SECONDS:
        for path in READS:
            async with http.get(system.url + path) as reply:
                await reply.read()


async def _refuse(system: System, http: aiohttp.ClientSession, began: float) -> None:
    core = next(net["id"] for net in (await system.call("GET", "/networks"))[1] if net["type"] == "core")
    while time.time() < began + LOAD_SECONDS:
        for method, path in (*REFUSED, ("POST", f"/networks/{core}/poweroff")):
            async with http.request(method, system.url + path, json={} if method == "POST" else None) as reply:
                await reply.read()


async def _change(system: System, vms: list[int]) -> None:
    """Change VMs: some come to their end, one fails, one is left off for it does not start again."""
    for vm in vms:
        await system.call("POST", f"/vms/{vm}/poweroff", {"wait_timeout": 60})
    system.sim.vm("web-1").fail_to_start()
    wish = {"cpu_cores": 3, "shutdown_if_running": True, "force_after_timeout": True, "wait_timeout": 10}
    _, job = await system.call("PATCH", f"/vms/{system.sim.vm('web-1').key}", wish)
    assert (await system.ended(job["id"]))["problem"]["code"] == "left_off"


async def _outage(system: System, vms: list[int]) -> None:
    """VergeOS is away for a moment: who asks for what nobody has asked for yet is told so."""
    unread = iter(vms)
    system.sim.down = True

    async def noticed():
        status, _ = await system.call("GET", f"/vms/{next(unread)}")
        return status >= 500

    await eventually(noticed, 30)
    system.sim.down = False


def boards():
    """Yield each dashboard's name and panels as they are shipped."""
    for path in sorted((ROOT / "k8s/dashboards").glob("*.json")):
        yield path.stem, json.loads(path.read_text())["panels"]


def filled_in(query: str) -> str:
    """Return a panel's query as Grafana would send it with everything chosen."""
    return re.sub(r"\$(tool|face)\b", ".*", query.replace("$__rate_interval", "10s"))
