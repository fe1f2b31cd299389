"""What VergeOS answers over HTTP, what it is taken for, and what is sent in the first place."""

import pytest
from aiohttp import web

from gateway.core.errors import (
    VergeOSBadAnswer,
    VergeOSBusy,
    VergeOSConflict,
    VergeOSForbidden,
    VergeOSInvalid,
    VergeOSNotFound,
)
from gateway.vergeos.answers import Receipt
from gateway.vergeos.filters import eq
from gateway.vergeos.rows import Identity


@pytest.mark.parametrize("nothing", [{"$count": 0}, [], None, ""])
async def test_an_empty_list_has_several_forms(client_for, upstream, nothing):
    upstream.answer = lambda asked: (200, nothing)
    assert await (await client_for(upstream.url)).rows("vms", fields="$key") == []


async def test_a_row_may_come_alone_or_in_a_list_of_one(client_for, upstream):
    client = await client_for(upstream.url)
    for told in ({"$key": 1}, [{"$key": 1}]):
        upstream.answer = lambda asked, told=told: (200, told)
        assert await client.row("vms", 1, fields="$key") == {"$key": 1}


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"$count": 0}, VergeOSNotFound),
        ([], VergeOSNotFound),
        ([{}, {}], VergeOSBadAnswer),
        ("7", VergeOSBadAnswer),
        ("", VergeOSBadAnswer),
        (None, VergeOSBadAnswer),
    ],
)
async def test_no_row_and_several_rows_are_told_apart(client_for, upstream, told, error):
    upstream.answer = lambda asked: (200, told)
    with pytest.raises(error, match="GET vms/7"):
        await (await client_for(upstream.url)).row("vms", 7, fields="$key")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, VergeOSInvalid),
        (403, VergeOSForbidden),
        (404, VergeOSNotFound),
        (405, VergeOSInvalid),
        (409, VergeOSConflict),
        (418, VergeOSInvalid),
        (422, VergeOSInvalid),
        (500, VergeOSBadAnswer),
        (503, VergeOSBusy),
    ],
)
async def test_each_status_is_a_failure_that_quotes_vergeos(client_for, upstream, status, error):
    upstream.answer = lambda asked: (status, {"err": "value 'snapshot' is not in list for field 'action'"})
    with pytest.raises(error, match=rf"POST vm_actions: .*HTTP {status}\): value 'snapshot' is not in list"):
        await (await client_for(upstream.url)).action("vm_actions", {"vm": 1, "action": "snapshot"})
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"err": "no"},
        {"error": "no"},
        {"message": "no"},
        {"error": {"message": "no"}},
        {"err": True, "message": "no"},
    ],
)
async def test_the_reason_is_found_wherever_a_version_puts_it(client_for, upstream, body):
    upstream.answer = lambda asked: (422, body)
    with pytest.raises(VergeOSInvalid, match=r": no$"):
        await (await client_for(upstream.url)).rows("vms", fields="$key")


async def test_an_error_inside_a_200_is_an_error(client_for, upstream):
    upstream.answer = lambda asked: (200, {"err": "Machine is already running"})
    with pytest.raises(VergeOSInvalid, match="already running"):
        await (await client_for(upstream.url)).action("vm_actions", {"vm": 1, "action": "poweron"})


async def test_the_reason_is_clean_short_and_without_secrets(client_for, upstream):
    upstream.answer = lambda asked: (422, {"err": "bad header Bearer key-of-the-gateway \u202e\n" + "x" * 5_000})
    with pytest.raises(VergeOSInvalid) as failed:
        await (await client_for(upstream.url)).rows("vms", fields="$key")
    assert "key-of-the-gateway" not in failed.value.detail
    assert "Bearer ***" in failed.value.detail
    assert failed.value.detail.isprintable()
    assert len(failed.value.detail) < 500


async def test_a_busy_answer_may_say_when_to_come_again(client_for, upstream):
    upstream.answer = lambda asked: web.Response(status=503, headers={"Retry-After": "7"})
    with pytest.raises(VergeOSBusy) as failed:
        await (await client_for(upstream.url, attempts=1)).rows("vms", fields="$key")
    assert failed.value.retry_after == 7.0


async def test_a_receipts_key_may_be_text_or_number(client_for, upstream):
    client = await client_for(upstream.url)
    for told in ("36", 36):
        upstream.answer = lambda asked, told=told: (201, {"$key": told, "$row": 36, "response": {"machine": "41"}})
        assert await client.create("vms", {"name": "web-1"}) == Receipt(36, {"machine": "41"})


async def test_a_creation_without_a_key_may_have_happened(client_for, upstream):
    upstream.answer = lambda asked: (201, [])
    with pytest.raises(VergeOSBadAnswer, match="POST machine_snapshots") as failed:
        await (await client_for(upstream.url)).create("machine_snapshots", {"machine": 1})
    assert failed.value.maybe_done


