"""What our tools wrote is what the official SDK, pyvergeos, reads: sizes, states, drives, snapshots, networks, tenants.

The SDK speaks HTTPS only; so does the gateway here, with the simulator's certificate as its CA bundle.
"""

import asyncio
import time

import pytest
import requests
from inprocess import house
from kinds import quick_settings, rows
from pyvergeos import VergeClient

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import eventually
from tests.simulator.test_simulator_judged_by_pyvergeos import certificate  # noqa: F401

GIB = 2**30


@pytest.fixture
async def sim(certificate):  # noqa: F811
    _, context = certificate
    async with Simulator(SimulatorSettings(vms=12, seed=7, time_scale=20.0, ssl_context=context)) as simulator:
        yield simulator


@pytest.fixture
async def gateway(sim, redis_url, certificate):  # noqa: F811
    async with house(sim, quick_settings(sim, redis_url, vergeos_ca_bundle=certificate[0])) as served:
        yield served


@pytest.fixture
def sdk(sim, certificate):  # noqa: F811
    """Reads with a connected SDK client in a thread of its own, for the SDK blocks."""

    def read(story):
        with requests.Session() as session:
            session.verify = str(certificate[0])
            session.trust_env = False  # a CA bundle or proxy in the environment would win over `verify`
            client = VergeClient(sim.url.removeprefix("https://"), session=session, token="demo")
            try:
                return story(client)
            finally:
                client.disconnect()

    async def run(story):
        return await asyncio.to_thread(read, story)

    return run


async def done(gateway, method, path, body=None):
    """Call a tool and return the result of its completed job."""
    ended = await gateway.ended((await gateway.accepted(method, path, body))["id"])
    assert ended["state"] == "completed", ended
    return ended["result"]


async def test_power_states_and_sizes(gateway, sdk):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds = 2
    await done(gateway, "POST", "/vms/web-1/poweroff", {"wait_timeout": 60})
    read = await sdk(lambda client: client.vms.get(name="web-1", fields="all"))
    assert (read.is_running, read.status) == (False, "stopped")
    await done(gateway, "PATCH", "/vms/web-1", {"cpu_cores": 3, "ram_mb": 6144})
    read = await sdk(lambda client: client.vms.get(vm.key))
    assert (read["cpu_cores"], read["ram"], read.is_running) == (3, 6144, False)
    await done(gateway, "POST", "/vms/web-1/poweron")
    assert (await sdk(lambda client: client.vms.get(vm.key))).is_running
    await done(gateway, "POST", "/vms/web-1/forceoff")
    assert (await sdk(lambda client: client.vms.get(vm.key).machine_status.get())).is_running is False


async def test_drives(gateway, sdk):
    vm = gateway.sim.vm("web-1")
    body = {"name": "ours", "size_gb": 5, "tier": 3, "description": "for logs", "allow_tight": True}
    made = await done(gateway, "POST", "/vms/web-1/drives", body)
    drive = await sdk(lambda client: client.vms.get(vm.key).drives.get(name="ours"))
    assert (drive.key, drive.size_gb, drive["preferred_tier"], drive["status"], drive["media"]) == (
        *(made["drive_id"], 5.0, "3", "online", "disk"),
    )
    assert drive.interface_display == "Virtio-SCSI"
    await done(gateway, "PUT", f"/drives/{drive.key}", {"new_size_gb": 7.5})
    drives = await sdk(lambda client: client.vms.get(vm.key).drives.list(fields=["$key", "name", "disksize"]))
    assert {each.name: each["disksize"] for each in drives}["ours"] == 7.5 * GIB
    assert len([each for each in drives if each.name == "ours"]) == 1


async def test_snapshots_are_taken_restored_and_deleted(gateway, sdk):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds = 2
    cores = vm.cpu_cores
    body = {"name": "ours", "expires_days": 3, "description": "before the upgrade", "allow_tight": True}
    taken = await done(gateway, "POST", "/vms/web-1/snapshots", body)
    kept = await done(
        *(gateway, "POST", "/vms/web-1/snapshots"), {"name": "for ever", "expires_days": 0, "allow_tight": True}
    )
    snapshot = await sdk(lambda client: client.vms.get(vm.key).snapshots.get(taken["snapshot_id"]))
    assert (snapshot["name"], snapshot.never_expires, snapshot.is_manual) == ("ours", False, True)
    assert snapshot["description"].startswith("before the upgrade (by local) [job ")
    assert abs(snapshot["expires"] - (time.time() + 3 * 86_400)) < 120
    assert (await sdk(lambda client: client.vms.get(vm.key).snapshots.get(kept["snapshot_id"]))).never_expires
    await sdk(lambda client: client.vms.update(vm.key, cpu_cores=cores + 1))
    path = f"/vms/web-1/snapshots/{taken['snapshot_id']}"
    restored = await done(gateway, "POST", f"{path}/restore", {"shutdown_if_running": True})
    read = await sdk(lambda client: client.vms.get(vm.key))
    assert (read["cpu_cores"], read.is_running, restored["running"]) == (cores, True, True)
    await done(gateway, "DELETE", f"/snapshots/{taken['snapshot_id']}")

    await eventually(lambda: not rows(gateway.sim, "machine_snapshots", name="ours"))  # VergeOS deletes it later
    left = await sdk(lambda client: [each["name"] for each in client.vms.get(vm.key).snapshots.list()])
    assert "for ever" in left
    assert "ours" not in left


async def test_networks(gateway, sdk):
    def with_a_new_rule(client):
        network = client.networks.get(name="Internal")
        network.rules.create(name="https", protocol="tcp", destination_ports="443", action="accept")
        return client.networks.get(network.key).needs_rule_apply

    def states(client):
        network = client.networks.get(name="Internal")
        return network.is_running, network.status, network.needs_rule_apply

    assert await sdk(with_a_new_rule)
    await done(gateway, "POST", "/networks/Internal/apply")
    assert await sdk(states) == (True, "running", False)
    await done(gateway, "POST", "/networks/Internal/poweroff")
    assert await sdk(states) == (False, "stopped", False)
    await done(gateway, "POST", "/networks/Internal/poweron")
    await done(gateway, "POST", "/networks/Internal/reset")
    assert await sdk(states) == (True, "running", False)


async def test_tenants(gateway, sdk):
    def states(client):
        tenant = client.tenants.get(1)
        return tenant.is_running, tenant.status

    await done(gateway, "POST", "/tenants/1/poweroff")
    assert await sdk(states) == (False, "stopped")
    await done(gateway, "POST", "/tenants/1/poweron")
    assert await sdk(states) == (True, "running")
    await done(gateway, "POST", "/tenants/1/reset")
    assert await sdk(states) == (True, "running")
