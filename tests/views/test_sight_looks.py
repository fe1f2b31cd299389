"""What one right sees of a list: worked out in short slices, once for all who ask, and for changed rows alone."""

import asyncio

from gateway.core.answer import Source
from gateway.core.tag import VmTag
from gateway.rights.policy_file import parse_policy
from gateway.views.arranging import arranged
from gateway.views.declared import VMS
from gateway.views.sight import Sight
from gateway.views.tags import VM_TAGS
from tests.views.conftest import row

POLICY = """
roles:
  web: {allow: [{permissions: read, on: {name: "web-*"}}]}
  tagged: {allow: [{permissions: read, on: {tag: prod}}]}
people: {ann: {roles: [web]}, tom: {roles: [tagged]}}
"""
SITE = "site"
RIGHTS = parse_policy(POLICY)


async def reading(rows, generation, view=VMS, after=None):
    """Return rows as a reader keeps them after those before."""
    kept = await arranged(view, rows, generation=generation, as_of=float(generation))
    kept.looked.update({} if after is None else after.looked)
    return kept


def sight(name, tags=None):
    seeing = Sight(RIGHTS.of_person(name), SITE)
    if tags is not None:
        seeing.learn(VM_TAGS, tags)
    return seeing


def names(rows):
    return [vm.name for vm in rows.rows]


async def test_others_run_while_thousands_of_rows_are_looked_at():
    rows, turns = await reading([row(n, f"{'web' if n % 2 else 'db'}-{n}") for n in range(10_000)], 1), 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    seen = await sight("ann").look(VMS, rows)
    counting.cancel()
    assert len(seen.rows) == 5_000
    assert turns >= 200


async def test_all_who_ask_at_once_share_the_work_and_who_asks_meanwhile_is_told_that_it_is_not_there_yet():
    rows = await reading([row(n, f"web-{n}") for n in range(1_000)], 1)
    asked = [asyncio.create_task(sight("ann").look(VMS, rows)) for _ in range(5)]
    assert sight("ann").seen(VMS, rows) is None
    looked = await asyncio.gather(*asked)
    assert all(one is looked[0] for one in looked)
    assert sight("ann").seen(VMS, rows) is looked[0]


async def test_after_a_refresh_changed_rows_are_decided_anew_and_the_others_stay_as_they_are():
    web, db, app = row(1, "web-1"), row(2, "db-1"), row(3, "app-1")
    first = await reading([web, db, app], 1)
    before = await sight("ann").look(VMS, first)
    assert names(before) == ["web-1"]
    second = await reading([row(1, "db-9"), db, row(3, "web-3"), row(4, "web-4")], 2, after=first)
    assert names(await sight("ann").look(VMS, second)) == ["web-3", "web-4"]
    third = await reading([*second.rows[1:], row(2, "db-1", running=False)], 3, after=second)
    assert names(await sight("ann").look(VMS, third)) == ["web-3", "web-4"]


async def test_what_is_not_seen_of_a_row_is_left_out_after_a_refresh_too():
    first = await reading([row(1, "web-1")], 1)
    (before,) = (await sight("ann").look(VMS, first)).rows
    assert before.node is None
    (after,) = (await sight("ann").look(VMS, await reading(first.rows, 2, after=first))).rows
    assert after is before


async def test_the_very_same_rows_are_seen_as_before_and_as_fresh_as_they_are():
    first = await reading([row(1, "web-1"), row(2, "db-1")], 1)
    before = await sight("ann").look(VMS, first)
    after = await sight("ann").look(VMS, first.read_again(2, 2.0))
    assert after.rows is before.rows
    assert (after.generation, after.as_of, after.rendered, after.answers) == (2, 2.0, {}, {})


async def test_other_tags_decide_anew_about_rows_that_are_the_same():
    rows = await reading([row(1, "web-1"), row(2, "db-1")], 1)
    on_one, on_two = VmTag(id=1, vm_id=1, tag="prod"), VmTag(id=1, vm_id=2, tag="prod")
    for generation, tag, seen in ((1, on_one, ["web-1"]), (2, on_two, ["db-1"]), (3, on_one, ["web-1"])):
        tags = await reading([tag], generation, VM_TAGS)
        assert names(await sight("tom", tags).look(VMS, rows)) == seen
        rows = await reading(rows.rows, generation + 10, after=rows)


async def test_nobody_is_handed_what_another_right_saw():
    first = await reading([row(1, "web-1"), row(2, "db-1")], 1)
    tags = await reading([VmTag(id=1, vm_id=2, tag="prod")], 1, VM_TAGS)
    await sight("ann").look(VMS, first)
    second = await reading(first.rows, 2, after=first)
    assert names(await sight("tom", tags).look(VMS, second)) == ["db-1"]
    assert names(await sight("ann").look(VMS, second)) == ["web-1"]
    assert second.source is Source.CACHE
