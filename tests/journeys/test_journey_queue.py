"""The queue as callers see it: places, expected ends, lists by page, fair turns, a cap, and words while blind."""

import asyncio

import pytest
from inprocess import engine_settings, house

from gateway.core.access import LOCAL
from gateway.store.schedule import HEAD_START_SECONDS
from tests.conftest import eventually

LONG = {"wait_timeout": 600, "force_after_timeout": False}


@pytest.fixture
async def idle(sim, redis_url):
    """A gateway without a worker: what is asked of it stays queued until the test starts one."""
    async with house(sim, engine_settings(sim, redis_url), workers=0) as served:
        yield served


async def listed(gateway, **query):
    """Return the jobs of a list, and its headers."""
    answered = await gateway.get("/jobs", **query)
    assert answered.status == 200, answered.text
    return answered.body, answered.headers


# places


async def test_a_waiting_job_tells_who_goes_first_its_place_and_once_known_its_expected_end(idle):
    vm = idle.sim.vm("web-1")
    vm.guest_seconds = 2
    bodies = [{"cpu_cores": vm.cpu_cores + 1}, {"ram_mb": vm.ram_mb * 2}, {"ram_mb": vm.ram_mb * 3}]
    jobs = [await idle.accepted("PATCH", f"/vms/{vm.key}", body) for body in bodies]
    assert [job.get("position") for job in jobs] == [None, 2, 3]
    assert "expected_end_at" not in jobs[2]
    last = await idle.job(jobs[2]["id"])
    assert (last["waits_for"], last["position"]) == (jobs[0]["id"], 3)
    assert last["detail"] == f"waits for {LOCAL.name}'s modify_vm, job {jobs[0]['id']}"
    await idle.start_worker()
    for job in jobs:
        await idle.ended(job["id"])
    redis, keys = idle.services.jobs.redis, idle.services.keys
    assert len(await redis.lrange(keys.durations("resize"), 0, -1)) == 3
    assert await redis.ttl(keys.durations("resize")) > 0
    await redis.delete(keys.durations("resize"))
    await redis.lpush(keys.durations("resize"), 10, 20, 90)
    await redis.expire(keys.durations("resize"), 60)
    for worker in idle.workers:
        await worker.end()
    now = await idle.services.jobs.now()
    first, second = [
        await idle.accepted("PATCH", f"/vms/{vm.key}", {"cpu_cores": vm.cpu_cores + more}) for more in (3, 4)
    ]
    assert first["expected_end_at"] == pytest.approx(now + 20, abs=8)
    assert second["expected_end_at"] == pytest.approx(now + 40, abs=8)


# lists


async def test_jobs_are_listed_by_pages_of_a_cursor_each_once_newest_first_while_others_come_and_go(idle):
    made = [(await idle.power_off(idle.sim.vm(row["$key"]), **LONG))["id"] for row in running(idle.sim)[:7]]
    first, headers = await listed(idle, limit=3)
    assert headers["X-Total-Count"] == "7"
    assert "cursor=" in headers["Link"]
    assert "offset" not in headers["Link"]
    await idle.accepted("PATCH", "/vms/web-1", {"cpu_cores": 7})  # a newer one moves no page
    seen, path = [job["id"] for job in first], headers["Link"].split(">")[0].lstrip("<")
    while path is not None:
        answered = await idle.get(path)
        seen += [job["id"] for job in answered.body]
        path = answered.headers["Link"].split(">")[0].lstrip("<") if "Link" in answered.headers else None
    assert seen == made[::-1]
    by_offset = [job["id"] for offset in (1, 4, 7) for job in (await listed(idle, limit=3, offset=offset))[0]]
    assert by_offset == made[::-1]


def running(sim):
    return [row for row in sim.world.db["vms"] if not row.get("is_snapshot") and sim.vm(row["$key"]).running]


async def test_jobs_are_found_by_vm_caller_state_tool_and_time(idle):
    vms = [idle.sim.vm(row["$key"]).ignore_acpi() for row in running(idle.sim)[:3]]
    offs = [(await idle.power_off(vm, **LONG))["id"] for vm in vms]
    between = await idle.services.jobs.now()
    sized = (await idle.accepted("PATCH", f"/vms/{vms[0].key}", {"cpu_cores": 7}))["id"]
    await idle.call("POST", f"/jobs/{offs[2]}/cancel")
    await idle.start_worker()
    await idle.ended(offs[2])
    for query, expected in (
        ({"vm": vms[0].key}, [sized, offs[0]]),
        ({"vm": vms[1].name}, [offs[1]]),
        ({"vm": f"name:{vms[1].name}"}, [offs[1]]),
        ({"vm": 999_999}, []),
        ({"tool": "modify_vm"}, [sized]),
        ({"caller": LOCAL.name, "tool": "power_off_vm"}, offs[::-1]),
        ({"caller": "nobody"}, []),
        ({"state": "working"}, [sized, offs[1], offs[0]]),
        ({"state": "cancelled"}, [offs[2]]),
        ({"since": between}, [sized]),
        ({"until": between}, offs[::-1]),
        ({"vm": vms[0].key, "until": between}, [offs[0]]),
        ({"state": "working", "since": between}, [sized]),
    ):
        assert [job["id"] for job in (await listed(idle, **query))[0]] == expected, query
    for wrong in ({"cursor": "no-such-job"}, {"since": "yesterday"}, {"state": "dreaming"}):
        (await idle.get("/jobs", **wrong)).problem(400, "invalid_argument")


