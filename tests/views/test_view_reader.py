"""One view, read by several processes: one request for all, never older than it may be, never behind a patch."""

import asyncio
import dataclasses
import gc

import orjson
import pytest

from gateway.core.answer import Source
from gateway.core.errors import VergeOSBusy, VergeOSForbidden, VergeOSUnauthorized, VergeOSUnreachable
from gateway.store.rows import ViewStore
from gateway.views.remembered import STALE_SECONDS
from tests.conftest import eventually
from tests.views.conftest import KEYS, LIFETIME, row


def names(rows):
    return [one.name for one in rows.rows]


async def commands(redis):
    """How many commands Redis has carried out, this question not counted."""
    return (await redis.info("stats"))["total_commands_processed"]


# one request for all


async def test_a_hundred_callers_at_once_are_one_request(process, asked):
    reader = process()
    found = await asyncio.gather(*(reader.read() for _ in range(100)))
    assert asked.times == 1
    assert {one.source for one in found} == {Source.LIVE}
    assert names(found[0]) == ["db-1", "web-1"]


async def test_a_hit_asks_neither_vergeos_nor_redis(process, asked, redis):
    reader = process()
    await reader.read()
    before = await commands(redis)
    hits = [await reader.read() for _ in range(10)]
    assert await commands(redis) == before + 1
    assert asked.times == 1
    assert {one.source for one in hits} == {Source.CACHE}
    assert len({id(one) for one in hits}) == 1


async def test_a_second_process_finds_the_rows_in_redis(process, asked):
    first, second = await process().read(), await process().read()
    assert asked.times == 1
    assert second.source is Source.CACHE
    assert (second.rows, second.generation, second.as_of) == (first.rows, first.generation, first.as_of)


async def test_two_processes_read_at_once_by_many_are_one_request(process, asked):
    asked.open.clear()
    one, other = process(), process()
    reads = [asyncio.create_task(reader.read()) for reader in (one, other) for _ in range(200)]
    await asked.is_asked()
    asked.open.set()
    found = await asyncio.gather(*reads)
    assert asked.times == 1
    assert sorted(rows.source.value for rows in found) == ["cache"] * 200 + ["live"] * 200


async def test_a_process_that_died_while_it_refilled_holds_others_up_for_its_claim_only(process, asked, store):
    await store.claim("things", "dead", 0.3)
    assert (await process().read()).source is Source.LIVE
    assert asked.times == 1


async def test_a_claim_is_given_back_also_after_a_failure(process, asked, redis):
    asked.error = VergeOSUnreachable("no connection")
    with pytest.raises(VergeOSUnreachable):
        await process().read()
    assert await redis.exists(KEYS.view_refresh("things")) == 0


async def test_rows_are_asked_for_again_when_their_lifetime_is_over(process, asked, now, redis):
    reader = process()
    first = await reader.read()
    await now.passes(LIFETIME + 1, redis)
    second = await reader.read()
    assert (asked.times, second.source) == (2, Source.LIVE)
    assert second.as_of > first.as_of


async def test_rows_and_names_are_found_by_key_and_name_in_one_order_from_either_source(process, asked):
    asked.rows = [row(3, "b"), row(10, "B"), row(1, "a"), row(2, "b")]
    live, cached = await process().read(), await process().read()
    assert [(one.id, one.name) for one in live.rows] == [(1, "a"), (10, "B"), (2, "b"), (3, "b")]
    assert cached.rows == live.rows
    assert cached.by_key[10].name == "B"
    assert [one.id for one in cached.by_name["b"]] == [2, 3]
    assert "c" not in cached.by_name


async def test_what_was_rendered_is_not_shared_between_sources_or_generations(process, now, redis):
    reader = process()
    live = await reader.read()
    live.rendered["json"] = b"live"
    cached = await reader.read()
    assert cached.rendered == {}
    cached.rendered["json"] = b"cached"
    assert (await reader.read()).rendered == {"json": b"cached"}
    await now.passes(LIFETIME + 1, redis)
    await reader.read()
    assert (await reader.read()).rendered == {}


async def test_a_refill_keeps_the_rows_that_are_the_same_and_their_order_where_all_are(process, asked, now, redis):
    reader = process()
    before = await reader.read()
    asked.rows = [row(2, "db-1"), row(1, "web-1")]
    await now.passes(LIFETIME + 1, redis)
    same = await reader.read()
    assert (asked.times, same.source) == (2, Source.LIVE)
    assert same.rows is before.rows
    assert same.generation > before.generation
    asked.rows = [row(2, "db-1"), row(1, "web-1", running=False)]
    await now.passes(LIFETIME + 1, redis)
    changed = await reader.read()
    assert changed.by_key[2] is before.by_key[2]
    assert not changed.by_key[1].running


