"""A job's events as a stream: replay, resume, end."""

import asyncio

import orjson
import pytest
from rest_fixtures import house, problem

from gateway.core.job import Phase
from tests.conftest import PATIENCE_SECONDS


@pytest.fixture
async def lamps():
    async with house() as served:
        yield served


async def blocks(answer, count=None):
    """Return the stream's blocks as dicts of their fields, all of them or the first `count`."""
    found = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while count is None or len(found) < count:
            block = (await answer.content.readuntil(b"\n\n")).decode() if not answer.content.at_eof() else ""
            if not block:
                break
            found.append(dict(line.split(": ", 1) for line in block.strip("\n").split("\n")))
    return found


async def events(answer, count=None):
    """Return the stream's events, all of them or the first `count`, as (id, event, data)."""
    found = [block for block in await blocks(answer, None if count is None else count + 1) if "data" in block]
    return [(int(block["id"]), block["event"], orjson.loads(block["data"])) for block in found]


async def test_a_stream_tells_everything_from_the_start_and_ends_with_the_job(lamps):
    job_id = await lamps.new_job()
    await lamps.step(job_id, phase=Phase.ASKED, detail="asked")
    await lamps.complete(job_id)
    answer = await lamps.get(f"/jobs/{job_id}/events")
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    assert (answer.headers["X-Accel-Buffering"], answer.headers["Cache-Control"]) == ("no", "no-store")
    told = await events(answer)
    assert [(seq, name) for seq, name, _ in told] == [(1, "working"), (2, "working"), (3, "completed")]
    assert (told[1][2]["phase"], told[2][2]["result"]) == ("asked", {"lit": False})
    assert told[2][2]["job_id"] == job_id


async def test_a_stream_tells_what_happens_while_it_is_open(lamps):
    job_id = await lamps.new_job()
    answer = await lamps.get(f"/jobs/{job_id}/events")
    assert [seq for seq, *_ in await events(answer, 1)] == [1]
    await lamps.step(job_id, phase=Phase.WAITING, detail="waits")
    await lamps.fail(job_id)
    told = await events(answer)
    assert [(seq, name) for seq, name, _ in told] == [(2, "working"), (3, "failed")]
    assert told[1][2]["problem"]["code"] == "stuck"


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_reader_who_comes_back_gets_what_came_after(lamps, how):
    job_id = await lamps.new_job()
    await lamps.step(job_id, detail="asked")
    await lamps.complete(job_id)
    if how == "header":
        answer = await lamps.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": "2"})
    else:
        answer = await lamps.get(f"/jobs/{job_id}/events?last_event_id=2")
    assert [seq for seq, *_ in await events(answer)] == [3]


@pytest.mark.parametrize("last", ["2", "3"])
async def test_a_reader_who_has_the_last_event_is_sent_away_for_good(lamps, last):
    job_id = await lamps.new_job()
    await lamps.complete(job_id)
    answer = await lamps.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert (answer.status, await answer.read()) == (204, b"")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "٣", "9" * 13])
async def test_an_id_that_no_event_has_is_refused(lamps, last):
    job_id = await lamps.new_job()
    answer = await lamps.get(f"/jobs/{job_id}/events", params={"last_event_id": last})
    assert "Last-Event-ID" in (await problem(answer, 400, "invalid_argument"))["detail"]


async def test_an_unknown_job_has_no_stream(lamps):
    await problem(await lamps.get("/jobs/none/events"), 404, "job_not_found")


async def test_a_stream_has_no_head(lamps):
    job_id = await lamps.new_job()
    assert (await lamps.head(f"/jobs/{job_id}/events")).status == 405


async def test_a_silent_stream_pings():
    async with house(ping_seconds=0.02) as served:
        job_id = await served.new_job()
        answer = await served.get(f"/jobs/{job_id}/events")
        assert await blocks(answer, 1) == [{"retry": "1000"}]
        assert (await blocks(answer, 1))[0]["id"] == "1"
        assert await blocks(answer, 2) == [{"": "ping"}, {"": "ping"}]
        await served.complete(job_id)
        assert (await blocks(answer))[-1]["event"] == "completed"


async def test_a_stream_ends_at_once_when_the_process_stops(lamps):
    job_id = await lamps.new_job()
    answer = await lamps.get(f"/jobs/{job_id}/events")
    await events(answer, 1)
    lamps.services.closing.set()
    assert await events(answer) == []
    await lamps.followed(0)


async def test_a_stream_ends_when_redis_goes_so_that_its_reader_comes_back(lamps):
    job_id = await lamps.new_job()
    answer = await lamps.get(f"/jobs/{job_id}/events")
    await events(answer, 1)
    lamps.services.feed.let_go()  # what the feed does to all when it loses Redis
    assert await events(answer) == []


async def test_a_reader_who_leaves_is_forgotten():
    async with house(ping_seconds=0.02) as served:
        job_id = await served.new_job()
        answer = await served.get(f"/jobs/{job_id}/events")
        await events(answer, 1)
        await served.followed(1)
        answer.close()
        await served.followed(0)


LARGE = "x" * 200_000  # a few of these fill every buffer between gateway and client


async def test_a_reader_who_falls_behind_is_told_so_and_resumes_while_others_hear_everything(lamps, monkeypatch):
    monkeypatch.setattr("gateway.store.events.QUEUE_LENGTH", 8)
    job_id = await lamps.new_job()
    slow, quick = [await lamps.get(f"/jobs/{job_id}/events") for _ in range(2)]
    listening = asyncio.create_task(blocks(quick))
    for _ in range(80):
        await lamps.step(job_id, detail=LARGE)
    await lamps.complete(job_id)
    heard = [block for block in await listening if "id" in block]
    assert [int(block["id"]) for block in heard] == list(range(1, 83))
    late = await blocks(slow)
    assert late[-1]["event"] == "dropped"
    assert "come back" in late[-1]["data"]
    last = int(late[-2]["id"])
    assert last < 82
    again = await lamps.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(last)})
    assert [seq for seq, *_ in await events(again)] == list(range(last + 1, 83))


async def test_a_reader_who_takes_nothing_at_all_is_cut_off(monkeypatch):
    monkeypatch.setattr("gateway.transports.events.WRITE_SECONDS", 0.2)
    async with house() as served:
        job_id = await served.new_job()
        stuck = await served.get(f"/jobs/{job_id}/events")
        for _ in range(80):
            await served.step(job_id, detail=LARGE)
        await served.followed(0)
        stuck.close()


async def test_redis_away_is_told_before_a_stream_begins(lamps):
    lamps.redis.connected = False
    away = await lamps.get("/jobs/any/events")
    await problem(away, 503, "store_unavailable")
    assert away.headers["Retry-After"] == "5"
