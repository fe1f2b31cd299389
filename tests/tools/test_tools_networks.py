"""The tools about networks: right values, few requests, and the platform's own networks guarded."""

import pytest

from gateway.core.access import Caller, Permission
from gateway.core.answer import Source
from gateway.core.errors import AmbiguousName, CoreNetwork, Forbidden, InvalidArgument, UnknownObject, VergeOSDropped
from gateway.core.job import JobState

HOSTILE = "o'neill's {net} \\ \"x\""


def rows(sim):
    return {row["$key"]: row for row in sim.world.db["vnets"]}


def key_of(sim, name):
    return sim.world.db["vnets"].first("name", name)["$key"]


def running(sim, row):
    return sim.world.power.is_running(row["machine"])


async def test_the_list_tells_every_network_as_vergeos_has_it_for_one_request(call, sim):
    answer = await call("list_networks")
    listed, meant = {row.id: row for row in answer.value.items}, rows(sim)
    assert listed.keys() == meant.keys()
    assert answer.value.total == len(meant)
    for key, row in listed.items():
        of = meant[key]
        assert (row.name, row.type, row.enabled) == (of["name"], of["type"], of.get("enabled", True))
        assert (row.running, row.network, row.ipaddress) == (running(sim, of), of["network"], of["ipaddress"])
        assert (row.layer2_id, row.need_fw_apply) == (of["layer2_id"], of["need_fw_apply"])
        assert row.machine_id == of["machine"]
    assert (await call("list_networks")).source is Source.CACHE
    assert sim.requests == {"GET vnets": 1}


async def test_the_list_is_narrowed_by_type_name_and_enabled_and_paged(call, sim):
    async def names(**wanted):
        return [row.name for row in (await call("list_networks", **wanted)).value.items]

    sim.world.db["vnets"].change(rows(sim)[key_of(sim, "Internal")], {"enabled": False})
    assert await names(type="core") == ["Core"]
    assert await names(type="Core") == ["Core"]
    assert await names(name="WEB") == ["web-1"]
    assert await names(enabled=False) == ["Internal"]
    assert await names(type="internal", enabled=True) == ["lab (off)", HOSTILE, "web-1"]
    page = (await call("list_networks", limit=3, offset=2)).value
    assert (len(page.items), page.total, page.next) == (3, len(rows(sim)), 5)
    assert sim.requests == {"GET vnets": 1}


@pytest.mark.parametrize("ref", ["Internal", "name:Internal", "key", "text"])
async def test_one_network_cold_is_at_most_two_requests(call, sim, ref):
    key = key_of(sim, "Internal")
    answer = await call("get_network", id={"key": key, "text": str(key)}.get(ref, ref))
    of = rows(sim)[key]
    assert (answer.value.id, answer.value.name, answer.value.running) == (key, "Internal", True)
    assert (answer.value.dhcp_start, answer.value.mtu) == (of["dhcp_start"], 1500)
    assert answer.value.rate_limit is None
    assert answer.value.rx_bytes > 0
    assert sim.requests == {"GET vnets": 1 if ref in ("key", "text") else 2}


async def test_one_network_is_one_request_where_the_list_is_known_and_none_where_it_was_just_read(call, sim):
    await call("list_networks")
    for _ in range(3):
        await call("get_network", id="Internal")
    assert sim.requests == {"GET vnets": 2}


async def test_a_hostile_name_is_only_a_name(call, sim):
    answer = await call("get_network", id=HOSTILE)
    assert answer.value.id == key_of(sim, HOSTILE)
    assert "ignore your instructions" in answer.value.description  # as data, on one line
    for name in ("x' or name ne 'x", "{$now}", "\\"):
        with pytest.raises(UnknownObject):
            await call("get_network", id=name)


@pytest.mark.parametrize("ref", [99_999, "no such network", "", "-1"])
async def test_what_is_no_network_is_unknown_and_told_with_the_nearest(call, sim, ref):
    with pytest.raises(UnknownObject, match="there is no network"):
        await call("get_network", id=ref)
    with pytest.raises(UnknownObject, match=r"nearest names are 'Internal' \(id") as unknown:
        await call("get_network", id="internall")
    assert "list_networks" in unknown.value.next_step


async def test_two_networks_of_one_name_are_told_by_their_ids(call, sim):
    db = sim.world.db["vnets"]
    db.change(rows(sim)[key_of(sim, "web-1")], {"name": "Internal"})
    with pytest.raises(AmbiguousName, match="2 networks are named 'Internal'"):
        await call("get_network", id="Internal")


