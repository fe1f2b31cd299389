"""A view's rows in Redis: fills, patches, generations, what is told to whom, and what Patch must get right."""

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.core.errors import StoreError
from gateway.store.keys import VIEW_SECONDS, Keys
from gateway.store.patches import Patch
from gateway.store.rows import ViewStore

KEYS = Keys("house")
ROWS = {"1": b'{"name":"a","on":true}', "2": b'{"name":"b","on":true}'}


@pytest.fixture
def store(redis):
    return ViewStore(redis, KEYS)


async def fill(store, rows=ROWS, name="things"):
    head = await store.head(name)
    return await store.replace(name, rows, as_of=head.now, begun_generation=head.generation)


async def told(redis):
    return [orjson.loads(fields[b"view"]) for _, fields in await redis.xrange(KEYS.events)]


async def test_a_view_that_was_never_filled_has_no_rows(store):
    head = await store.head("things")
    assert (head.generation, head.as_of) == (0, None)
    assert head.now > 0
    assert await store.load("things") is None
    assert (await store.row("things", "1"))[1] is None


async def test_what_is_filled_can_be_loaded_whole_and_row_by_row(store):
    stored = await fill(store)
    assert stored.rows == ROWS
    assert await store.load("things") == stored
    head, row = await store.row("things", "2")
    assert (head.generation, head.as_of, row) == (stored.generation, stored.as_of, ROWS["2"])


async def test_a_fill_takes_away_what_is_not_in_it(store):
    await fill(store)
    await fill(store, {"2": ROWS["2"]})
    assert (await store.load("things")).rows == {"2": ROWS["2"]}
    await fill(store, {})
    assert (await store.load("things")).rows == {}


async def test_a_fill_begun_before_another_is_refused(store):
    early = await store.head("things")
    stored = await fill(store)
    refused = await store.replace("things", {}, as_of=early.now, begun_generation=early.generation)
    assert refused is None
    assert await store.load("things") == stored


async def test_a_patch_changes_members_of_rows_that_are_there(store):
    filled = await fill(store)
    generation = await store.patch("things", {"1": {"on": False}, "3": {"on": False}})
    stored = await store.load("things")
    assert generation == stored.generation > filled.generation
    assert stored.as_of == filled.as_of
    assert {key: orjson.loads(row) for key, row in stored.rows.items()} == {
        "1": {"name": "a", "on": False},
        "2": {"name": "b", "on": True},
    }


async def test_what_a_single_read_told_stands_in_the_list_and_over_a_refill_begun_before(store, redis):
    filled = await fill(store)
    early, before = await store.head("things"), len(await told(redis))
    generation = await store.amend("things", "1", {"on": False}, seen_at=early.now)
    assert generation > filled.generation
    assert (await told(redis))[before:] == [{"view": "things", "generation": generation}]
    stored = await store.load("things")
    assert (stored.generation, stored.as_of) == (generation, filled.as_of)
    assert orjson.loads(stored.rows["1"]) == {"name": "a", "on": False}
    refilled = await store.replace("things", ROWS, as_of=early.now, begun_generation=early.generation)
    assert orjson.loads(refilled.rows["1"]) == {"name": "a", "on": False}


async def test_a_single_read_changes_nothing_where_something_newer_stands(store, redis):
    assert await store.amend("things", "1", {"on": False}, seen_at=(await store.head("things")).now) is None
    early = await store.head("things")
    await fill(store)
    refilled, late = await store.load("things"), await store.head("things")
    assert await store.amend("things", "1", {"on": False}, seen_at=early.now) is None, "the list is newer"
    assert await store.amend("things", "1", {"on": True}, seen_at=late.now) is None, "it is so already"
    assert await store.amend("things", "3", {"on": True}, seen_at=late.now) is None, "there is no such row"
    assert await store.load("things") == refilled
    await store.patch("things", {"1": {"name": "new"}})
    assert await store.amend("things", "1", {"on": False}, seen_at=late.now) is None, "a job saw it later"
    assert await store.amend("things", "2", {"on": False}, seen_at=late.now), "another row's patch says nothing of it"


async def test_of_two_single_reads_the_later_stands(store):
    await fill(store)
    first, second = await store.head("things"), await store.head("things")
    assert await store.amend("things", "1", {"on": False}, seen_at=second.now)
    assert await store.amend("things", "1", {"on": True}, seen_at=first.now) is None
    assert orjson.loads((await store.load("things")).rows["1"])["on"] is False


async def test_a_patch_brings_whole_rows_and_takes_rows_away(store):
    await fill(store)
    await store.patch("things", {"3": b'{"name":"c","on":true}', "1": None, "9": None})
    assert (await store.load("things")).rows == {"2": ROWS["2"], "3": b'{"name":"c","on":true}'}