@pytest.mark.parametrize("told", [[], "", {}, {"response": {"vmkey": "43"}}])
async def test_an_action_may_answer_anything(client_for, upstream, told):
    upstream.answer = lambda asked: (201, told)
    receipt = await (await client_for(upstream.url)).action("vm_actions", {"vm": 1, "action": "poweron"})
    assert receipt == Receipt(None, {"vmkey": "43"} if told and "response" in told else {})


async def test_updates_and_deletes_take_any_empty_answer(client_for, upstream):
    client = await client_for(upstream.url)
    for told in ("", [], {}):
        upstream.answer = lambda asked, told=told: (200, told)
        await client.update("vms", 1, {"ram": 512})
        await client.delete("machine_snapshots", "4")
    upstream.answer = lambda asked: (204, "")
    await client.delete("machine_snapshots", 4)
    assert upstream.lines()[:2] == ["PUT /api/v4/vms/1", "DELETE /api/v4/machine_snapshots/4"]
    assert upstream.asked[0].body == {"ram": 512}


async def test_an_update_of_nothing_is_refused_here(client_for, upstream):
    with pytest.raises(ValueError, match="without fields"):
        await (await client_for(upstream.url)).update("vms", 1, {})
    assert upstream.asked == []


async def test_a_query_arrives_as_it_was_meant(client_for, upstream):
    name = "a+b & c=d#e%20'f' 名"
    client = await client_for(upstream.url)
    fields = "$key,machine#status#running as running"
    await client.rows("vms", fields=fields, filter=eq("name", name), sort="+name", limit=5, offset=10)
    assert upstream.asked[0].query == {
        "fields": fields,
        "filter": "name eq 'a+b & c=d#e%20\\'f\\' 名'",
        "sort": "+name",
        "limit": "5",
        "offset": "10",
    }


async def test_no_list_is_asked_without_a_limit(client_for, upstream):
    await (await client_for(upstream.url)).rows("clusters", fields="$key")
    assert upstream.asked[0].query["limit"] == "1000"


async def test_a_key_cannot_leave_its_place_in_the_path(client_for, upstream):
    upstream.answer = lambda asked: (200, {"$key": 1})
    await (await client_for(upstream.url)).row("volumes", "../users/1?x#y", fields="$key")
    assert upstream.asked[0].line.startswith("/api/v4/volumes/..%2Fusers%2F1%3Fx%23y?")


async def test_an_act_is_sent_as_json(client_for, upstream):
    await (await client_for(upstream.url)).action("vm_actions", {"vm": 12, "action": "kill", "params": {}})
    asked = upstream.asked[0]
    assert (asked.headers["Content-Type"], asked.body["vm"]) == ("application/json", 12)


async def test_pages_follow_each_other_until_one_is_short(client_for, upstream):
    def answer(asked):
        offset = int(asked.query.get("offset", 0))
        return 200, [{"$key": key} for key in range(offset, min(offset + 1_000, 2_500))]

    upstream.answer = answer
    client = await client_for(upstream.url)
    pages = [len(page) async for page in client.all_rows("vms", fields="$key", sort="+name")]
    assert pages == [1_000, 1_000, 500]
    assert {asked.query["sort"] for asked in upstream.asked} == {"+name"}


async def test_version_shows_no_credentials(client_for, upstream):
    upstream.answer = lambda asked: (200, {"name": "v4", "version": "26.1.8", "hash": "ab12cd"})
    assert await (await client_for(upstream.url)).version() == "26.1.8"
    assert upstream.lines() == ["GET /version.json"]
    assert "Authorization" not in upstream.asked[0].headers


async def test_the_identity_may_come_in_a_list(client_for, upstream):
    upstream.answer = lambda asked: (200, [{"$key": "1", "cloud_name": "lab", "yb_version": "26.1.8"}])
    assert await (await client_for(upstream.url)).identity() == Identity("1", "lab", "26.1.8")


async def test_each_attempt_is_observed_once_with_table_and_outcome(client_for, upstream):
    seen = []
    answers = iter([(503, ""), (200, []), (404, {"err": "no"}), (200, [])])
    upstream.answer = lambda asked: next(answers)
    client = await client_for(upstream.url, observe=lambda *told: seen.append(told))
    await client.rows("vms", fields="$key")
    with pytest.raises(VergeOSNotFound):
        await client.row("vnets", 5, fields="$key")
    await client.rows("users", fields="$key")
    assert [told[:2] for told in seen] == [
        ("vms", "vergeos_busy"),
        ("vms", "ok"),
        ("vnets", "vergeos_not_found"),
        ("other", "ok"),
    ]
    assert all(0 <= seconds < 2 and kind == "gateway" for _, _, seconds, kind in seen)


async def test_an_address_with_a_path_keeps_it(client_for, upstream):
    await (await client_for(f"{upstream.url}/verge/")).rows("vms", fields="$key")
    assert upstream.asked[0].path == "/verge/api/v4/vms"
