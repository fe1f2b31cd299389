"""Jobs over REST: 202 and 200, waiting, idempotency keys, the answer to a question."""

import asyncio

import pytest
from rest_fixtures import house, problem, told

from gateway.core.access import Caller, Permission
from gateway.core.job import JobState
from tests.conftest import AT_ONCE_SECONDS


@pytest.fixture
async def lamps():
    async with house() as served:
        yield served


@pytest.mark.parametrize("path", ["/lamps/1/off", "/tools/lamp_off"])
async def test_a_job_that_goes_on_answers_202_with_its_address(lamps, path):
    answer = await lamps.post(path, json={"id": 1})
    body = await told(answer, 202)
    job = body.get("result", body)
    assert (job["state"], job["phase"], job["tool"]) == ("working", "queued", "lamp_off")
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    shown = await lamps.get(answer.headers["Location"])
    assert (await told(shown, 200))["id"] == job["id"]
    assert "Location" not in shown.headers


@pytest.mark.parametrize("ends", ["complete", "fail"])
async def test_a_job_that_ends_within_the_wait_answers_200(lamps, ends):
    job_id = await lamps.new_job()
    waiting = asyncio.create_task(lamps.post("/lamps/1/off?wait=20"))  # the same wish: the same job
    await lamps.followed()
    await getattr(lamps, ends)(job_id)
    async with asyncio.timeout(AT_ONCE_SECONDS):
        answer = await waiting
    job = await told(answer, 200)
    assert (job["id"], job["state"]) == (job_id, "completed" if ends == "complete" else "failed")
    assert answer.headers["Location"] == f"/jobs/{job_id}"


async def test_a_wait_that_is_too_short_answers_202(lamps):
    assert (await lamps.post("/lamps/1/off?wait=0.05")).status == 202


async def test_a_waiting_call_is_answered_at_once_when_the_process_stops(lamps):
    waiting = asyncio.create_task(lamps.post("/tools/lamp_off?wait=40", json={"id": 1}))
    await lamps.followed()
    lamps.services.closing.set()
    async with asyncio.timeout(AT_ONCE_SECONDS):
        assert (await waiting).status == 202


@pytest.mark.parametrize("wait", ["-1", "45.1", "nan", "inf", "soon", "", "1&wait=2"])
async def test_a_wait_out_of_bounds_is_refused_before_anything_is_done(lamps, wait):
    wrong = await problem(await lamps.post(f"/lamps/1/off?wait={wait}"), 400, "invalid_argument")
    assert wrong["detail"] == "wait: must be one number of seconds from 0 to 45"
    assert await lamps.services.jobs.open_on("vm:1") == []


async def test_a_tool_that_declares_wait_itself_gets_it(lamps):
    job_id = await lamps.new_job()
    assert (await lamps.get(f"/jobs/{job_id}?wait=0")).status == 200
    wrong = await problem(await lamps.get(f"/jobs/{job_id}?wait=46"), 400, "invalid_argument")
    assert wrong["detail"].startswith("show_job: wait: ")
    assert (await lamps.post(f"/tools/show_job?wait={1}", json={"id": job_id})).status == 400


async def test_a_tool_that_makes_no_job_takes_no_wait(lamps):
    await problem(await lamps.put("/lamps/1?wait=1"), 400, "invalid_argument")


async def test_the_same_idempotency_key_means_the_same_job(lamps):
    key = {"Idempotency-Key": "k" * 200}
    first = await told(await lamps.post("/lamps/1/off", headers=key), 202)
    await lamps.complete(first["id"])
    again = await told(await lamps.post("/lamps/1/off", headers=key), 200)
    assert again["id"] == first["id"]
    assert "same call" in again["note"]
    await problem(await lamps.post("/lamps/2/off", headers=key), 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "k" * 201, "tab\there", "ümlaut"])
async def test_an_idempotency_key_is_one_short_printable_text(lamps, key):
    wrong = await problem(await lamps.post("/lamps/1/off", headers={"Idempotency-Key": key}), 400, "invalid_argument")
    assert "Idempotency-Key" in wrong["detail"]
    assert await lamps.services.jobs.open_on("vm:1") == []


async def test_two_idempotency_keys_are_refused(lamps):
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    await problem(await lamps.post("/lamps/1/off", headers=headers), 400, "invalid_argument")


@pytest.mark.parametrize("yes", [True, False])
async def test_a_question_is_answered_with_yes_or_no(lamps, yes):
    job_id = await lamps.new_job()
    await lamps.ask(job_id)
    view = await told(await lamps.post(f"/jobs/{job_id}/input", json={"answer": yes}))
    assert (view["id"], view["state"], view.get("question")) == (job_id, "working", None)
    assert (await lamps.services.jobs.get(job_id)).question.yes is yes


@pytest.mark.parametrize("body", [{}, {"answer": "yes"}, {"answer": 1}, {"answer": None}, {"answer": True, "why": "x"}])
async def test_an_answer_is_true_or_false_and_nothing_else(lamps, body):
    job_id = await lamps.new_job()
    await lamps.ask(job_id)
    wrong = await problem(await lamps.post(f"/jobs/{job_id}/input", json=body), 400, "invalid_argument")
    assert "answer" in wrong["detail"]
    assert (await lamps.services.jobs.get(job_id)).question.yes is None


async def test_an_answer_to_no_question_is_refused(lamps):
    job_id = await lamps.new_job()
    yes = {"answer": True}
    await problem(await lamps.post(f"/jobs/{job_id}/input", json=yes), 400, "invalid_argument")
    await lamps.complete(job_id)
    await problem(await lamps.post(f"/jobs/{job_id}/input", json=yes), 409, "job_ended")
    await problem(await lamps.post("/jobs/none/input", json=yes), 404, "job_not_found")


async def test_a_yes_needs_the_permission_that_the_graver_choice_needs(lamps, monkeypatch):
    operator = Caller("olga", frozenset({Permission.READ, Permission.OPERATE}))
    for module in ("events", "rest_call"):
        monkeypatch.setattr(f"gateway.transports.{module}.caller_of", lambda _request: operator)
    job_id = await lamps.new_job()
    await lamps.ask(job_id)
    await problem(await lamps.post(f"/jobs/{job_id}/input", json={"answer": True}), 403, "forbidden")
    assert (await lamps.services.jobs.get(job_id)).state is JobState.INPUT_REQUIRED
    assert (await lamps.post(f"/jobs/{job_id}/input", json={"answer": False})).status == 200