async def test_a_fill_begun_before_patches_keeps_every_one_of_them(store):
    await fill(store)
    early = await store.head("things")
    await store.patch("things", {"1": {"on": False}})
    await store.patch("things", {"1": {"size": 4}, "2": None, "3": b'{"name":"c","on":true}'})
    stored = await store.replace("things", ROWS, as_of=early.now, begun_generation=early.generation)
    assert {key: orjson.loads(row) for key, row in stored.rows.items()} == {
        "1": {"name": "a", "on": False, "size": 4},
        "3": {"name": "c", "on": True},
    }
    assert await store.load("things") == stored


async def test_a_fill_ends_the_memory_of_patches(store, redis):
    await store.patch("things", {"1": {"on": False}, "2": None})
    stored = await fill(store)
    assert stored.rows == ROWS
    assert [field for field in await redis.hkeys(KEYS.view("things")) if field.startswith(b"patch")] == []


async def test_dropped_views_are_gone_with_the_same_change_and_refuse_fills_begun_before(store):
    await fill(store)
    await fill(store, name="single")
    early = await store.head("single")
    generation = await store.patch("things", {"1": {"on": False}}, drop=["single", "unknown"])
    assert await store.load("single") is None
    assert [(await store.head(name)).generation for name in ("things", "single", "unknown")] == [generation] * 3
    assert await store.replace("single", ROWS, as_of=early.now, begun_generation=early.generation) is None
    assert (await fill(store, name="single")).rows == ROWS


async def test_every_change_is_told_to_all_processes_with_its_generation(store, redis):
    filled = await fill(store)
    patched = await store.patch("things", {"1": {"on": False}}, drop=["single"])
    assert await told(redis) == [
        {"view": "things", "generation": filled.generation},
        {"view": "things", "generation": patched},
        {"view": "single", "generation": patched},
    ]


async def test_every_key_of_a_view_expires(store, redis):
    await fill(store)
    await store.patch("things", {"1": {"on": False}}, drop=["single"])
    await store.claim("things", "me", 2.0)
    for key in (KEYS.view("things"), KEYS.view_rows("things"), KEYS.view("single")):
        assert VIEW_SECONDS - 10 < await redis.ttl(key) <= VIEW_SECONDS
    assert 0 < await redis.pttl(KEYS.view_refresh("things")) <= 2000


async def test_patches_at_the_same_time_all_count(store):
    await fill(store)
    generations = await asyncio.gather(*(store.patch("things", {"1": {f"m{n}": n}}) for n in range(20)))
    assert len(set(generations)) == 20
    row = orjson.loads((await store.load("things")).rows["1"])
    assert all(row[f"m{n}"] == n for n in range(20))


async def test_one_process_at_a_time_claims_a_refill_and_only_it_gives_the_claim_back(store):
    assert await store.claim("things", "one", 5.0)
    assert not await store.claim("things", "other", 5.0)
    await store.release("things", "other")
    assert not await store.claim("things", "other", 5.0)
    await store.release("things", "one")
    assert await store.claim("things", "other", 5.0)


async def test_a_redis_that_is_away_is_a_store_error(own_redis):
    own_redis.stop()
    async with Redis.from_url(own_redis.url) as redis:
        store = ViewStore(redis, KEYS)
        for asking in (
            store.head("things"),
            store.load("things"),
            store.row("things", "1"),
            fill(store),
            store.patch("things", {"1": None}),
            store.claim("things", "me", 1.0),
            store.release("things", "me"),
        ):
            with pytest.raises(StoreError):
                await asking


MEMBERS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), min_size=1)
WHOLE = st.fixed_dictionaries({name: st.integers(0, 3) for name in "abc"})
CHANGES = st.lists(st.one_of(MEMBERS, WHOLE.map(orjson.dumps), st.none()), max_size=6)


@given(first=st.none() | WHOLE, changes=CHANGES, data=st.data())
def test_a_refill_with_the_later_patches_over_it_is_the_truth(first, changes, data):
    """The truth changes by patches alone; a refill reads it between any two of them."""
    truth, history, patch = first, [first], Patch()
    for generation, change in enumerate(changes, start=1):
        if change is None:
            truth = None
        elif isinstance(change, bytes):
            truth = orjson.loads(change)
        elif truth is not None:
            truth = {**truth, **change}
        history.append(truth)
        patch = Patch.from_json(patch.then(change, generation).as_json())
    since = data.draw(st.integers(0, len(changes)))
    read = history[since]
    found = patch.over(None if read is None else orjson.dumps(read), since)
    assert (None if found is None else orjson.loads(found)) == truth


async def test_a_fill_with_the_rows_that_stood_before_is_told_as_the_same_until_a_patch(store, redis):
    for rows in (ROWS, ROWS, {"2": ROWS["2"]}, ROWS):
        await fill(store, rows)
    await store.patch("things", {"1": {"on": False}})
    await fill(store)
    assert [event.get("same", False) for event in await told(redis)] == [False, True, False, False, False, False]
