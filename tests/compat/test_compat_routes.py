"""The predecessor's REST routes and curl lines: method, path, shape, and the rows that VergeOS has."""

import re
import shlex

import pytest
import pytest_asyncio

from tests.compat.promises import LISTS
from tests.compat.standing import gateway_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "vergeos-mcp.yourdomain.com"
SERVER = f"https://{HOST}"
MESSAGE = """
curl -X POST https://vergeos-mcp.yourdomain.com/message \
  -H "Content-Type: application/json" \
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(session_redis):
    async with gateway_on(session_redis.url, vms=60, allowed_hosts=HOST) as served:
        yield served


@pytest.fixture
def curl(gateway):
    """Send one of the document's lines as it arrives from curl through an ingress; return the JSON of its answer."""

    async def send(line):
        words = shlex.split(line)
        body = words[words.index("-d") + 1] if "-d" in words else None
        headers = {"Host": HOST, "Accept": "*/*", "User-Agent": "curl/8.5.0"}
        headers |= dict(words[at + 1].split(": ") for at, word in enumerate(words) if word == "-H")
        path = next(word for word in words if word.startswith(SERVER)).removeprefix(SERVER)
        method = "GET" if body is None else "POST"
        async with gateway.http.request(method, gateway.url + path, data=body, headers=headers) as response:
            assert response.status == 200
            return await response.json()

    return send


async def test_curl_health(curl):
    assert (await curl(f"curl {SERVER}/health"))["status"] == "ok"


async def test_curl_vms(curl):
    assert {"app-1", "db-1"} <= {vm["name"] for vm in await curl(f"curl {SERVER}/vms")}


async def test_curl_a_message_with_tools_list(curl):
    told = await curl(MESSAGE)
    assert (told["jsonrpc"], told["id"]) == ("2.0", 1)
    assert {"list_vms", "power_off_vm", "get_alarms"} <= {tool["name"] for tool in told["result"]["tools"]}


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_is_a_json_array_of_what_its_tool_answers_under_items(gateway, tool, path):
    answered = await gateway.get(path)
    assert (answered.status, answered.headers["Content-Type"]) == (200, "application/json")
    assert isinstance(answered.body, list)
    assert answered.body
    result = await tool(LISTS[path])
    assert answered.body[: len(result["items"])] == result["items"]
    assert int(answered.headers["X-Total-Count"]) == result["total"]


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/vms", "vms"),
        ("/networks", "vnets"),
        ("/tenants", "tenants"),
        ("/nodes", "nodes"),
    ],
)
async def test_a_list_has_every_object_by_id_and_no_snapshot(gateway, sim, path, table):
    rows = [row for row in sim.world.db[table] if not row.get("is_snapshot")]
    assert {row["id"] for row in (await gateway.get(path)).body} == {row["$key"] for row in rows}


async def test_what_a_list_leaves_out_is_reached_by_its_link(gateway, sim):
    found, link = [], "/vms"
    while link is not None:
        answered = await gateway.get(link)
        found += [vm["id"] for vm in answered.body]
        link = re.match('<(.+)>; rel="next"', answered.headers.get("Link", ""))
        link = link and link[1]
    assert sorted(found) == sorted(row["$key"] for row in sim.world.db["vms"] if not row.get("is_snapshot"))


async def test_the_alarms_are_those_that_nobody_silenced(gateway, sim):
    now = sim.world.db.now()
    active = [row["$key"] for row in sim.world.db["alarms"] if row.get("snooze", 0) <= now]
    assert {row["id"] for row in (await gateway.get("/alarms")).body} == set(active)


async def test_the_cluster_s_status_is_told_for_each_cluster(gateway, sim):
    told = {row["name"]: row["nodes_online"] for row in (await gateway.get("/cluster/status")).body}
    nodes = [row["cluster"] for row in sim.world.db["nodes"]]
    assert told == {row["name"]: nodes.count(row["$key"]) for row in sim.world.db["clusters"]}


async def test_one_vm_is_an_object_under_its_id(gateway, sim):
    vm = sim.vm("web-1")
    told = (await gateway.get(f"/vms/{vm.key}")).body
    wanted = {"id": vm.key, "name": "web-1", "running": True, "cpu_cores": vm.cpu_cores, "ram_mb": vm.ram_mb}
    assert wanted.items() <= told.items()


async def test_a_tool_is_run_by_its_name_with_or_without_a_body(tool):
    assert (await tool("get_vm", id=34))["name"] == "web-1"
    assert (await tool("list_nodes"))["total"] > 0


@pytest.mark.parametrize(
    ("path", "body"), [("/vms/999999", None), ("/tools/get_vm", {"id": 999_999}), ("/tools/format_disk", {})]
)
async def test_what_there_is_not_is_no_success(gateway, path, body):
    answered = await gateway.call("GET" if body is None else "POST", path, body)
    answered.problem(404, answered.body["code"])


async def test_the_logs_take_their_limit_in_the_query(gateway):
    assert len((await gateway.get("/logs", limit=20)).body) == 20


async def test_the_vms_take_their_filters_in_the_query(gateway):
    off = (await gateway.get("/vms", running="false")).body
    assert "test-vm" in {row["name"] for row in off}
    assert not any(row["running"] for row in off)
    assert [row["name"] for row in (await gateway.get("/vms", name="TEST-V")).body] == ["test-vm"]