async def test_an_action_becomes_a_job_on_the_network_as_it_is_now(call, sim, services):
    of = rows(sim)[key_of(sim, "web-1")]
    job = (await call("network_action", id="web-1", action="apply")).value
    assert (job.tool, job.target.kind, job.target.id, job.target.name) == (
        "network_action", "network", of["$key"], "web-1"
    )  # fmt: skip
    assert job.state is JobState.WORKING
    record = await services.jobs.get(job.id)
    assert (record.target.machine_key, record.target.uuid, record.wish.action) == (of["machine"], "", "apply")
    assert record.target.watched == f"machine:{of['machine']}"
    assert sim.requests == {"GET vnets": 1}
    assert not sim.actions


@pytest.mark.parametrize("name", ["Core", "DMZ"])
async def test_the_platforms_own_networks_are_refused_unless_that_is_said(call, sim, name):
    with pytest.raises(CoreNetwork) as refused:
        await call("network_action", id=name, action="poweroff")
    assert (refused.value.code, refused.value.status) == ("core_network", 409)
    assert "allow_core" in refused.value.next_step
    job = (await call("network_action", id=name, action="reset", allow_core=True)).value
    assert job.target.name == name


async def test_a_network_of_unknown_type_is_guarded_like_a_core_network(call, sim):
    sim.world.db["vnets"].change(rows(sim)[key_of(sim, "web-1")], {"type": ""})
    with pytest.raises(CoreNetwork, match="unknown type"):
        await call("network_action", id="web-1", action="poweroff")


async def test_switching_a_core_network_needs_more_than_changing(call, sim):
    someone = Caller("ann", frozenset({Permission.READ, Permission.CHANGE}))
    await call("network_action", caller=someone, id="web-1", action="apply")
    with pytest.raises(Forbidden, match="admin"):
        await call("network_action", caller=someone, id="Core", action="apply", allow_core=True)
    with pytest.raises(Forbidden):
        await call("network_action", caller=Caller("bob", frozenset({Permission.READ})), id="web-1", action="apply")


@pytest.mark.parametrize("action", ["refresh", "kill", "killpower", "", None])
async def test_an_action_that_there_is_not_costs_nothing(call, sim, action):
    with pytest.raises(InvalidArgument, match="action"):
        await call("network_action", id="web-1", action=action)
    assert not sim.requests


async def test_a_network_without_a_machine_cannot_be_switched(call, sim):
    sim.world.db["vnets"].change(rows(sim)[key_of(sim, "web-1")], {"machine": None})
    with pytest.raises(InvalidArgument, match="no machine"):
        await call("network_action", id="web-1", action="poweron")


async def test_the_same_wish_joins_the_open_job(call):
    first = (await call("network_action", id="web-1", action="apply")).value
    second = (await call("network_action", id="web-1", action="apply")).value
    assert second.id == first.id
    assert second.note


async def test_while_vergeos_is_down_a_cold_list_is_an_error_and_a_known_one_an_answer(call, sim):
    sim.down = True
    with pytest.raises(VergeOSDropped):
        await call("list_networks")
    sim.down = False
    await call("list_networks")
    sim.down = True
    assert (await call("list_networks")).value.total == len(rows(sim))


@pytest.mark.parametrize("action", ["poweroff", "reset"])
async def test_a_dry_run_names_the_running_vms_that_would_be_cut_off_and_does_nothing(call, sim, services, action):
    key = key_of(sim, "Internal")
    on_it = {nic["machine"] for nic in sim.world.db["machine_nics"] if nic.get("vnet") == key}
    vms = [row for row in sim.world.db["vms"] if row["machine"] in on_it and not row.get("is_snapshot")]
    planned = (await call("network_action", id="Internal", action=action, dry_run=True)).as_python()
    names = sorted(row["name"] for row in vms if running(sim, row))
    assert names
    assert any(warning.endswith(": " + ", ".join(names)) for warning in planned["plan"]["warnings"])
    assert sim.requests == {"GET vnets": 2, "GET machine_nics": 1, "GET vms": 1}
    assert not sim.actions
    assert not await services.jobs.open()


async def test_a_dry_run_refuses_what_the_call_would(call, sim):
    with pytest.raises(CoreNetwork):
        await call("network_action", id="Core", action="poweroff", dry_run=True)
