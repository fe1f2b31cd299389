"""Reads over REST: shapes, freshness, paging, ETag."""

import time
from urllib.parse import quote

import pytest
from rest_fixtures import AS_OF, house, problem, told
from yarl import URL


@pytest.fixture
async def lamps():
    async with house() as served:
        yield served


async def test_a_list_is_an_array_with_its_facts_in_headers(lamps):
    answer = await lamps.get("/lamps")
    rows = await told(answer)
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert rows[0] == {"id": 1, "name": "lamp-1", "lit": False}  # what says nothing is left out
    headers = answer.headers
    assert (headers["X-Total-Count"], headers["X-Source"]) == ("7", "cache")
    assert float(headers["X-As-Of"]) == AS_OF
    assert abs(int(headers["Age"]) - (time.time() - AS_OF)) < 5
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "aiohttp" not in headers["Server"]


async def test_following_the_links_walks_the_whole_list_and_keeps_the_other_parameters(lamps):
    seen, path = [], "/lamps?limit=2&lit=false"
    while path:
        answer = await lamps.get(path)
        seen += [row["id"] for row in await told(answer)]
        path = str(answer.links["next"]["url"].relative()) if "next" in answer.links else None
        assert path is None or {"limit=2", "lit=false"} < set(path.partition("?")[2].split("&"))
    assert seen == [1, 3, 5, 7]


async def test_an_object_is_itself_with_its_freshness_in_headers(lamps):
    answer = await lamps.get("/lamps/lamp-2")
    assert await told(answer) == {"id": 2, "name": "lamp-2", "lit": True}
    assert answer.headers["X-Source"] == "live"
    assert {"X-As-Of", "Age", "ETag"} <= answer.headers.keys()


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_reader_who_has_these_bytes_gets_304_with_fresh_facts(lamps, form):
    first = await lamps.get("/lamps")
    again = await lamps.get("/lamps", headers={"If-None-Match": form.format(first.headers["ETag"])})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert {"X-As-Of", "Age", "X-Source", "X-Total-Count", "Link"} <= again.headers.keys()


async def test_a_reader_who_has_other_bytes_gets_these(lamps):
    other = (await lamps.get("/lamps/1")).headers["ETag"]
    answer = await lamps.get("/lamps/2", headers={"If-None-Match": other})
    assert (await told(answer))["id"] == 2
    assert answer.headers["ETag"] != other


async def test_head_tells_the_headers_without_the_body(lamps):
    full, head = await lamps.get("/lamps"), await lamps.head("/lamps")
    assert (head.status, await head.read()) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "X-Total-Count", "Link"):
        assert head.headers[name] == full.headers[name]


async def test_text_of_the_query_becomes_numbers_booleans_and_lists(lamps):
    answer = await told(await lamps.get("/told?count=12&really=true&word=7&words=a&words=b,c"))
    assert {name: answer["told"][name] for name in ("count", "really", "word", "words")} == {
        "count": 12,
        "really": True,
        "word": "7",
        "words": ["a", "b,c"],
    }
    assert (await told(await lamps.get("/told?words=one")))["told"]["words"] == ["one"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("colour=red", "colour: is not a parameter"),
        ("limit=many", "limit: input should be a valid integer"),
        ("lit=perhaps", "lit: input should be a valid boolean"),
        ("limit=1&limit=2", "limit: is given more than once"),
        ("lit", "lit: input should be a valid boolean"),
        ("wait=3", "wait: is not a parameter"),
    ],
)
async def test_a_wrong_query_parameter_is_named(lamps, query, named):
    wrong = await problem(await lamps.get(f"/lamps?{query}"), 400, "invalid_argument")
    assert named in wrong["detail"]


async def test_arguments_in_the_body_of_a_read_are_refused_not_ignored(lamps):
    wrong = await problem(await lamps.get("/lamps", json={"lit": True}), 400, "malformed_body")
    assert "query" in wrong["next_step"]
    assert (await lamps.get("/lamps", json={})).status == 200


@pytest.mark.parametrize("name", ["a/b", "50%", "{x}", "a b?c#d", "émile", ":7", "name:34"])
async def test_a_name_in_the_path_may_hold_anything(lamps, name):
    url = URL(str(lamps.client.make_url("/lamps/")) + quote(name, safe=""), encoded=True)
    missing = await problem(await lamps.client.session.get(url), 404, "not_found")
    assert missing["detail"] == f"there is no lamp {name}"


async def test_tools_are_listed_with_what_a_program_needs(lamps):
    answer = await lamps.get("/tools")
    tools = {tool["name"]: tool for tool in (await told(answer))["tools"]}
    off = tools["lamp_off"]
    assert off["routes"] == ["POST /lamps/{id}/off"]
    assert (off["permission"], off["effect"]) == ("operate", "change")
    assert off["description"].startswith("Put a lamp out")
    assert off["inputSchema"]["required"] == ["id"]
    assert "state" in off["outputSchema"]["properties"]
    assert await told(await lamps.get("/tools/lamp_off")) == off
    assert (await lamps.get("/tools", headers={"If-None-Match": answer.headers["ETag"]})).status == 304


async def test_an_unknown_tool_says_where_the_tools_are(lamps):
    for method in (lamps.get, lamps.post):
        unknown = await problem(await method("/tools/dim_lamp"), 404, "unknown_tool")
        assert "dim_lamp" in unknown["detail"]
        assert "GET /tools" in unknown["next_step"]
