"""What a job's record tells afterwards: who, with what, what was sent to VergeOS, what changed, and every event."""

import orjson
import pytest
from inprocess import engine_settings, house
from mcp import Client

from gateway.core.access import LOCAL
from gateway.store.keys import JOB_CALLS_KEPT


@pytest.fixture
async def gateway(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url)) as served:
        yield served


async def told(gateway, job_id):
    """Return a job's details once it has ended."""
    await gateway.ended(job_id)
    return (await gateway.get(f"/jobs/{job_id}", details="true")).body["details"]


def sent(details):
    return [f"{call['method']} {call['endpoint']}" for call in details["calls"]]


async def test_the_record_of_a_resize_tells_it_all_from_the_caller_to_the_last_event(gateway):
    vm = gateway.sim.vm("web-1")
    vm.guest_seconds, cores = 1.0, vm.cpu_cores
    body = {"cpu_cores": cores + 1, "shutdown_if_running": True, "wait_timeout": 60}
    job = await gateway.accepted("PATCH", f"/vms/{vm.key}", body, {"User-Agent": "night-script/2"})
    details = await told(gateway, job["id"])
    assert (details["face"], details["client"], details["uuid"]) == ("rest", "night-script/2", vm.uuid)
    assert details["arguments"]["id"] == vm.key
    assert details["arguments"]["cpu_cores"] == cores + 1
    assert [act["action"] for act in details["acts"]] == ["set_size", "poweroff", "poweron"]
    assert all(act["answered_at"] >= act["intended_at"] for act in details["acts"])
    assert (details["before"]["cpu_cores"], details["after"]["cpu_cores"]) == (cores, cores + 1)
    assert (details["before"]["running"], details["after"]["running"]) == (True, True)
    writes = [call for call in sent(details) if not call.startswith("GET")]
    assert writes == [f"PUT vms/{vm.key}", "POST vm_actions", "POST vm_actions"]
    assert {call["outcome"] for call in details["calls"]} == {"ok"}
    times = [call["at"] for call in details["calls"]]
    assert times == sorted(times)
    assert job["created_at"] - 1 <= times[0] <= times[-1] <= details["updated_at"] + 1
    events = details["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["detail"], events[-1]["state"]) == ("accepted", "completed")


async def test_a_jobs_short_view_stays_short(gateway):
    job = await gateway.power_off(gateway.sim.vm("web-1"), wait_timeout=60)
    assert "details" not in await gateway.ended(job["id"])
    assert all("details" not in listed for listed in (await gateway.get("/jobs")).body)


async def test_requests_that_failed_and_a_cancel_stand_in_the_record_and_no_secret_does(gateway):
    vm = gateway.sim.vm("web-1").ignore_acpi()
    gateway.sim.fault("status", method="POST", path="vm_actions", status=500)
    job = await gateway.power_off(vm, wait_timeout=600)
    await gateway.at(job["id"], phase="waiting")
    await gateway.call("POST", f"/jobs/{job['id']}/cancel")
    details = await told(gateway, job["id"])
    posts = [call["outcome"] for call in details["calls"] if call["method"] == "POST"]
    assert posts[0] != "ok"
    assert posts[-1] == "ok"
    assert details["cancelled_by"] == LOCAL.name
    assert "demo" not in orjson.dumps(details).decode()  # the key of the simulator


async def test_a_model_is_told_the_details_as_well(gateway):
    job = await gateway.power_off(gateway.sim.vm("web-1"), wait_timeout=60)
    await gateway.ended(job["id"])
    async with Client(f"{gateway.url}/mcp") as client:
        result = await client.call_tool("get_job", {"id": job["id"], "details": True})
    text = "".join(part.text for part in result.content)
    assert result.structured_content["details"]["face"] == "rest"
    for part in ("calls:", "events:", "acts:", "POST", "vm_actions"):
        assert part in text
    assert len(text) / 4 <= 2_000


async def test_the_requests_that_are_kept_are_bounded_and_live_as_long_as_the_job(gateway):
    jobs = gateway.services.jobs
    job = await gateway.power_off(gateway.sim.vm("web-1"), wait_timeout=60)
    details = await told(gateway, job["id"])
    known = await jobs.calls(job["id"])
    assert len(known) == len(details["calls"])
    await jobs.note_calls(job["id"], known * JOB_CALLS_KEPT)
    assert len(await jobs.calls(job["id"])) == JOB_CALLS_KEPT
    assert 0 < await jobs.redis.ttl(jobs.keys.job_calls(job["id"])) <= jobs.record_seconds
