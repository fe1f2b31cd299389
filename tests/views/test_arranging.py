"""Rows in order and with their indexes: after a few changes the same as if all of them were arranged anew."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.vm import VmRow
from gateway.views.arranging import arranged, rearranged
from gateway.views.declared import View
from tests.views.conftest import row

VIEW = View("things", "things", VmRow, None, lambda r: r.id, lambda r: r.name, 30.0)
NAMES = st.sampled_from(["a", "A", "b", "c"])
STATES = st.sampled_from(["running", "stopped"])


@given(
    st.dictionaries(st.integers(1, 12), st.tuples(NAMES, STATES)),
    st.dictionaries(st.integers(1, 12), st.none() | st.tuples(NAMES, STATES), min_size=1, max_size=4),
)
def test_a_few_changes_arrange_rows_as_if_all_were_arranged_anew(before, changes):
    async def story():
        known = {key: row(key, name, status=status) for key, (name, status) in before.items()}
        changed = {key: told and row(key, told[0], status=told[1]) for key, told in changes.items()}
        old = await arranged(VIEW, known.values(), generation=1, as_of=5.0)
        named = {str(key): one for key, one in changed.items()}
        new = await rearranged(VIEW, old, named, generation=2)
        after = [one for one in (known | changed).values() if one is not None]
        assert new == await arranged(VIEW, after, generation=2, as_of=5.0)

    asyncio.run(story())


async def test_a_patch_of_one_row_is_read_without_the_others(process, asked, store, redis):
    asked.rows = [row(key, description="x" * 500) for key in range(1, 201)]
    reader = process()
    await reader.read()
    sent = (await redis.info("stats"))["total_net_output_bytes"]
    reader.forget(await store.patch("things", {"7": {"status": "stopped"}, "9": None}))
    rows = await reader.read()
    assert (await redis.info("stats"))["total_net_output_bytes"] - sent < 20_000
    assert rows.by_key[7].status == "stopped"
    assert 9 not in rows.by_key
    assert len(rows.rows) == 199
    assert rows == (await process().read())


async def test_what_a_refill_sends_in_parts_is_gone_when_it_is_done_or_refused(process, asked, store, redis):
    asked.rows = [row(key) for key in range(1, 1_201)]
    await process().read()
    assert await store.replace("things", {"1": b"{}"}, as_of=1.0, begun_generation=0) is None
    assert [key async for key in redis.scan_iter(match="*staged*")] == []
    assert len((await process().read()).rows) == 1_200
