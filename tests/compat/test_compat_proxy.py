"""The predecessor's proxy on somebody's laptop goes on as it is: eleven tools, each a POST to `/tools/{name}`."""

import json

import pytest
import pytest_asyncio

from tests.compat.standing import gateway_on
from tests.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


class NotOk(Exception):
    """An answer whose status is not of the 200s, which is all that the proxy looks at."""


class OldProxy:
    """What the proxy does with a tool call of its client, whatever the tool."""

    def __init__(self, http, url):
        self.http, self.url = http, url

    async def call(self, name, arguments=None):
        """Return the MCP result that its client gets."""
        try:
            answer = await self._post(f"/tools/{name}", json.dumps(arguments or {}))
        except NotOk as exc:
            return {"content": [{"type": "text", "text": f"Error: {exc}"}], "isError": True}
        return {"content": [{"type": "text", "text": json.dumps(answer["result"], indent=2)}]}

    async def _post(self, path, body):
        headers = {"Content-Type": "application/json", "User-Agent": "node-fetch", "Accept": "*/*"}
        async with self.http.post(self.url + path, data=body, headers=headers) as response:
            if not 200 <= response.status < 300:
                raise NotOk(f"API Error: {response.status}")
            return await response.json(content_type=None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(session_redis):
    async with gateway_on(session_redis.url) as served:
        yield served


@pytest.fixture
def proxy(gateway):
    return OldProxy(gateway.http, gateway.url)


@pytest.fixture
def told(proxy):
    """Return what a call's text says, as the assistant behind the proxy reads it."""

    async def read(name, arguments=None):
        result = await proxy.call(name, arguments)
        assert "isError" not in result, result
        return json.loads(result["content"][0]["text"])

    return read


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("list_vms", "vms"),
        ("list_networks", "vnets"),
        ("list_tenants", "tenants"),
        ("list_nodes", "nodes"),
        ("get_cluster_status", "clusters"),
    ],
)
async def test_its_lists_name_what_there_is(told, sim, name, table):
    there = {row["$key"]: row["name"] for row in sim.world.db[table] if not row.get("is_snapshot")}
    listed = (await told(name))["items"]
    assert {row["id"] for row in listed} == set(there)
    assert all(row["name"] for row in listed)


async def test_get_vm_takes_the_id(told):
    assert (await told("get_vm", {"id": 34}))["name"] == "web-1"


async def test_get_alarms_names_what_is_wrong(told):
    assert {"critical", "error"} <= {alarm["level"] for alarm in (await told("get_alarms"))["items"]}


async def test_get_logs_takes_the_limit(told):
    assert len((await told("get_logs", {"limit": 20}))["items"]) == 20


async def test_power_on_vm_starts_it(told, sim):
    vm = sim.vm("test-vm")
    assert (await told("power_on_vm", {"id": vm.key}))["target"]["name"] == "test-vm"
    await eventually(lambda: sim.vm(vm.key).running)


async def test_power_off_vm_stops_it(told, sim):
    await told("power_off_vm", {"id": sim.vm("web-2").key})
    await eventually(lambda: not sim.vm("web-2").running)


async def test_reset_vm_starts_it_anew(told, sim):
    before = sim.vm("db-1").started
    await told("reset_vm", {"id": sim.vm("db-1").key})
    await eventually(lambda: sim.vm("db-1").started > before)


async def test_a_call_that_fails_is_an_error_with_its_status(proxy):
    result = await proxy.call("get_vm", {"id": 999_999})
    assert result == {"content": [{"type": "text", "text": "Error: API Error: 404"}], "isError": True}


# "Power off the VM named 'test-vm'", asked of an assistant behind the proxy, then of one that knows our names.


async def test_a_vm_is_powered_off_by_the_id_that_its_name_led_to(told, sim):
    vm = sim.vm("app-1").start()
    (found,) = [row for row in (await told("list_vms"))["items"] if row["name"] == "app-1"]
    await told("power_off_vm", {"id": found["id"]})
    await eventually(lambda: not sim.vm(vm.key).running)


async def test_a_vm_is_powered_off_by_its_name(told, sim):
    sim.vm("test-vm").start()
    await told("power_off_vm", {"id": "test-vm"})
    await eventually(lambda: not sim.vm("test-vm").running)
