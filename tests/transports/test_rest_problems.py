"""Failures over HTTP: one shape for all of them, and nothing in it that is not meant for callers."""

import aiohttp
import pytest
import structlog
from aiohttp import web
from rest_fixtures import every_failure, house, problem
from structlog.testing import capture_logs

from gateway.transports import problems


@pytest.fixture
async def lamps():
    async with house() as served:
        yield served


@pytest.mark.parametrize("code", sorted(every_failure()))
async def test_every_failure_is_a_problem_document(lamps, code):
    kind = every_failure()[code]
    answer = await lamps.get(f"/failures/{code}")
    document = await problem(answer, kind.status, code)
    assert document == {
        "type": f"urn:vergeos-gateway:problem:{code}",
        "title": document["title"],
        "status": kind.status,  # a fact of the same name does not take its place
        "code": code,
        "detail": "it failed",
        "next_step": "Try another lamp.",
        "lamp": 7,
    }
    assert document["title"].lower().replace(" ", "_") == code
    assert answer.headers["Retry-After"] == "3"  # 2.2 s, rounded up
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_who_is_not_known_is_told_how_to_say_it(lamps):
    assert (await lamps.get("/failures/unauthorized")).headers["WWW-Authenticate"] == "Bearer"


async def test_a_bug_answers_500_without_its_text_and_is_logged_with_its_traceback(lamps, monkeypatch):
    monkeypatch.setattr(problems, "log", structlog.get_logger())  # not one that an earlier test has bound
    with capture_logs() as lines:
        answer = await lamps.get("/failures/bug")
    document = await problem(answer, 500, "internal")
    assert "hunter2" not in await answer.text()
    assert "RuntimeError" not in await answer.text()
    [line] = [line for line in lines if "exc_info" in line]
    assert (line["log_level"], line["exc_info"], line["route"]) == ("error", True, "/failures/{code}")
    assert line["incident"] == document["instance"]


@pytest.mark.parametrize("path", ["/nothing", "/lamps/1/off/now", "/lamps/", "/lamps//", "/lamps/a/b"])
async def test_an_unknown_route_says_where_the_routes_are(lamps, path):
    document = await problem(await lamps.get(path), 404, "unknown_route")
    assert document["detail"] == f"GET {path}: not found"
    assert "GET /tools" in document["next_step"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/lamps", "GET,HEAD"),
        ("OPTIONS", "/lamps", "GET,HEAD"),
        ("GET", "/lamps/1/off", "POST"),
        ("PATCH", "/lamps/1", "DELETE,GET,HEAD,PUT"),
        ("PUT", "/tools/list_lamps", "GET,HEAD,POST"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(lamps, method, path, allowed):
    answer = await lamps.request(method, path)
    await problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


async def test_a_long_or_strange_path_is_shown_short_and_clean(lamps):
    document = await problem(await lamps.get("/%0a%1b[31m" + "x" * 3000), 404, "unknown_route")
    assert len(document["detail"]) < 300
    assert document["detail"].isprintable()


async def test_a_redirect_is_no_failure():
    async def elsewhere(_request):
        raise web.HTTPFound("/health")

    async with house(routes=[web.get("/old", elsewhere)]) as served:
        answer = await served.get("/old", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (302, "/health")


async def test_other_refusals_of_the_server_have_the_same_shape():
    async def refuse(_request):
        raise web.HTTPUnsupportedMediaType(text="<b>no</b>")

    async with house(routes=[web.get("/refused", refuse)]) as served:
        answer = await served.get("/refused")
        await problem(answer, 415, "unsupported_media_type")
        assert "<b>" not in await answer.text()


async def test_a_stream_that_breaks_is_cut_not_continued_with_a_problem():
    async def broken(request):
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b"begun ")
        raise RuntimeError("hunter2")

    async with house(routes=[web.get("/broken", broken)]) as served:
        answer = await served.get("/broken")
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
