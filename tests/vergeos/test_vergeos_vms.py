"""The calls about VMs against the simulated VergeOS: what they return and what they cost."""

import asyncio

import pytest

from gateway.core.errors import UpstreamError, VergeOSBadAnswer, VergeOSInvalid, VergeOSNotFound
from gateway.core.text import clean
from gateway.simulator import Simulator, SimulatorSettings
from gateway.vergeos.vms import (
    find_vms,
    get_vm,
    get_vm_status,
    list_vms,
    look,
    machine_states,
    recent_machine_log,
    set_vm_size,
    vm_action,
)
from tests.conftest import PATIENCE_SECONDS


def all_vms(sim):
    return {row["$key"]: sim.vm(row["$key"]) for row in sim.world.db["vms"] if not row.get("is_snapshot")}


async def test_the_list_holds_every_vm_and_no_snapshot_in_one_request(sim, client):
    sim.vm(next(iter(all_vms(sim)))).snapshot("before")
    listed = await list_vms(client)
    meant = all_vms(sim)
    assert sorted(row.id for row in listed) == sorted(meant)
    for row in listed:
        vm = meant[row.id]
        assert (row.name, row.running, row.status) == (clean(vm.name, 128), vm.running, vm.status)
        assert (row.cpu_cores, row.ram_mb, row.machine_id, row.uuid) == (
            vm.cpu_cores,
            vm.ram_mb,
            vm.machine_key,
            vm.uuid,
        )
    assert sim.requests == {"GET vms": 1}


async def test_a_large_list_comes_in_pages_of_a_thousand(client_for):
    async with Simulator(SimulatorSettings(vms=2_300, seed=1)) as sim:
        client = await client_for(sim.url, vergeos_api_key="demo")
        assert {row.id for row in await list_vms(client)} == set(all_vms(sim))
        assert sim.requests == {"GET vms": 3}


async def test_one_vm_is_one_request(sim, client):
    vm = sim.vm("web-1")
    got = await get_vm(client, vm.key)
    assert (got.id, got.name, got.uuid, got.machine_id) == (vm.key, "web-1", vm.uuid, vm.machine_key)
    status = await get_vm_status(client, vm.key)
    assert (status.running, status.status, status.need_restart) == (vm.running, vm.status, vm.need_restart)
    seen = await look(client, vm.key)
    assert (seen.key, seen.machine, seen.name, seen.uuid) == (vm.key, vm.machine_key, "web-1", vm.uuid)
    assert (seen.running, seen.cpu_cores, seen.ram_mb, seen.is_snapshot) == (vm.running, vm.cpu_cores, vm.ram_mb, False)
    assert seen.max_cores_per_vm
    assert seen.max_ram_mb_per_vm
    assert sim.requests == {"GET vms": 3}


@pytest.mark.parametrize("call", [get_vm, get_vm_status, look])
async def test_a_vm_that_is_not_there_is_not_found(client, call):
    with pytest.raises(VergeOSNotFound, match="GET vms/99999"):
        await call(client, 99_999)


@pytest.mark.parametrize(
    "name", ["zzzz' or key ne 'zzzz", "O'Brien", "back\\slash", "{$now}", "a+b &c=d#e", "50% off", "名前", "  two  "]
)
async def test_an_awkward_name_finds_its_vm_and_no_other(sim, client, name):
    sim.vm("web-1").rename(name)
    named = {key for key, vm in all_vms(sim).items() if vm.name == name}
    assert {row.id for row in await find_vms(client, name)} == named


async def test_a_name_is_exact_and_may_belong_to_several(sim, client):
    first, second = sim.vm("web-1"), sim.vm("web-2").rename("web-1")
    first.snapshot("web-1")
    assert {row.id for row in await find_vms(client, "web-1")} == {first.key, second.key}
    assert await find_vms(client, "WEB-1") == await find_vms(client, "web") == []


async def test_the_states_of_up_to_200_machines_are_one_request(sim, client):
    vms = all_vms(sim).values()
    states = await machine_states(client, [vm.machine_key for vm in vms])
    assert {vm.machine_key: (vm.running, vm.status) for vm in vms} == {
        key: (state.running, state.status) for key, state in states.items()
    }
    assert sim.requests == {"GET machine_status": 1}


async def test_a_machine_that_is_gone_is_left_out(sim, client):
    gone, stays = sim.vm("web-1").machine_key, sim.vm("web-2").machine_key
    sim.vm("web-1").delete()
    assert set(await machine_states(client, {gone, stays})) == {stays}
    assert await machine_states(client, set()) == {}
    assert sim.requests == {"GET machine_status": 1}


