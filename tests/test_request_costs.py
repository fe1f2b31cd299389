"""What each read costs VergeOS, counted on the simulator: a table, the same for ten VMs and for ten thousand."""

import pytest

from gateway.calls import Call, Face, run
from gateway.core.access import LOCAL
from gateway.services import open_services
from gateway.simulator import Simulator, SimulatorSettings
from gateway.store.backend import open_backend
from gateway.tools import CATALOG
from tests.conftest import fast_settings

COLD = {  # tool: arguments, requests of a cold cache (and none when warm)
    "list_vms": ({}, 1),
    "get_vm": ({"id": 34}, 1),
    "get_vm_status": ({"id": 34}, 2),
    "get_vm_drives": ({"id": 34}, 2),
    "get_vm_nics": ({"id": 34, "guest_addresses": False}, 2),
    "list_vm_snapshots": ({"vm_id": 34}, 2),
    "list_networks": ({}, 1),
    "get_network": ({"id": 4}, 1),
    "list_tenants": ({}, 1),
    "get_tenant": ({"id": 1}, 3),
    "list_nodes": ({}, 1),
    "get_node_stats": ({"id": 1}, 1),
    "get_cluster_status": ({}, 1),
    "get_cluster_stats": ({}, 2),
    "list_volumes": ({}, 1),
    "get_logs": ({}, 1),
    "get_alarms": ({}, 1),
    "find": ({"name": "web"}, 4),
    "get_overview": ({}, 8),
    "diagnose_vm": ({"id": 34}, 8),
    "diagnose_tenant": ({"id": 1}, 5),
    "history": ({"vm": 34}, 2),
}
SINGLE = ("get_vm", "get_vm_status", "get_vm_drives", "get_vm_nics", "get_network", "get_node_stats")


async def cost(sim, redis, redis_url, tool, arguments):
    """Return requests and bytes of one cold call, and requests of the same call repeated."""
    await redis.flushall()
    settings = fast_settings(sim.url, redis_url)
    async with open_backend(settings) as backend, open_services(settings, backend) as services:
        sim.reset_counts()
        await run(CATALOG[tool], arguments, Call(services, LOCAL, Face.REST))
        cold, sent = sim.requests.total(), sum(sim.bytes_sent.values())
        sim.reset_counts()
        await run(CATALOG[tool], arguments, Call(services, LOCAL, Face.REST))
        return cold, sent, sim.requests.total()


@pytest.mark.parametrize("tool", COLD)
async def test_a_read_costs_what_the_table_says_and_nothing_when_repeated(sim, redis, redis_url, tool):
    arguments, most = COLD[tool]
    cold, _, warm = await cost(sim, redis, redis_url, tool, arguments)
    assert cold <= most
    assert warm == 0


async def test_a_single_object_costs_the_same_on_ten_thousand_vms(redis, redis_url):
    costs = []
    for vms in (10, 10_000):
        async with Simulator(SimulatorSettings(vms=vms, time_scale=20)) as sim:
            costs.append([await cost(sim, redis, redis_url, tool, COLD[tool][0]) for tool in SINGLE])
    for tool, (few, few_bytes, _), (many, many_bytes, _) in zip(SINGLE, *costs, strict=True):
        assert many == few, tool
        assert many_bytes <= 1.05 * few_bytes + 40, (tool, few_bytes, many_bytes)  # names and numbers get longer
