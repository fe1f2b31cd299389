"""Calls over REST: bodies, arguments, tools by name."""

import asyncio
import time
from io import BytesIO
from random import Random

import orjson
import pytest
from rest_fixtures import AS_OF, house, problem, told

from gateway.transports import arguments
from tests.conftest import AT_ONCE_SECONDS
from tests.transports.raw_http import exchange, head_of


@pytest.fixture
async def lamps():
    async with house() as served:
        yield served


async def test_a_tool_by_name_answers_under_result(lamps):
    answer = await told(await lamps.post("/tools/list_lamps", json={"limit": 1}))
    assert answer["result"] == {
        "items": [{"id": 1, "name": "lamp-1", "lit": False}],
        "total": 7,
        "next": 1,
        "as_of": AS_OF,
        "source": "cache",
    }
    answer = await told(await lamps.post("/tools/get_lamp", json={"id": 2}))
    assert answer["result"] == {"id": 2, "name": "lamp-2", "lit": True}
    assert (answer["as_of"], answer["source"]) == (AS_OF, "live")
    assert abs(answer["age_ms"] / 1_000 - (time.time() - AS_OF)) < 5
    told_of_no_read = await told(await lamps.post("/tools/paint_lamp", json={"id": 2}))
    assert set(told_of_no_read) == {"result"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "a/b"]
)
async def test_json_is_read_under_any_content_type(lamps, content_type):
    headers = {"Content-Type": content_type}
    answer = await lamps.post("/tools/list_lamps", data=b' {"limit": 1}\n', headers=headers)
    assert len((await told(answer))["result"]["items"]) == 1


async def test_no_body_means_no_arguments(lamps):
    assert (await told(await lamps.post("/tools/list_lamps")))["result"]["total"] == 7


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"limit=1", "not JSON"),
        (b'{"limit": 1', "not JSON"),
        (b'{"limit": NaN}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[1]", "not an object"),
        (b"null", "not an object"),
        (b'"text"', "not an object"),
        (b'{"layers": ' + b"[" * 32 + b"]" * 32 + b"}", "deeper than 32"),
        (b"[" * 5000, "not JSON"),
        (b'{"a":' * 5000, "not JSON"),
    ],
)
async def test_a_body_that_is_no_small_json_object_is_refused(lamps, body, why):
    refused = await problem(await lamps.post("/tools/list_lamps", data=body), 400, "malformed_body")
    assert why in refused["detail"]


async def test_depth_within_the_limit_is_for_the_tool_to_judge(lamps):
    body = b'{"layers": ' + b"[" * 31 + b"]" * 31 + b"}"
    judged = await problem(await lamps.put("/lamps/1", data=body), 400, "invalid_argument")
    assert "layers.0" in judged["detail"]
    wide = {"layers": ["x"] * 5000, "colour": "[" * 500}
    assert len((await told(await lamps.put("/lamps/1", json=wide)))["told"]["layers"]) == 5000


async def test_a_body_of_one_mebibyte_is_read_and_a_larger_one_refused(lamps):
    largest = b'{"limit": 1}'.ljust(2**20)
    assert (await lamps.post("/tools/list_lamps", data=BytesIO(largest))).status == 200
    await problem(await lamps.post("/tools/list_lamps", data=BytesIO(largest + b" ")), 413, "too_large")


async def test_a_packed_body_is_refused_since_a_broken_one_would_read_as_empty(lamps):
    packs_itself = {"Content-Encoding": "gzip"}
    answer = await lamps.post("/tools/list_lamps", data=b'{"limit": 1}', headers=packs_itself)
    assert "packed" in (await problem(answer, 400, "malformed_body"))["detail"]


async def test_a_body_that_does_not_arrive_is_not_waited_for_for_ever(lamps, monkeypatch):
    monkeypatch.setattr(arguments, "BODY_WITHIN_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", lamps.client.server.port)
    writer.write(b"POST /tools/list_lamps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(AT_ONCE_SECONDS):
        answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "head",
    [
        [(b"X-Long", b"a" * 20_000)],
        [(b"X-%d" % number, b"a") for number in range(500)],
        [(b"X-%d" % number, b"a" * 8_000) for number in range(200)],
    ],
    ids=["a long header", "many headers", "both"],
)
async def test_a_head_that_is_too_long_is_refused_and_others_are_served(lamps, head):
    port = lamps.client.server.port
    refused = await asyncio.to_thread(exchange, port, head_of(b"GET", b"/lamps", [(b"Host", b"localhost"), *head]))
    assert refused.status == 400
    assert (await lamps.get("/lamps")).status == 200