def status_table(upstream, machines):
    """Answer as machine_status would, by limit and offset and by a filter of `machine eq`, `ge` and `le`."""

    def answer(asked):
        words = asked.query["filter"].replace("(", "").replace(")", "").split()
        named = [(words[at + 1], int(words[at + 2])) for at, word in enumerate(words) if word == "machine"]
        if named[0][0] == "eq":
            rows = sorted(set(machines) & {number for _, number in named})
        else:
            rows = [machine for machine in sorted(machines) if named[0][1] <= machine <= named[1][1]]
        offset = int(asked.query.get("offset", 0))
        page = rows[offset : offset + int(asked.query["limit"])]
        return 200, [{"machine": machine, "running": True, "status": "running"} for machine in page]

    upstream.answer = answer


@pytest.mark.parametrize(
    ("wanted", "table", "most"),
    [
        (range(1, 2), range(1, 5_000), 1),
        (range(1, 201), range(1, 5_000), 1),
        (range(1, 401), range(1, 5_000), 2),
        (range(1, 402), range(1, 3_000), 2),
        (range(1, 3_000, 5), range(1, 3_000), 3),
        (range(1, 10_001), range(1, 10_001), 10),
        (range(10**17, 10**17 + 200), range(10**17, 10**17 + 900), 2),
        (range(10**17, 10**17 + 400), range(10**17, 10**17 + 900), 2),
    ],
)
async def test_states_cost_few_requests_of_bounded_length(client_for, upstream, wanted, table, most):
    status_table(upstream, table)
    states = await machine_states(await client_for(upstream.url), wanted)
    assert set(states) == set(wanted)
    assert len(upstream.asked) <= most
    for asked in upstream.asked:
        assert len(asked.line) < 7_000
        assert "agent" not in asked.line


async def test_an_action_reaches_the_vm(sim, client):
    vm = sim.vm("web-1").start()
    await vm_action(client, vm.key, "poweroff")
    await vm_action(client, vm.key, "reset", {"graceful": True})
    assert vm.power_actions() == ["poweroff", "reset"]


async def test_an_unknown_action_is_refused_by_vergeos(sim, client):
    with pytest.raises(VergeOSInvalid, match=r"POST vm_actions: .*not in list for field 'action'"):
        await vm_action(client, sim.vm("web-1").key, "guestshutdown")


async def test_only_the_given_half_of_a_size_is_changed(sim, client):
    vm = sim.vm("web-1")
    ram_mb = vm.ram_mb
    await set_vm_size(client, vm.key, cpu_cores=7)
    assert (vm.cpu_cores, vm.ram_mb) == (7, ram_mb)
    await set_vm_size(client, vm.key, ram_mb=3_072)
    assert (vm.cpu_cores, vm.ram_mb) == (7, 3_072)


async def test_the_machines_log_tells_why_a_start_failed(sim, client):
    vm = sim.vm("web-1").stop().fail_to_start("disk image is locked")
    await vm_action(client, vm.key, "poweron")
    lines = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any("disk image is locked" in line.text for line in lines):
            lines = await recent_machine_log(client, vm.machine_key, 5)
    assert len(lines) <= 5
    assert all(line.at > 1_700_000_000 for line in lines)
    assert lines == sorted(lines, key=lambda line: -line.at)


async def test_a_malformed_answer_does_not_make_a_vm_disappear(sim, client):
    for body in ("html", "truncated", "empty"):
        sim.fault("malformed", path="/vms/", body=body)
        with pytest.raises(VergeOSBadAnswer):
            await look(client.patient(attempts=1), sim.vm("web-1").key)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("reset_before", {}),
        ("reset_after", {}),
        ("status", {"status": 503}),
        ("status", {"status": 503, "effect": True}),
        ("status", {"status": 500, "effect": True}),
        ("late", {"seconds": 0.05}),
        ("malformed", {"body": "html"}),
        ("malformed", {"body": "truncated"}),
        ("hang", {"effect": True}),
    ],
)
async def test_no_fault_makes_an_act_reach_vergeos_twice_or_denies_what_may_have_happened(sim, client, kind, options):
    vm = sim.vm("web-1").start().ignore_acpi()
    sim.fault(kind, path="vm_actions", **options)
    with pytest.raises(UpstreamError, match="POST vm_actions") as failed:
        await vm_action(client.patient(seconds=1.0), vm.key, "poweroff")
    assert sim.requests["POST vm_actions"] == 1
    assert failed.value.maybe_done
