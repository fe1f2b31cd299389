"""A newer version's jobs met by older processes: left alone, kept in their order, never doubled; then carried out."""

import orjson
import pytest
from inprocess import engine_settings, house

from tests.conftest import eventually
from worker.sweeper import sweep

KEY = {"Idempotency-Key": "a-key-of-my-own"}
NEWER = {
    "a higher version": lambda record: record | {"version": record["version"] + 1},
    "an unknown kind": lambda record: record | {"wish": {"kind": "teleport", "to": "the moon"}},
    "an unknown part of a wish": lambda record: record | {"wish": record["wish"] | {"gently": True}},
    "an unknown phase": lambda record: record | {"phase": "dreaming"},
}


@pytest.fixture
async def idle(sim, redis_url):
    async with house(sim, engine_settings(sim, redis_url), workers=0) as served:
        yield served


async def rewritten(gateway, job_id, change):
    """Let a newer version have written the job; return the record as it was."""
    jobs = gateway.services.jobs
    before = await jobs.redis.hget(jobs.keys.job(job_id), "record")
    await jobs.redis.hset(jobs.keys.job(job_id), "record", orjson.dumps(change(orjson.loads(before))))
    return before


async def tried(gateway, job_id, times=3):
    """Wait until a worker has put the job back so many times."""
    jobs, seen = gateway.services.jobs, set()

    async def put_back():
        seen.add(await jobs.redis.zscore(jobs.keys.arq_queue, job_id))
        return len(seen) > times

    await eventually(put_back)


@pytest.mark.parametrize("newer", NEWER)
async def test_a_job_of_a_newer_version_is_neither_eaten_nor_ended_nor_swept_nor_passed(idle, newer):
    vm, other = idle.sim.vm("web-1"), idle.sim.vm("web-2").start()
    first = await idle.power_off(vm, KEY, wait_timeout=60)
    behind = await idle.accepted("PATCH", f"/vms/{vm.key}", {"cpu_cores": vm.cpu_cores + 1})
    before = await rewritten(idle, first["id"], NEWER[newer])
    jobs = idle.services.jobs
    stored = await jobs.redis.hgetall(jobs.keys.job(first["id"]))
    await idle.start_worker()
    await tried(idle, first["id"])
    await sweep(idle.working)
    elsewhere = await idle.power_off(other, wait_timeout=60)
    assert (await idle.ended(elsewhere["id"]))["state"] == "completed"
    assert await jobs.redis.hgetall(jobs.keys.job(first["id"])) == stored
    assert await jobs.redis.exists(f"arq:job:{first['id']}")
    assert await jobs.redis.zscore(jobs.keys.active, first["id"]) is not None
    assert (await idle.job(behind["id"]))["waits_for"] == first["id"]
    assert vm.power_actions() == []

    await jobs.redis.hset(jobs.keys.job(first["id"]), "record", before)  # the newer worker comes
    assert [(await idle.ended(job["id"]))["state"] for job in (first, behind)] == ["completed", "completed"]
    assert vm.power_actions() == ["poweroff"]


async def test_callers_of_an_older_gateway_are_told_to_come_back_and_make_no_second_job(idle):
    vm = idle.sim.vm("web-1")
    body = {"wait_timeout": 60}
    keyed = await idle.power_off(vm, KEY, **body)
    plain = await idle.power_off(idle.sim.vm("web-2"), **body)
    for job in (keyed, plain):
        await rewritten(idle, job["id"], NEWER["an unknown kind"])
    for method, path, sent, headers in (
        ("GET", f"/jobs/{keyed['id']}", None, None),
        ("GET", f"/jobs/{keyed['id']}/events", None, None),
        ("POST", f"/jobs/{keyed['id']}/cancel", None, None),
        ("POST", f"/jobs/{keyed['id']}/input", {"answer": True}, None),
        ("POST", f"/vms/{vm.key}/poweroff", body, KEY),
        ("POST", "/vms/web-2/poweroff", body, None),
        ("POST", "/vms/web-2/poweron", {"after": plain["id"]}, None),
    ):
        answered = await idle.call(method, path, sent, headers)
        answered.problem(503, "newer_record")
        assert int(answered.headers["Retry-After"]) > 0
    assert (await idle.get("/jobs")).status == 200
    assert await idle.services.jobs.redis.zcard(idle.services.jobs.keys.jobs) == 2


async def test_what_a_newer_version_notes_beside_is_kept_by_an_older_worker(idle):
    job = await idle.power_off(idle.sim.vm("web-1"), wait_timeout=60)
    await rewritten(idle, job["id"], lambda record: record | {"mood": "calm"})
    await idle.start_worker()
    assert (await idle.ended(job["id"]))["state"] == "completed"
    jobs = idle.services.jobs
    assert orjson.loads(await jobs.redis.hget(jobs.keys.job(job["id"]), "record"))["mood"] == "calm"