async def test_noise_is_refused_and_never_a_failure_of_ours(lamps):
    random = Random(7)
    template = b'{"id": 1, "layers": ["a", {"b": [null, true, 1e400]}], "colour": "\\ud83d\\ude00"}'
    for _ in range(200):
        noise = bytearray(template)
        for _ in range(random.randint(1, 6)):
            noise[random.randrange(len(noise))] = random.randrange(256)
        path = random.choice(["/tools/paint_lamp", "/lamps/1", "/tools/get_lamp", "/lamps/%ff%00"])
        answer = await lamps.request("PUT" if path.startswith("/lamps") else "POST", path, data=bytes(noise))
        assert answer.status in {200, 400, 404}, (answer.status, bytes(noise))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "id: field required"),
        ({"id": "seven"}, "id: input should be a valid integer"),
        ({"id": 1, "hard": True}, "hard: is not a parameter of this tool"),
        ({"id": 1, "wait_timeout": "soon"}, "wait_timeout: input should be a valid integer"),
    ],
)
async def test_a_wrong_argument_is_named_and_nothing_is_done(lamps, body, named):
    wrong = await problem(await lamps.post("/tools/lamp_off", json=body), 400, "invalid_argument")
    assert wrong["detail"].startswith("lamp_off: ")
    assert named in wrong["detail"]
    assert await lamps.services.jobs.open_on("vm:1") == []


async def test_what_is_wrong_is_told_without_the_value(lamps):
    wrong = await problem(await lamps.post("/tools/lamp_off", json={"id": "hunter2"}), 400, "invalid_argument")
    assert "hunter2" not in wrong["detail"]


async def test_path_and_body_make_up_the_arguments(lamps):
    assert (await told(await lamps.put("/lamps/4", json={"colour": "red"})))["told"] == {
        "id": 4,
        "colour": "red",
        "layers": None,
    }
    assert (await told(await lamps.delete("/lamps/4", json={"layers": ["a"]})))["told"]["layers"] == ["a"]
    assert (await told(await lamps.delete("/lamps/4")))["told"]["id"] == 4


@pytest.mark.parametrize(("beside", "status"), [(4, 200), ("4", 200), (5, 400), (True, 400), ([4], 400), (None, 400)])
async def test_a_path_parameter_may_stand_in_the_body_only_with_the_same_value(lamps, beside, status):
    answer = await lamps.put("/lamps/4", json={"id": beside})
    assert answer.status == status
    if status == 400:
        assert "id: is 4 in the path" in (await problem(answer, 400, "invalid_argument"))["detail"]


async def test_a_path_parameter_may_stand_in_the_query_only_with_the_same_value(lamps):
    assert (await lamps.get("/lamps/4?id=4")).status == 200
    await problem(await lamps.get("/lamps/4?id=5"), 400, "invalid_argument")


@pytest.mark.parametrize("path", ["/lamps/1/off?force=true", "/tools/lamp_off?id=1", "/lamps/1/off?wait=1&id=1"])
async def test_arguments_in_the_query_of_a_change_are_refused_not_ignored(lamps, path):
    wrong = await problem(await lamps.post(path), 400, "invalid_argument")
    assert "is not a query parameter here" in wrong["detail"]
    assert "body" in wrong["next_step"]
    assert await lamps.services.jobs.open_on("vm:1") == []


async def test_the_call_knows_its_face_and_its_client(lamps):
    agent = {"User-Agent": "backup-script/2 " + "x" * 500}
    heard = (await told(await lamps.get("/told", headers=agent)))["told"]
    assert (heard["face"], heard["may_ask"], heard["wait"]) == ("rest", False, 0.0)
    assert heard["client"].startswith("backup-script/2 x")
    assert len(heard["client"]) == 100


async def test_each_call_is_counted_with_its_outcome(lamps):
    await lamps.get("/lamps/1")
    await lamps.get("/lamps/99")
    await lamps.get("/lamps?colour=red")
    text = await (await lamps.get("/metrics")).text()
    for tool, outcome in (("get_lamp", "ok"), ("get_lamp", "not_found"), ("list_lamps", "invalid_argument")):
        assert f'face="rest",outcome="{outcome}",tool="{tool}"}} 1.0' in text


async def test_bytes_are_compact(lamps):
    body = await (await lamps.get("/lamps/1")).read()
    assert body == orjson.dumps(orjson.loads(body))