# renewed in time


async def test_a_view_read_all_the_time_is_renewed_before_its_life_is_over_and_nobody_waits(process, asked, now, redis):
    reader, other = process(), process()
    first = await reader.read()
    await other.read()
    now.stops()
    await now.passes(LIFETIME - 0.1, redis)
    for _ in range(200):
        for one in (reader, other):
            assert (await one.read()).rows == first.rows
    await eventually(lambda: reader.idle and other.idle)
    assert (await reader.read()).as_of > first.as_of
    assert (await other.read()).as_of > first.as_of
    assert asked.times == 2


async def test_a_view_read_now_and_then_is_not_renewed_before_somebody_wants_it(process, asked, now, redis):
    reader = process()
    await reader.read()
    now.stops()
    await now.passes(LIFETIME - 0.1, redis)
    for _ in range(20):
        await reader.read()
    assert reader.idle
    assert asked.times == 1


async def test_a_renewal_that_fails_is_not_tried_again_with_each_read(process, asked, now, redis):
    reader = process()
    await reader.read()
    asked.error = VergeOSUnreachable("gone")
    now.stops()
    await now.passes(LIFETIME - 0.1, redis)
    for _ in range(200):
        assert (await reader.read()).source is Source.CACHE
        await asyncio.sleep(0)
    await eventually(lambda: reader.idle)
    assert asked.times == 2


# how old


async def test_max_age_0_asks_after_the_call_and_joins_no_earlier_flight(process, asked):
    asked.open.clear()
    reader = process()
    early = asyncio.create_task(reader.read())
    await asked.is_asked()
    late = [asyncio.create_task(reader.read(0)) for _ in range(20)]
    await asyncio.sleep(0)
    asked.rows = [row(5, "new")]
    asked.open.set()
    assert names(await early) == ["db-1", "web-1"]
    assert [names(rows) for rows in await asyncio.gather(*late)] == [["new"]] * 20
    assert asked.times == 2


async def test_max_age_bounds_the_age_of_rows_from_memory_and_from_redis(process, asked, now, redis):
    reader = process()
    await reader.read()
    await now.passes(10, redis)
    assert (await reader.read(11)).source is Source.CACHE
    assert (await process().read(11)).source is Source.CACHE
    assert asked.times == 1
    assert (await process().read(9)).source is Source.LIVE
    assert asked.times == 2


async def test_max_age_never_stretches_the_lifetime(process, asked, now, redis):
    reader = process()
    await reader.read()
    await now.passes(LIFETIME + 1, redis)
    assert (await reader.read(10 * LIFETIME)).source is Source.LIVE


async def test_a_strict_caller_does_not_take_the_older_rows_that_an_easy_flight_found(
    process, asked, now, redis, store
):
    await process().read()
    await now.passes(20, redis)
    reader = process()
    easy, strict = await asyncio.gather(reader.read(), reader.read(5))
    assert (easy.source, strict.source) == (Source.CACHE, Source.LIVE)


async def test_rows_from_the_future_are_not_trusted_when_redis_clock_went_back(process, asked, redis):
    await process().read()
    await redis.hincrbyfloat(KEYS.view("things"), "as_of", 3600)
    assert (await process().read()).source is Source.LIVE


# patches


async def test_every_process_reads_a_patch_once_it_heard_of_it_without_a_request(process, asked, store):
    one, other = process(), process()
    await one.read()
    await other.read()
    generation = await store.patch("things", {"1": {"running": False, "status": "stopped"}})
    for reader in (one, other):
        reader.forget(generation)
        rows = await reader.read()
        assert (rows.by_key[1].status, rows.by_key[2].status) == ("stopped", "running")
        assert (rows.generation, rows.source) == (generation, Source.CACHE)
    assert asked.times == 1


async def test_old_news_leaves_newer_rows_alone(process, asked, store, redis):
    reader = process()
    generation = await store.patch("things", {"1": {"running": False}})
    await reader.read()
    before = await commands(redis)
    reader.forget(generation)
    await reader.read()
    assert await commands(redis) == before + 1


@pytest.mark.parametrize("stored_before", [True, False], ids=["stored", "not stored"])
async def test_a_refill_begun_before_a_patch_does_not_undo_it(process, asked, store, now, redis, stored_before):
    one, other = process(), process()
    if stored_before:
        await one.read()
        await now.passes(LIFETIME + 1, redis)
    asked.open.clear()
    refill = asyncio.create_task(one.read())
    await asked.is_asked(2 if stored_before else 1)
    patched = await store.patch("things", {"1": {"status": "stopped", "running": False}})
    asked.open.set()
    rows = await refill
    assert (rows.by_key[1].status, rows.by_key[2].status) == ("stopped", "running")
    assert rows.generation > patched
    assert (await other.read()).rows == rows.rows


