"""Which VM is meant, and how many requests it costs to know."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import AmbiguousName, CircuitOpen, UnknownObject, VergeOSDropped, VergeOSForbidden
from gateway.views.inventory import matches, parse_ref, resolve_vm
from gateway.views.lookups import LOOKUP_SECONDS, Lookups

HOSTILE = [
    "it's",
    "a' or name ne 'b",
    "') or (is_snapshot eq true",
    "back\\slash",
    "{macro}",
    "%27",
    "../vms",
    "name:",
    "naïve ☃",
    "two  spaces",
]


@pytest.fixture
async def views(replica):
    return await replica()


@pytest.mark.parametrize("ref", ["web-1", "key", "text"])
async def test_a_vm_nobody_asked_for_yet_costs_one_request_and_never_the_list(views, vergeos, sim, ref):
    key = sim.vm("web-1").key
    row = await resolve_vm(views, {"web-1": "web-1", "key": key, "text": str(key)}[ref])
    assert (row.id, row.name) == (key, "web-1")
    assert sim.requests["GET vms"] == 1
    assert sim.bytes_sent["GET vms"] < 2_000


@pytest.mark.parametrize("warm", ["memory", "redis"])
async def test_a_vm_of_a_fresh_list_costs_no_request(views, vergeos, sim, replica, warm):
    await views.vms()
    reader = views if warm == "memory" else await replica()
    key = sim.vm("web-1").key
    for ref in ("web-1", "name:web-1", key, str(key)):
        assert (await resolve_vm(reader, ref)).id == key
    assert sim.requests["GET vms"] == 1


async def test_a_vm_made_since_the_list_was_read_is_found_with_one_request(views, vergeos, sim):
    await views.vms()
    made = (await vergeos.create("vms", {"name": "brand-new"})).key
    before = sim.requests["GET vms"]
    assert (await resolve_vm(views, "brand-new")).id == made
    assert (await resolve_vm(views, made)).id == made
    assert sim.requests["GET vms"] == before + 2


async def test_digits_are_an_id_and_name_makes_them_a_name(views, vergeos, sim):
    key = sim.vm("web-1").key
    other = sim.vm("db-1").rename(str(key)).key
    assert (await resolve_vm(views, str(key))).id == key
    assert (await resolve_vm(views, f"name:{key}")).id == other
    await views.vms()
    assert (await resolve_vm(views, str(key))).id == key
    assert (await resolve_vm(views, f"name:{key}")).id == other


async def test_an_unknown_name_is_answered_with_the_nearest_names_and_their_ids(views, vergeos, sim):
    key = sim.vm("web-1").key
    with pytest.raises(UnknownObject) as unknown:
        await resolve_vm(views, "WEB-1x")
    error = unknown.value
    assert "WEB-1x" in error.detail
    assert f"'web-1' (id {key})" in error.detail
    assert error.extra["nearest"][0] == {"id": key, "name": "web-1"}
    assert len(error.extra["nearest"]) <= 3


async def test_a_name_that_nobody_has_is_looked_up_once_by_many_and_again_after_some_seconds(views, sim, now):
    await views.vms()
    for _ in range(2):
        found = await asyncio.gather(*(resolve_vm(views, "nobody") for _ in range(50)), return_exceptions=True)
        assert {type(one) for one in found} == {UnknownObject}
    assert sim.requests["GET vms"] == 2
    key = sim.vm("web-1").rename("nobody").key
    now.ahead += LOOKUP_SECONDS
    assert (await resolve_vm(views, "nobody")).id == key


async def test_a_name_that_no_list_tells_costs_one_request_for_some_seconds(views, sim):
    for _ in range(3):
        await resolve_vm(views, "web-1")
    assert sim.requests["GET vms"] == 1


async def test_many_single_vms_wanted_at_once_cost_one_list_and_few_wanted_cost_no_list(views, sim):
    names = [row["name"] for row in sim.world.db["vms"] if not row.get("is_snapshot")]
    for name in names[:8]:
        assert (await resolve_vm(views, name)).name == name
        assert (await resolve_vm(views, sim.vm(name).key)).name == name
    assert sim.requests["GET vms"] <= 3  # two single ones, then the list


async def test_looked_up_names_are_forgotten_when_the_list_changes_and_never_grow_without_end(monkeypatch):
    monkeypatch.setattr("gateway.views.lookups.LOOKUPS_KEPT", 4)
    lookups, asked = Lookups(lambda: 0.0), []

    async def look_up(name):
        async def find():
            asked.append(name)
            return ()

        await lookups.found("vms", name, find)

    await look_up("a")
    await look_up("a")
    lookups.forget("vms")
    await look_up("a")
    assert asked == ["a", "a"]
    for number in range(20):
        await look_up(str(number))
        assert len(lookups._said) <= 4
    assert lookups._asking == {}


async def test_a_name_like_no_other_is_just_unknown(views, vergeos):
    with pytest.raises(UnknownObject) as unknown:
        await resolve_vm(views, "zzzzzzzzzzzz")
    assert unknown.value.extra["nearest"] == []


@pytest.mark.parametrize("ref", [999_999, "999999", -1, 10**30, "9" * 5_000, "", "name:", "WEB-1", "web-", "٣"])
async def test_what_is_no_vm_is_unknown(views, vergeos, ref):
    with pytest.raises(UnknownObject) as unknown:
        await resolve_vm(views, ref)
    assert len(unknown.value.detail) < 1_000


async def test_several_vms_of_one_name_are_told_by_their_ids(views, vergeos, sim):
    keys = sorted([sim.vm("web-1").key, sim.vm("db-1").rename("web-1").key])
    for warmed in (False, True):
        if warmed:
            await views.vms()
        with pytest.raises(AmbiguousName) as ambiguous:
            await resolve_vm(views, "web-1")
        assert all(str(key) in ambiguous.value.detail for key in keys)
        assert sorted(match["id"] for match in ambiguous.value.extra["matches"]) == keys
    assert (await resolve_vm(views, keys[0])).id == keys[0]


async def test_a_snapshots_hidden_copy_is_never_meant(views, vergeos, sim):
    source = sim.vm("web-1")
    copy = (await vergeos.create("vms", {"name": "hidden-copy"})).key
    sim.world.db["vms"].rows[copy]["is_snapshot"] = True
    for ref in (copy, str(copy), "hidden-copy"):
        with pytest.raises(UnknownObject):
            await resolve_vm(views, ref)
    sim.world.db["vms"].change(sim.world.db["vms"].rows[copy], {"name": "web-1"})
    assert (await resolve_vm(views, "web-1")).id == source.key


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_only_a_name(views, vergeos, sim, now, name):
    with pytest.raises(UnknownObject):
        await resolve_vm(views, f"name:{name}")
    key = sim.vm("web-1").rename(name).key
    now.ahead += LOOKUP_SECONDS
    assert (await resolve_vm(views, f"name:{name}")).id == key
    await views.vms(max_age=0)
    assert (await resolve_vm(views, f"name:{name}")).id == key


async def test_a_name_with_hidden_characters_is_found_as_it_is_and_as_it_is_shown(views, vergeos, sim):
    key = sim.vm("web-1").rename("we\u202eb-1").key
    assert (await resolve_vm(views, "we\u202eb-1")).id == key
    await views.vms()
    assert (await resolve_vm(views, "web-1")).id == key
    assert (await resolve_vm(views, "we\u202eb-1")).id == key


async def test_a_known_vm_is_found_while_vergeos_is_down(views, vergeos, sim, now, redis):
    key = sim.vm("web-1").key
    await views.vms()
    await now.passes(60, redis)
    sim.down = True
    for ref in (key, "web-1"):
        assert (await resolve_vm(views, ref)).id == key
    for ref in (987_654, "web-unknown"):
        with pytest.raises((VergeOSDropped, CircuitOpen)):
            await resolve_vm(views, ref)
    await now.passes(600, redis)
    for ref in (key, "web-1"):
        with pytest.raises((VergeOSDropped, CircuitOpen)):
            await resolve_vm(views, ref)


async def test_what_vergeos_forbids_is_said_even_when_an_old_list_has_it(views, vergeos, sim, now, redis):
    key = sim.vm("web-1").key
    await views.vms()
    await now.passes(60, redis)
    sim.fault("status", path="vms", status=403, count=None)
    for ref in (key, "web-1"):
        with pytest.raises(VergeOSForbidden):
            await resolve_vm(views, ref)


async def test_an_unknown_name_is_told_even_when_the_list_cannot_be_read(views, vergeos, sim):
    sim.fault("status", path="vms", status=403, skip=1, count=None)
    with pytest.raises(UnknownObject) as unknown:
        await resolve_vm(views, "web-unknown")
    assert unknown.value.extra["nearest"] == []


@pytest.mark.parametrize(
    ("ref", "same"),
    [(34, True), ("34", True), ("web-1", True), ("name:web-1", True), ("name:34", False), ("Web-1", False), (3, False)],
)
def test_matches_reads_a_reference_as_resolving_does(ref, same):
    assert matches(ref, 34, "web-1") is same


@given(st.integers(-5, 10**20) | st.text())
def test_every_reference_is_an_id_or_a_name(ref):
    meant = parse_ref(ref)
    assert isinstance(meant, int) == (isinstance(ref, int) or (ref.isascii() and ref.isdigit() and len(ref) <= 18))
