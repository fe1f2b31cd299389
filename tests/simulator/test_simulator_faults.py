"""Faults on demand, each over real HTTP."""

import asyncio
import json
import time

import aiohttp
import pytest

LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


async def test_latency_delays_the_answer(api, sim):
    sim.fault("latency", path="vms/34", seconds=0.2)
    began = time.monotonic()
    await api.get("vms/34")
    assert time.monotonic() - began >= 0.2
    assert sim.faults == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_an_http_status_comes_instead_of_the_effect(api, sim, status):
    sim.fault("status", method="POST", path="vm_actions", status=status)
    assert (await api.act(34, "poweroff"))[0] == status
    assert sim.actions == []


async def test_an_http_status_may_come_though_the_effect_took_place(api, sim):
    sim.fault("status", path="vm_actions", status=502, effect=True)
    assert (await api.act(34, "poweroff"))[0] == 502
    assert sim.power_actions(34) == ["poweroff"]


async def test_a_reset_before_the_effect_leaves_nothing(api, sim):
    sim.fault("reset_before", path="vm_actions")
    with pytest.raises(LOST):
        await api.act(34, "poweroff")
    assert sim.actions == []
    assert sim.requests["POST vm_actions"] == 1


async def test_a_reset_after_the_effect_hides_it(api, sim, until):
    sim.fault("reset_after", path="vm_actions")
    with pytest.raises(LOST):
        await api.act(34, "kill")
    assert sim.power_actions(34) == ["kill"]
    await until(lambda: not sim.vm(34).running)


@pytest.mark.parametrize("answer", ["504", "reset"])
async def test_an_effect_may_land_late(api, sim, until, answer):
    sim.fault("late", path="vm_actions", seconds=0.3, answer=answer)
    if answer == "reset":
        with pytest.raises(LOST):
            await api.act(34, "kill")
    else:
        assert (await api.act(34, "kill"))[0] == 504
    assert sim.actions == []
    assert sim.vm(34).running
    await until(lambda: sim.power_actions(34) == ["kill"])
    await until(lambda: not sim.vm(34).running)
    [action] = sim.actions
    assert action.effect_at - action.at > 0.34


async def test_a_hanging_request_is_never_answered(api, sim):
    sim.fault("hang", method="GET", path="vms/34")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await api.get("vms/34")
    assert (await api.get("vms/34"))["name"] == "web-1"


@pytest.mark.parametrize("body", ["html", "truncated", "empty", "huge"])
async def test_a_malformed_body_is_no_json_or_too_much_of_it(api, sim, body):
    sim.fault("malformed", path="vms/34", body=body)
    async with api.session.get(f"{sim.url}/api/v4/vms/34") as response:
        assert response.status == 200
        content = await response.read()
    if body == "huge":
        assert len(content) > 60_000_000
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(content)


async def test_faults_choose_by_method_path_body_count_and_skip(api, sim):
    fault = sim.fault("status", method="^POST$", path="/vm_actions", body_matches='"kill"', count=2, skip=1, status=503)
    asked = ("poweroff", "kill", "poweroff", "kill", "kill", "kill")
    outcomes = [(await api.act(34, action))[0] for action in asked]
    assert outcomes == [201, 201, 201, 503, 503, 201]
    assert fault.hits == 2


async def test_a_fault_with_probability_hits_some_requests_and_stays(api, sim):
    sim.fault("status", path="vms/34", count=None, probability=0.5, status=500)
    statuses = [(await api.ask("GET", "vms/34"))[0] for _ in range(60)]
    assert 10 < statuses.count(500) < 50
    sim.clear_faults()
    assert (await api.ask("GET", "vms/34"))[0] == 200


async def test_a_server_that_is_down_drops_connections_and_comes_back(api, sim):
    await api.get("vms/34")
    sim.down = True
    for _ in range(2):
        with pytest.raises(LOST):
            await api.get("vms/34")
    sim.down = False
    assert (await api.get("vms/34"))["name"] == "web-1"


async def test_time_goes_on_while_the_server_is_down(api, sim, until):
    await api.act(34, "kill")
    sim.down = True
    await until(lambda: not sim.vm(34).running)


async def test_above_the_modelled_rate_connections_are_dropped(start):
    api = await start(max_requests_per_second=20)
    with pytest.raises(LOST):
        await asyncio.gather(*(api.get("vms/34") for _ in range(60)))
    assert api.sim.requests["GET vms"] > 20


async def test_an_unknown_kind_of_fault_is_refused(sim):
    with pytest.raises(ValueError, match="unknown kind"):
        sim.fault("explode")