async def test_a_refill_begun_after_a_patch_replaces_it(process, asked, store):
    reader = process()
    await store.patch("things", {"1": {"status": "stopped"}})
    assert (await reader.read()).by_key[1].status == "running"


async def test_a_patch_heard_of_while_the_rows_are_on_their_way_is_in_them(process, asked, store):
    asked.open.clear()
    reader = process()
    reading = asyncio.create_task(reader.read())
    await asked.is_asked()
    reader.forget(await store.patch("things", {"2": {"status": "stopped"}}))
    asked.open.set()
    assert (await reading).by_key[2].status == "stopped"


async def test_a_refill_begun_before_a_drop_is_refused_and_asks_again(process, asked, store):
    asked.open.clear()
    reader = process()
    reading = asyncio.create_task(reader.read())
    await asked.is_asked()
    asked.rows = [row(1, "web-1", status="stopped")]
    await store.patch("others", {"1": {}}, drop=["things"])
    asked.open.set()
    assert (await reading).by_key[1].status == "stopped"
    assert asked.times == 2


async def test_a_view_that_is_dropped_again_and_again_is_given_up(process, asked, store):
    dropping = asked.query

    async def query(vergeos):
        await store.patch("others", {"1": {}}, drop=["things"])
        return await dropping(vergeos)

    asked.query = query
    with pytest.raises(VergeOSBusy, match="changes faster"):
        await process().read()


class Overtaken(ViewStore):
    """A store where a job changes a row, patches it and makes itself heard just after one operation is carried out."""

    reader = asked = after = None

    async def head(self, name):
        return await self._overtaken("head", await super().head(name))

    async def load(self, name):
        return await self._overtaken("load", await super().load(name))

    async def replace(self, name, rows, **begun):
        return await self._overtaken("replace", await super().replace(name, rows, **begun))

    async def _overtaken(self, operation, result):
        if operation == self.after:
            self.after = None
            self.asked.rows = [row(1, "web-1", status="stopped")]
            self.reader.forget(await self.patch("things", {"1": {"status": "stopped"}}))
        return result


@pytest.mark.parametrize("after", ["head", "load", "replace"])
@pytest.mark.parametrize("known_to", ["nobody", "another process", "this process"])
async def test_a_patch_heard_of_in_the_middle_of_a_read_is_in_what_is_read(process, asked, redis, now, after, known_to):
    reader = process()
    if known_to == "another process":
        await process().read()
    elif known_to == "this process":
        await reader.read()
        now.ahead += LIFETIME + 1  # for this process alone: Redis has the same rows as it, and still fresh
    overtaken = Overtaken(redis, KEYS)
    overtaken.reader, overtaken.asked, overtaken.after = reader, asked, after
    reader._around = dataclasses.replace(reader._around, store=overtaken)
    for _ in range(2):
        rows = await reader.read()
        assert rows.by_key[1].status == ("running" if overtaken.after else "stopped")


# when VergeOS or Redis is away


@pytest.mark.parametrize("error", [VergeOSUnreachable("gone"), VergeOSUnauthorized("refused")])
async def test_the_last_rows_are_shown_as_stale_while_vergeos_cannot_be_asked(process, asked, now, redis, error):
    reader = process()
    first = await reader.read()
    asked.error = error
    await now.passes(STALE_SECONDS - 5, redis)
    for stale in (await reader.read(), await reader.read(0), await process().read()):
        assert (stale.source, stale.rows) == (Source.STALE, first.rows)
    asked.error = None
    assert (await reader.read()).source is Source.LIVE


async def test_stale_rows_have_the_patches_that_came_since(process, asked, now, redis, store):
    reader = process()
    await reader.read()
    await now.passes(LIFETIME + 1, redis)
    reader.forget(await store.patch("things", {"1": {"status": "stopped"}}))
    asked.error = VergeOSUnreachable("gone")
    stale = await reader.read()
    assert (stale.source, stale.by_key[1].status) == (Source.STALE, "stopped")


async def test_rows_that_are_too_old_are_not_shown_and_the_error_passes_through(process, asked, now, redis):
    reader = process()
    await reader.read()
    asked.error = VergeOSUnreachable("gone")
    await now.passes(STALE_SECONDS + 1, redis)
    with pytest.raises(VergeOSUnreachable):
        await reader.read()


async def test_an_answer_of_vergeos_that_it_will_not_passes_through(process, asked, now, redis):
    reader = process()
    await reader.read()
    asked.error = VergeOSForbidden("not for you")
    await now.passes(LIFETIME + 1, redis)
    with pytest.raises(VergeOSForbidden):
        await reader.read()


