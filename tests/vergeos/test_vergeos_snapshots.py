"""VM snapshots: what is asked of VergeOS, what is sent, and rows with all their drift."""

import pytest

from gateway.core.errors import VergeOSBadAnswer, VergeOSBusy
from gateway.vergeos import machines, snapshots

ROW = {
    "$key": 9,
    "name": "before upgrade",
    "description": "of web-1",
    "created": 1_790_000_000,
    "expires": 1_790_600_000,
    "quiesced": False,
    "created_manually": True,
    "queue_delete": False,
    "machine": 41,
    "snap_machine": 77,
}
HIDDEN = {"$key": 60, "machine": 77, "is_snapshot": True}


def test_a_row_is_read_and_an_expiry_of_0_means_never():
    row = snapshots.stored_snapshot(ROW)
    assert row is not None
    assert (row.id, row.machine, row.created_at, row.expires_at, row.by_hand) == (
        9, 41, 1_790_000_000, 1_790_600_000, True,
    )  # fmt: skip
    for never in (0, "0", None):
        kept = snapshots.stored_snapshot(ROW | {"expires": never})
        assert kept is not None
        assert kept.expires_at is None


def test_a_row_that_is_about_to_be_deleted_is_not_listed():
    assert snapshots.stored_snapshot(ROW | {"queue_delete": True}) is None
    assert snapshots.snapshot_look(ROW | {"queue_delete": 1}).deleting


def test_a_row_without_machine_is_nobodys_and_one_without_key_is_refused():
    assert snapshots.stored_snapshot(ROW | {"machine": None}) is None
    with pytest.raises(VergeOSBadAnswer):
        snapshots.stored_snapshot(ROW | {"$key": None})
    with pytest.raises(VergeOSBadAnswer):
        snapshots.snapshot_look(ROW | {"machine": None})


def test_hostile_texts_are_cleaned():
    row = snapshots.stored_snapshot(ROW | {"name": "x\x1by\u202ez" * 200, "description": "\n" * 5_000})
    assert row is not None
    assert row.name.isprintable()
    assert (len(row.name), len(row.description)) == (128, 2_048)


async def test_all_are_read_a_thousand_at_a_time_and_those_of_one_machine_by_filter(upstream, client_for):
    def answer(asked):
        first = int(asked.query.get("offset", 0))
        return 200, [ROW | {"$key": key} for key in range(first + 1, min(first + 1_000, 1_500) + 1)]

    upstream.answer = answer
    client = await client_for(upstream.url)
    assert len(await snapshots.list_snapshots(client)) == 1_500
    assert ["filter" in asked.query for asked in upstream.asked] == [False, False]
    await snapshots.list_snapshots(client, 41)
    assert upstream.asked[-1].query["filter"] == "machine eq 41"


async def test_a_look_asks_for_the_snapshots_own_vm_only_where_that_is_wanted(upstream, client_for):
    upstream.answer = lambda asked: (200, [HIDDEN] if asked.path.endswith("/vms") else ROW)
    client = await client_for(upstream.url)
    plain = await snapshots.look_snapshot(client, 9)
    assert plain is not None
    assert (plain.vm_key, len(upstream.asked)) == (None, 1)
    whole = await snapshots.look_snapshot(client, 9, with_vm=True)
    assert whole is not None
    assert (whole.vm_key, whole.machine) == (60, 41)
    assert upstream.asked[-1].query["filter"] == "(machine eq 77 and is_snapshot eq true)"


@pytest.mark.parametrize(
    "rows",
    [
        {"$count": 0},
        [HIDDEN, HIDDEN | {"$key": 61}],
        [HIDDEN | {"is_snapshot": False}],
        [HIDDEN | {"machine": 78}],
    ],
)
async def test_where_the_snapshots_own_vm_is_not_surely_known_there_is_none(upstream, client_for, rows):
    upstream.answer = lambda asked: (200, rows if asked.path.endswith("/vms") else ROW)
    look = await snapshots.look_snapshot(await client_for(upstream.url), 9, with_vm=True)
    assert look is not None
    assert look.vm_key is None


async def test_a_machine_that_is_no_vms_has_no_owner(upstream, client_for):
    client = await client_for(upstream.url)
    for rows in ({"$count": 0}, [{"$key": 5, "machine": 42}], [{"$key": 5, "machine": 41}, {"$key": 6, "machine": 41}]):
        upstream.answer = lambda asked, rows=rows: (200, rows)
        assert await machines.vm_of_machine(client, 41) is None
    upstream.answer = lambda asked: (200, [{"$key": 5, "machine": "41", "name": "web-1"}])
    owner = await machines.vm_of_machine(client, 41)
    assert owner is not None
    assert (owner.id, owner.name) == (5, "web-1")


async def test_a_snapshot_that_is_not_there_is_none(upstream, client_for):
    upstream.answer = lambda asked: (404, {"err": "No such row"})
    assert await snapshots.look_snapshot(await client_for(upstream.url), 9, with_vm=True) is None


async def test_the_snapshot_of_a_job_is_found_by_its_mark(upstream, client_for):
    upstream.answer = lambda asked: (200, [ROW, ROW | {"$key": 10, "description": "x [job 5f]"}])
    client = await client_for(upstream.url)
    found = await snapshots.find_snapshot(client, 41, "[job 5f]")
    assert found is not None
    assert found.key == 10
    assert await snapshots.find_snapshot(client, 41, "[job 6]") is None


@pytest.mark.parametrize(
    ("expires_at", "sent"), [(None, {"expires_type": "never"}), (1_800, {"expires_type": "date", "expires": 1_800})]
)
async def test_the_expiry_of_a_new_snapshot_is_always_said(upstream, client_for, expires_at, sent):
    upstream.answer = lambda asked: (201, {"$key": "9"})
    client = await client_for(upstream.url)
    values = {"name": "n", "description": "d", "quiesce": True}
    assert await snapshots.create_snapshot(client, 41, **values, expires_at=expires_at) == 9
    assert upstream.asked[0].body == {"machine": 41, "created_manually": True} | values | sent


async def test_a_snapshot_is_never_taken_twice(upstream, client_for):
    upstream.answer = lambda asked: (503, {"err": "busy"})
    values = {"name": "n", "description": "d", "quiesce": False, "expires_at": None}
    with pytest.raises(VergeOSBusy):
        await snapshots.create_snapshot(await client_for(upstream.url), 41, **values)
    assert len(upstream.asked) == 1


async def test_a_restore_goes_to_the_snapshots_own_vm_and_leaves_it_off(upstream, client_for):
    client = await client_for(upstream.url)
    await snapshots.restore_snapshot(client, 60, 9)
    await snapshots.delete_snapshot(client, 9)
    assert upstream.asked[0].body == {"vm": 60, "action": "restore", "params": {"snapshot": 9, "poweron": False}}
    assert upstream.lines() == ["POST /api/v4/vm_actions", "DELETE /api/v4/machine_snapshots/9"]
