"""Following a job from the front door: waiting for its end, its events live and replayed, what its end promises."""

import asyncio
import json
import random

import pytest
from inprocess import FINAL, engine_settings, house

from tests.conftest import AT_ONCE_SECONDS, eventually

LONG = {"wait_timeout": 600, "force_after_timeout": False}


@pytest.fixture
def settings(sim, redis_url):
    return engine_settings(sim, redis_url)


async def test_wait_answers_the_finished_job_and_a_wait_that_is_too_short_answers_its_present_state(gateway):
    vm = gateway.sim.vm("web-1")
    done = await gateway.call("POST", f"/vms/{vm.key}/poweroff?wait=20", {"wait_timeout": 60})
    assert (done.status, done.body["state"]) == (200, "completed")
    vm = gateway.sim.vm("web-2").ignore_acpi()
    open_still = await gateway.call("POST", f"/vms/{vm.key}/poweroff?wait=0.3", LONG)
    assert (open_still.status, open_still.body["state"]) == (202, "working")
    waiting = asyncio.create_task(gateway.get(f"/jobs/{open_still.body['id']}", wait=20))
    await eventually(lambda: gateway.services.feed.followers)
    vm.stop()
    assert (await waiting).body["result"]["running"] is False


async def test_every_wait_is_answered_when_it_is_over(idle):
    job = await idle.power_off(idle.sim.vm("web-1"))
    for _ in range(200):
        async with asyncio.timeout(AT_ONCE_SECONDS):
            answered = await idle.get(f"/jobs/{job['id']}", wait=round(random.uniform(0.0001, 0.004), 5))
        assert answered.body["state"] == "working"


async def events(gateway, job_id, after=None):
    """Return status and events of a job's stream, read to its end."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with gateway.http.get(f"{gateway.url}/jobs/{job_id}/events", headers=headers) as response:
        text = await response.text()
    return response.status, [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_events_are_whole_and_in_order_live_and_replayed_from_any_point(gateway):
    vm = gateway.sim.vm("web-1")
    job = await gateway.power_off(vm, wait_timeout=60)
    status, live = await events(gateway, job["id"])
    assert status == 200
    assert [event["seq"] for event in live] == list(range(1, len(live) + 1))
    assert [event["state"] for event in live][-1] == "completed"
    assert [event.get("phase") for event in live][:-1] == ["queued", "asked", "waiting"]
    for after in range(len(live)):
        assert (await events(gateway, job["id"], after))[1] == live[after:]
    assert await events(gateway, job["id"], len(live)) == (204, [])


async def test_a_reader_hears_of_the_end_only_when_the_lists_show_it(gateway):
    vm = gateway.sim.vm("web-1")
    assert (await gateway.get("/vms/web-1")).body["running"] is True
    job = await gateway.power_off(vm, wait_timeout=60)
    await events(gateway, job["id"])
    listed = {row["name"]: row["running"] for row in (await gateway.get("/vms")).body}
    assert (listed["web-1"], (await gateway.get("/vms/web-1")).body["running"]) == (False, False)
    assert (await gateway.get("/vms/web-1/status")).body["running"] is False


async def test_a_gateway_that_stops_answers_every_waiting_call(sim, settings):
    async with house(sim, settings, workers=0) as gateway:
        job = await gateway.power_off(sim.vm("web-1"))
        waiting = asyncio.create_task(gateway.get(f"/jobs/{job['id']}", wait=40))
        await eventually(lambda: gateway.services.feed.followers)
        gateway.services.closing.set()
        async with asyncio.timeout(AT_ONCE_SECONDS):
            answered = await waiting
        assert answered.status == 200
        assert answered.body["state"] not in FINAL
