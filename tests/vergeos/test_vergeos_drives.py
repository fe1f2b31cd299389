"""Drives: what is asked of VergeOS, what is sent, and rows with all their drift."""

import pytest

from gateway.core.drive import GB_BYTES, gb_as_bytes
from gateway.core.errors import VergeOSBadAnswer
from gateway.vergeos import drives

ROW = {
    "$key": 101,
    "orderid": 0,
    "name": "os",
    "description": "system",
    "machine": 41,
    "interface": "virtio-scsi",
    "media": "disk",
    "enabled": True,
    "disksize": 50 * GB_BYTES,
    "used_bytes": 12 * GB_BYTES + GB_BYTES // 4,
    "preferred_tier": "3",
    "readonly": False,
    "status": "online",
    "media_file": None,
}


def test_a_row_tells_sizes_in_gb_and_the_tier_as_a_number():
    assert drives.drive_row(ROW).model_dump(exclude_none=True) == {
        "id": 101,
        "name": "os",
        "size_gb": 50.0,
        "used_gb": 12.25,
        "interface": "virtio-scsi",
        "media": "disk",
        "tier": 3,
        "status": "online",
        "enabled": True,
        "read_only": False,
        "order": 0,
        "description": "system",
    }


def test_numbers_may_be_texts_and_flags_numbers():
    drifted = ROW | {"$key": "101", "disksize": str(50 * GB_BYTES), "preferred_tier": 3, "enabled": 1, "orderid": "0"}
    assert drives.drive_row(drifted) == drives.drive_row(ROW)


def test_all_but_the_key_may_be_missing():
    row = drives.drive_row({"$key": 7})
    assert (row.size_gb, row.used_gb, row.tier, row.status, row.enabled) == (None, None, None, "unknown", True)
    with pytest.raises(VergeOSBadAnswer, match="key"):
        drives.drive_row({"name": "os"})


@pytest.mark.parametrize("field", ["$key", "machine"])
def test_a_look_without_what_it_must_know_is_refused(field):
    with pytest.raises(VergeOSBadAnswer, match="lacks the number"):
        drives.drive_look(ROW | {field: None})


def test_hostile_texts_are_cleaned():
    row = drives.drive_row(ROW | dict.fromkeys(("name", "description", "status", "media_file"), "a\u202e\x00b" * 2_000))
    assert all(text.isprintable() for text in (row.name, row.description, row.status, row.media_file or ""))
    assert (len(row.name), len(row.description)) == (128, 2_048)


@pytest.mark.parametrize(
    ("size_gb", "size_bytes"), [(1, GB_BYTES), (50.5, 50 * GB_BYTES + GB_BYTES // 2), (1.0001, GB_BYTES + 2**20)]
)
def test_sizes_are_whole_mb_and_never_less_than_asked(size_gb, size_bytes):
    assert gb_as_bytes(size_gb) == size_bytes


async def test_a_list_asks_for_one_machine_only_and_by_filter(upstream, client_for):
    upstream.answer = lambda asked: (200, {"$count": 0})
    assert await drives.list_drives(await client_for(upstream.url), 41) == []
    [asked] = upstream.asked
    assert (asked.path, asked.query["filter"]) == ("/api/v4/machine_drives", "machine eq 41")
    assert "disksize" in asked.query["fields"].split(",")


async def test_a_drive_that_is_not_there_is_none(upstream, client_for):
    upstream.answer = lambda asked: (404, {"err": "No such row"})
    assert await drives.look_drive(await client_for(upstream.url), 5) is None


async def test_the_drive_of_a_job_is_found_by_its_mark_in_any_case_of_quotes(upstream, client_for):
    marked = ROW | {"$key": 103, "description": "it's {mine} [job 5f]"}
    upstream.answer = lambda asked: (200, [ROW, marked])
    client = await client_for(upstream.url)
    found = await drives.find_drive(client, 41, "[job 5f]")
    assert found is not None
    assert (found.key, found.machine, found.size_bytes) == (103, 41, 50 * GB_BYTES)
    assert await drives.find_drive(client, 41, "[job 5]") is None


async def test_a_new_drive_is_a_disk_with_its_size_in_bytes_and_its_tier_as_text(upstream, client_for):
    upstream.answer = lambda asked: (201, {"$key": "103"})
    client = await client_for(upstream.url)
    values = {"name": "data", "description": "[job 5f]", "size_bytes": GB_BYTES, "interface": "virtio"}
    assert await drives.create_drive(client, 41, **values, tier=3) == 103
    assert upstream.asked[-1].body == {
        "machine": 41,
        "name": "data",
        "description": "[job 5f]",
        "interface": "virtio",
        "media": "disk",
        "disksize": GB_BYTES,
        "preferred_tier": "3",
    }
    await drives.create_drive(client, 41, **values, tier=None)
    assert "preferred_tier" not in upstream.asked[-1].body


async def test_a_key_that_is_no_number_is_a_bad_answer(upstream, client_for):
    upstream.answer = lambda asked: (201, {"$key": "a0b1"})
    values = {"name": "data", "description": "", "size_bytes": 1, "interface": "virtio", "tier": None}
    with pytest.raises(VergeOSBadAnswer):
        await drives.create_drive(await client_for(upstream.url), 41, **values)


async def test_a_new_size_is_sent_in_bytes(upstream, client_for):
    await drives.set_drive_size(await client_for(upstream.url), 101, 2 * GB_BYTES)
    [asked] = upstream.asked
    assert (asked.method, asked.path, asked.body) == ("PUT", "/api/v4/machine_drives/101", {"disksize": 2 * GB_BYTES})
