"""Reads by the contract, over every face and over two gateways: one request for all, fresh after one's own job."""

import asyncio
import json
import time

import pytest

from gateway.calls import run
from gateway.transports import mcp_ready
from tests.conftest import AT_ONCE_SECONDS, eventually, fast_settings
from tests.journeys.inprocess import house

MODERN = "2026-07-28"
ACCEPT = {"Accept": "application/json, text/event-stream"}
STATELESS = ACCEPT | {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call"}
ENVELOPE = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
META = "vergeos-gateway/"


@pytest.fixture
async def pair(sim, redis_url):
    """Two gateways on one Redis, with one worker."""
    settings = fast_settings(sim.url, redis_url)
    async with house(sim, settings) as one, house(sim, settings, workers=0) as other:
        yield one, other


@pytest.fixture
async def alone(sim, redis_url):
    async with house(sim, fast_settings(sim.url, redis_url, stale_seconds=60), workers=0) as served:
        yield served


def asked(tool, arguments, id=1, **meta):
    params = {"name": tool, "arguments": arguments} | ({"_meta": meta} if meta else {})
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


async def stateless(served, tool, arguments, id=1, **meta):
    body = asked(tool, arguments, id, **ENVELOPE, **meta)
    return (await served.call("POST", "/mcp", body, STATELESS | {"Mcp-Name": tool})).body


async def session(served):
    """Begin a session; return a function that calls a tool in it."""
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": info}
    opened = await served.call("POST", "/mcp", begin, ACCEPT)
    headers = ACCEPT | {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}

    async def use(_served, tool, arguments, id=1, **meta):
        return (await served.call("POST", "/mcp", asked(tool, arguments, id, **meta), headers)).body

    return use


def ageless(reply):
    """Return a reply's result without its age."""
    result = json.loads(json.dumps(reply["result"]))
    assert result["_meta"].pop(f"{META}age_ms") >= 0
    return result


async def test_a_thousand_cold_reads_at_once_on_two_gateways_are_one_request(pair, sim):
    sim.reset_counts()
    answers = await asyncio.gather(*(served.get("/vms") for served in pair for _ in range(500)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sim.requests["GET vms"] == 1


async def test_every_face_tells_when_how_old_and_from_where(alone):
    for served in ("live", "cache"):
        answer = await alone.get("/networks")
        assert answer.headers["X-Source"] == served
        assert abs(float(answer.headers["X-As-Of"]) + int(answer.headers["Age"]) - time.time()) < 5
    called = (await alone.call("POST", "/tools/list_networks", {})).body
    over_mcp = (await stateless(alone, "list_networks", {}))["result"]["_meta"]
    for told in (called, {name.removeprefix(META): value for name, value in over_mcp.items()}):
        assert told["source"] == "cache"
        assert abs(told["as_of"] + told["age_ms"] / 1_000 - time.time()) < 5
    jobs = (await alone.call("POST", "/tools/list_jobs", {})).body
    assert jobs["source"] == "live"


@pytest.mark.parametrize("how", [{"max_age": 0}, {"headers": {"Cache-Control": "no-cache"}}, {"max_age": "0.0"}])
async def test_who_wants_it_live_gets_it_live(alone, sim, how):
    await alone.get("/vms")
    before = sim.requests["GET vms"]
    answer = await alone.call("GET", "/vms", **how)
    assert answer.headers["X-Source"] == "live"
    assert sim.requests["GET vms"] == before + 1


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "soon"])
async def test_an_age_that_is_none_is_refused(alone, wrong):
    (await alone.get("/vms", max_age=wrong)).problem(400, "invalid_argument")


async def test_an_age_that_is_young_enough_is_served_from_memory(alone, sim):
    await alone.get("/vms")
    before = sim.requests["GET vms"]
    for how in ({"max_age": 20}, {"headers": {"Cache-Control": "max-age=20"}}):
        assert (await alone.call("GET", "/vms", **how)).headers["X-Source"] == "cache"
    assert sim.requests["GET vms"] == before


@pytest.mark.parametrize("door", ["stateless", "session"])
async def test_a_reply_that_is_ready_is_the_one_that_the_kernel_made(alone, sim, monkeypatch, door):
    call, made = stateless if door == "stateless" else await session(alone), []
    monkeypatch.setattr("gateway.calls.run", lambda *args: made.append(1) or run(*args))
    for tool, arguments in (("list_vms", {"limit": 3}), ("get_vm", {"id": "web-1"})):
        made.clear()
        replies = [await call(alone, tool, arguments, number) for number in (1, 2, "three", 4)]
        assert len(made) <= 2, "the live answer, and the first from the cache"
        assert [reply["id"] for reply in replies] == [1, 2, "three", 4]
        assert len({json.dumps(ageless(reply), sort_keys=True) for reply in replies[1:]}) == 1
        assert (await call(alone, tool, arguments, 5, progressToken="p"))["result"]["isError"] is False
        assert len(made) <= 2
    sim.vm("web-1").rename("web-one")
    await alone.get("/vms", max_age=0)
    assert "web-one" in json.dumps(await call(alone, "list_vms", {"name": "web-one"}))
    assert "web-one" in json.dumps(await call(alone, "list_vms", {"name": "web-one"}))


@pytest.mark.parametrize("door", ["stateless", "session"])
async def test_what_is_wrong_stays_wrong_after_the_right_call_was_answered(alone, door):
    call = stateless if door == "stateless" else await session(alone)
    for _ in range(3):
        assert (await call(alone, "list_vms", {"limit": 3}))["result"]["isError"] is False
    assert (await call(alone, "list_vms", {"limit": 3}, progressToken=[1]))["error"]["code"] == -32602
    assert (await call(alone, "list_vms", {"limit": 5000}))["result"]["isError"] is True
    other = await alone.call(
        "POST", "/mcp?tools=get_vm", asked("list_vms", {"limit": 3}, **ENVELOPE), {**STATELESS, "Mcp-Name": "list_vms"}
    )
    assert other.body["error"]["message"] == "Unknown tool: list_vms"


async def test_known_calls_never_grow_without_end(alone, monkeypatch):
    monkeypatch.setattr(mcp_ready, "CALLS_KNOWN", 3)
    for _ in range(2):
        for limit in range(1, 9):
            assert len((await stateless(alone, "list_vms", {"limit": limit}))["result"]["structuredContent"]["items"])


async def test_who_ended_a_job_reads_what_it_did_on_either_gateway(pair, sim):
    one, other = pair
    vm = sim.vm("web-1")
    if not vm.running:
        vm.start()
    for served in pair:
        for path in ("/vms", f"/vms/{vm.key}", f"/vms/{vm.key}/status"):
            await served.get(path)
            await served.get(path)
    job = await one.ended((await one.power_off(vm, wait_timeout=1, force_after_timeout=True))["id"])
    assert job["state"] == "completed"
    assert (await other.job(job["id"]))["state"] == "completed"
    for served in pair:
        (listed,) = [row for row in (await served.get("/vms")).body if row["id"] == vm.key]
        assert listed["running"] is False
        assert (await served.get(f"/vms/{vm.key}")).body["running"] is False
        assert (await served.get(f"/vms/{vm.key}/status")).body["running"] is False


async def test_a_site_that_is_away_is_told_by_stale_answers_and_then_by_since_when(alone, sim, redis):
    await alone.get("/vms")
    sim.down = True
    name = alone.services.keys.view("vms")

    async def ages(seconds):
        reader = alone.services.views._vms
        reader._memo.asked_at -= seconds
        await redis.hincrbyfloat(name, "as_of", -seconds)

    await ages(40)
    stale = await alone.get("/vms")
    assert stale.headers["X-Source"] == "stale"
    assert stale.headers["X-Older-Because"]
    over_mcp = (await stateless(alone, "list_vms", {}))["result"]["_meta"]
    assert over_mcp[f"{META}source"] == "stale"
    assert over_mcp[f"{META}older_because"]
    await ages(40)
    gone = await alone.get("/vms")
    problem = gone.problem(503, gone.body["code"])
    assert gone.body["code"] in {"vergeos_dropped", "vergeos_circuit_open"}
    assert abs(problem["since"] - time.time()) < 30
    assert "cannot be asked since" in problem["detail"]
    assert int(gone.headers["Retry-After"]) >= 1
    sim.down = False

    async def back():
        return (await alone.get("/vms")).headers.get("X-Source") == "live"

    await eventually(back)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "status", "status": 500}, "vergeos_bad_answer"),
        ({"kind": "status", "status": 504}, "vergeos_busy"),
        ({"kind": "malformed", "body": "html"}, "vergeos_bad_answer"),
        ({"kind": "status", "status": 401}, "vergeos_unauthorized"),
    ],
)
async def test_whatever_keeps_vergeos_from_telling_is_503_with_since_when_on_every_face(alone, sim, fault, code):
    sim.fault(**fault, path="/api/v4/vms", count=None)
    told = [(await alone.get(path)).problem(503, code) for path in ("/vms", "/vms/web-1")]
    answer = await alone.get("/vms")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    over_mcp = (await stateless(alone, "list_vms", {}))["result"]
    assert over_mcp["isError"]
    told.append(over_mcp["_meta"][f"{META}problem"])
    for problem in told:
        assert abs(problem["since"] - time.time()) < 30
        assert "cannot be asked since" in problem["detail"]
        assert problem["next_step"]
    assert told[-1]["retry_after"] > 0


