"""Networks and tenants switched for real: gateway, worker, Redis and the simulated VergeOS."""

import pytest

from tests.journeys.inprocess import house

pytestmark = pytest.mark.slow


@pytest.fixture
async def here(sim, settings):
    async with house(sim, settings) as built:
        yield built


def asked(sim):
    return [(action.table, action.action) for action in sim.actions]


async def test_rules_are_applied_once_and_the_next_read_shows_it(here, sim):
    assert (await here.get("/networks/name:web-1")).body["need_fw_apply"]
    assert (await here.get("/networks")).status == 200
    job = await here.accepted("POST", "/networks/web-1/apply")
    ended = await here.ended(job["id"])
    assert (ended["state"], ended["result"]) == ("completed", {"need_fw_apply": False, "changed": True})
    assert asked(sim) == [("vnet_actions", "refresh")]
    assert not (await here.get("/networks/web-1")).body["need_fw_apply"]
    assert not any(row["need_fw_apply"] for row in (await here.get("/networks", name="web-1")).body)
    again = await here.ended((await here.call("POST", "/networks/web-1/apply", {"again": True})).body["id"])
    assert again["result"] == {"need_fw_apply": False, "changed": False}
    assert asked(sim) == [("vnet_actions", "refresh")]


async def test_a_network_goes_off_on_and_through_a_reset(here, sim):
    for action, running in (("poweroff", False), ("poweron", True), ("reset", True)):
        ended = await here.ended((await here.accepted("POST", f"/networks/Internal/{action}"))["id"])
        assert ended["state"] == "completed", ended
        assert ended["result"] == {"running": running, "changed": True}
        assert (await here.get("/networks/Internal")).body["running"] is running
    assert asked(sim) == [("vnet_actions", action) for action in ("poweroff", "poweron", "reset")]


async def test_a_tenant_goes_off_on_and_through_a_reset(here, sim):
    assert len((await here.get("/tenants")).body) == 4
    for action, running in (("poweroff", False), ("poweron", True), ("reset", True)):
        ended = await here.ended((await here.accepted("POST", f"/tenants/acme/{action}"))["id"])
        assert ended["state"] == "completed", ended
        assert ended["result"] == {"running": running, "changed": True}
        assert (await here.get("/tenants/acme")).body["running"] is running
    assert asked(sim) == [("tenant_actions", action) for action in ("poweroff", "poweron", "reset")]


async def test_rules_of_a_network_that_is_off_are_not_applied(here, sim):
    row = sim.world.db["vnets"].first("name", "lab (off)")
    sim.world.db["vnets"].change(row, {"need_fw_apply": True})
    ended = await here.ended((await here.accepted("POST", f"/networks/{row['$key']}/apply"))["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "not_running")
    assert not sim.actions


async def test_what_vergeos_refuses_is_told_with_its_words(here, sim):
    sim.fault("status", path="vnet_actions", status=422, count=None)
    ended = await here.ended((await here.accepted("POST", "/networks/Internal/poweroff"))["id"])
    assert ended["state"] == "failed"
    assert ended["problem"]["next_step"]


async def test_a_network_replaced_since_the_call_is_left_alone(here, sim):
    row = sim.world.db["vnets"].first("name", "Internal")
    await here.get("/networks")
    sim.world.db["vnets"].change(row, {"name": "Internal 2"})
    ended = await here.ended((await here.accepted("POST", "/networks/Internal/poweroff"))["id"])
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "target_changed")
    assert not sim.actions


async def test_the_platforms_own_networks_are_refused_over_rest(here, sim):
    refused = await here.call("POST", "/networks/Core/poweroff")
    refused.problem(409, "core_network")
    (await here.call("POST", "/networks/Core/explode")).problem(400, "invalid_argument")
    (await here.call("POST", "/tenants/nobody/poweron")).problem(404, "not_found")
    assert not sim.actions


async def test_an_acts_lost_answer_is_never_sent_twice(here, sim):
    sim.fault("reset_after", path="vnet_actions")
    ended = await here.ended((await here.accepted("POST", "/networks/Internal/poweroff"))["id"])
    assert ended["state"] == "completed", ended
    assert asked(sim) == [("vnet_actions", "poweroff")]
    sim.fault("reset_after", path="tenant_actions")
    ended = await here.ended((await here.accepted("POST", "/tenants/globex/poweron"))["id"])
    assert ended["state"] == "completed", ended
    assert asked(sim)[1:] == [("tenant_actions", "poweron")]