async def test_reads_go_on_from_memory_and_vergeos_while_redis_is_away(process, asked, own_redis, now):
    reader = process(own_redis.url)
    own_redis.stop()
    assert (await reader.read()).source is Source.LIVE
    assert (await reader.read()).source is Source.CACHE
    assert asked.times == 1
    now.ahead += LIFETIME + 1
    assert (await reader.read()).source is Source.LIVE
    asked.error = VergeOSUnreachable("gone too")
    now.ahead += LIFETIME + 1
    assert (await reader.read()).source is Source.STALE


async def test_rows_read_while_redis_dies_are_shown_all_the_same(process, asked, own_redis):
    asked.open.clear()
    reader = process(own_redis.url)
    reading = asyncio.create_task(reader.read())
    await asked.is_asked()
    own_redis.stop()
    asked.open.set()
    assert (await reading).source is Source.LIVE
    assert asked.times == 1


async def test_rows_kept_without_redis_give_way_to_changes_once_it_is_back(process, asked, own_redis):
    reader, other = process(own_redis.url), process(own_redis.url)
    own_redis.stop()
    await reader.read()
    own_redis.start()
    asked.rows = [row(7, "after")]
    rows = await other.read()
    reader.forget(rows.generation)
    assert names(await reader.read()) == ["after"]
    assert asked.times == 2


async def test_a_generation_is_never_used_twice_even_when_redis_lost_everything(process, asked, redis, store, now):
    reader = process()
    first = await reader.read()
    await redis.flushall()
    generation = await store.patch("things", {"1": {"status": "stopped"}})
    assert generation > first.generation
    reader.forget(generation)
    assert (await reader.read()).source is Source.LIVE


async def test_rows_written_by_another_version_are_read_anew(process, asked, redis):
    await process().read()
    await redis.hset(KEYS.view_rows("things"), "1", orjson.dumps({"id": 1, "title": "of another shape"}))
    reader = process()
    assert await reader.known_row(1, LIFETIME) is None
    assert (await reader.read()).source is Source.LIVE


async def test_rows_that_redis_evicted_are_not_an_empty_list(process, asked, redis):
    await process().read()
    await redis.delete(KEYS.view_rows("things"))
    assert len((await process().read()).rows) == 2


async def test_an_empty_list_is_a_list(process, asked):
    asked.rows = []
    assert [(await process().read()).rows for _ in range(2)] == [(), ()]
    assert asked.times == 1


# who goes away


async def test_a_caller_who_goes_away_does_not_take_the_others_along(process, asked):
    asked.open.clear()
    reader = process()
    first, second = asyncio.create_task(reader.read()), asyncio.create_task(reader.read())
    await asked.is_asked()
    first.cancel()
    asked.open.set()
    assert (await second).source is Source.LIVE
    assert asked.times == 1


async def test_a_failure_that_nobody_waits_for_any_more_is_not_logged(process, asked, caplog):
    asked.open.clear()
    asked.error = VergeOSForbidden("no")
    reader = process()
    reading = asyncio.create_task(reader.read())
    await asked.is_asked()
    reading.cancel()
    asked.open.set()
    await eventually(lambda: reader.idle)
    reader._flight = None
    gc.collect()
    assert caplog.records == []


async def test_closing_ends_a_read_under_way_and_gives_its_claim_back(process, asked, redis):
    asked.open.clear()
    reader = process()
    reading = asyncio.create_task(reader.read())
    await asked.is_asked()
    await reader.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await redis.exists(KEYS.view_refresh("things")) == 0


# what is known without asking


async def test_what_is_known_is_told_without_asking_vergeos(process, asked, now, redis):
    assert await process().known(LIFETIME) is None
    assert await process().known_row(1, LIFETIME) is None
    warm = process()
    await warm.read()
    for reader in (warm, process()):
        assert (await reader.known_row(1, LIFETIME)).name == "web-1"
        assert await reader.known_row(3, LIFETIME) is None
        assert len((await reader.known(LIFETIME)).rows) == 2
    await now.passes(LIFETIME + 1, redis)
    for reader in (warm, process()):
        assert await reader.known_row(1, LIFETIME) is None
        assert await reader.known(LIFETIME) is None
        assert (await reader.known_row(1, STALE_SECONDS)).name == "web-1"
    assert asked.times == 1


async def test_what_is_known_is_told_from_memory_while_redis_is_away(process, own_redis, now):
    reader = process(own_redis.url)
    rows = await reader.read()
    own_redis.stop()
    reader.forget(rows.generation + 1)
    assert (await reader.known(LIFETIME)).rows == rows.rows
    assert (await reader.known_row(1, LIFETIME)).name == "web-1"
    assert await process(own_redis.url).known_row(1, LIFETIME) is None