async def test_a_reader_is_not_held_up_by_a_writers_job(pair, sim):
    served, _ = pair
    vm = sim.vm("web-1")
    vm.ignore_acpi()
    job = await served.power_off(vm, wait_timeout=600)
    await served.at(job["id"], phase="waiting")
    for path in ("/vms", f"/vms/{vm.key}", "/networks"):
        assert (await asyncio.wait_for(served.get(path), AT_ONCE_SECONDS)).status == 200
    await served.call("POST", f"/jobs/{job['id']}/cancel")


async def test_a_name_that_nobody_has_costs_one_look_for_all_who_try_it(alone, sim):
    await alone.get("/vms")
    asked = sim.requests["GET vms"]
    answers = await asyncio.gather(*(alone.get("/vms/no-such-vm") for _ in range(10)))
    answers += [await alone.get(f"/vms/no-such-vm{path}") for path in ("", "/status", "/drives")]
    for answer in answers:
        answer.problem(404, "not_found")
    assert sim.requests["GET vms"] == asked + 1


async def test_reads_come_live_while_a_jobs_request_to_vergeos_hangs(pair, sim):
    served, other = pair
    vm = sim.vm("web-1")
    if not vm.running:
        vm.start()
    await served.get("/vms")
    hangs = sim.fault("hang", method="POST", path="vm_actions", count=None)
    job = await served.accepted("POST", f"/vms/{vm.key}/forceoff")
    await eventually(lambda: hangs.hits)
    for gateway in (served, other):
        for path in ("/vms", f"/vms/{vm.key}", f"/vms/{vm.key}/status"):
            answer = await asyncio.wait_for(gateway.get(path, max_age=0), AT_ONCE_SECONDS)
            assert (answer.status, answer.headers["X-Source"]) == (200, "live")
    assert (await other.job(job["id"]))["state"] == "working"
    sim.clear_faults()
    assert (await served.ended(job["id"]))["state"] == "completed"