async def test_a_page_costs_a_bounded_number_of_records_and_goes_on_where_it_stopped(idle, monkeypatch):
    monkeypatch.setattr("gateway.store.job_pages.MOST_READ", 2)
    vms = [idle.sim.vm(row["$key"]) for row in running(idle.sim)[:5]]
    made = [(await idle.power_off(vm, **LONG))["id"] for vm in vms]
    await idle.accepted("PATCH", f"/vms/{vms[0].key}", {"cpu_cores": 7})
    found, cursor, pages = [], {}, 0
    while cursor is not None:
        answered = await idle.get("/jobs", tool="power_off_vm", **cursor)
        found, pages = found + [job["id"] for job in answered.body], pages + 1
        link = answered.headers.get("Link")
        cursor = {"cursor": link.split("cursor=")[1].split(">")[0]} if link else None
    assert found == made[::-1]
    assert pages == 3


# turns


async def test_one_callers_many_jobs_do_not_hold_up_anothers_one(idle):
    jobs, services = idle.services.jobs, idle.services
    vms = [row["$key"] for row in running(idle.sim)][:6]
    for key in vms[:5]:
        await idle.power_off(idle.sim.vm(key), **LONG)
    own = jobs.keys.open_of(LOCAL.name)
    assert await jobs.redis.scard(own) == 5
    await jobs.redis.sadd(own, *map(str, range(100)))  # a hundred more
    late = await idle.accepted("PATCH", f"/vms/{vms[0]}", {"cpu_cores": 7})
    await jobs.redis.delete(own)  # another caller, with none
    other = await idle.power_off(idle.sim.vm(vms[5]), **LONG)
    order = [raw.decode() for raw in await jobs.redis.zrange(jobs.keys.arq_queue, 0, -1)]
    assert order.index(other["id"]) < order.index(late["id"])
    assert order[-1] == late["id"]
    ready, lag = await services.jobs.due(await services.jobs.now())
    assert (ready, lag < HEAD_START_SECONDS / 2) == (7, True)


@pytest.fixture
async def capped(sim, redis_url):
    settings = engine_settings(sim, redis_url).model_copy(update={"jobs_open_per_caller": 3})
    async with house(sim, settings, workers=0) as served:
        yield served


async def test_a_caller_with_too_many_open_jobs_is_told_what_to_do_and_his_repeated_calls_still_count_as_one(capped):
    vms = [capped.sim.vm(row["$key"]) for row in running(capped.sim)[:5]]
    answers = await asyncio.gather(*(capped.call("POST", f"/vms/{vm.key}/poweroff", LONG) for vm in vms))
    assert sorted(answer.status for answer in answers) == [202, 202, 202, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    problem = refused.problem(429, "too_many_jobs")
    assert "list_jobs" in problem["next_step"]
    assert int(refused.headers["Retry-After"]) > 0
    accepted = [answer.body for answer in answers if answer.status == 202]
    same = await capped.call("POST", f"/vms/{accepted[0]['target']['id']}/poweroff", LONG)
    assert (same.status, same.body["id"]) == (202, accepted[0]["id"])
    await capped.call("POST", f"/jobs/{accepted[0]['id']}/cancel")
    await capped.start_worker()
    await capped.ended(accepted[0]["id"])
    left = next(vm for vm, answer in zip(vms, answers, strict=True) if answer.status == 429)
    assert (await capped.call("POST", f"/vms/{left.key}/poweroff", LONG)).status == 202


async def test_jobs_whose_records_were_lost_count_no_more(capped):
    jobs = capped.services.jobs
    await jobs.redis.sadd(jobs.keys.open_of(LOCAL.name), "gone-1", "gone-2", "gone-3")
    await capped.power_off(capped.sim.vm("web-1"), **LONG)
    assert await jobs.redis.scard(jobs.keys.open_of(LOCAL.name)) == 1


# words while blind


async def test_while_vergeos_is_away_lists_overview_and_health_tell_what_becomes_of_the_jobs(idle):
    held, unbegun = idle.sim.vm("web-1").ignore_acpi(), idle.sim.vm("web-2").start()
    first = await idle.power_off(held, **LONG)
    await idle.get("/overview")
    worker = await idle.start_worker()
    await idle.at(first["id"], phase="waiting")
    await worker.end()
    await idle.power_off(unbegun, **LONG)
    assert "X-Note" not in (await listed(idle))[1]
    idle.sim.down = True
    await idle.services.watching.lost_sight(await idle.services.jobs.now())
    words = (await idle.get("/health")).body["outage"]
    for part in ("site unreachable since ", "1 job held, nothing will be forced", "1 not yet begun expires at "):
        assert part in words
    assert words.endswith("and will not fire later")
    assert (await listed(idle))[1]["X-Note"] == words
    assert (await idle.call("POST", "/tools/list_jobs", {})).body["result"]["note"] == words
    assert (await idle.get("/overview")).body["outage"] == words
    idle.sim.down = False
    await idle.start_worker()
    await eventually(lambda: _seen(idle))
    assert "outage" not in (await idle.get("/health")).body


async def _seen(gateway):
    return await gateway.services.watching.blind_since() is None
