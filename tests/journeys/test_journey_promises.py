"""What two gateways and a worker, each a process, do at once: freeze, offboard. How soon: `tests/bench/promises`."""

import re

import aiohttp
import pytest

from tests.conftest import eventually
from tests.journeys.streams import LONG, all_open

pytestmark = pytest.mark.slow

WRITING = {"WRITE_AS": "caller", "GATEWAY_SECRET_KEY": "a secret of thirty-two characters", "SERVICE_WRITERS": "root"}
FAILURES = {"AUTH_FAILURES_PER_MINUTE": "0"}


async def figure(url, name, who):
    """Return the value of a figure at a gateway's /metrics."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics", headers=who) as answer:
        return float(re.search(rf"^{re.escape(name)} (\S+)$", await answer.text(), re.MULTILINE)[1])


async def test_figures_and_changes_of_every_gateway_show_a_freeze_and_its_end(system):
    await system.gateway()
    other, _ = await system.replica()

    async def shown(frozen):
        for url in (system.url, other):
            assert await figure(url, 'vergeos_gateway_changes_frozen{by="freeze"}', {}) == float(frozen)

    async def changes_answer(url, wanted):
        return (await system.call("POST", "/vms/web-1/poweroff", LONG, url=url))[0] == wanted

    await shown(False)
    assert (await system.call("PUT", "/freeze", {"why": "storage is on fire"}))[0] == 200
    await shown(True)
    assert [await changes_answer(url, 423) for url in (system.url, other)] == [True, True]
    assert (await system.call("DELETE", "/freeze", url=other))[0] == 200
    await shown(False)
    for url in (system.url, other):
        await eventually(lambda url=url: changes_answer(url, 202))


async def test_who_is_offboarded_is_cut_off_on_every_gateway_whatever_he_has_open(system):
    vm = system.sim.vm("web-1").ignore_acpi()
    system.sim.add_account("ann", "pass", "anns-own-vergeos-key")
    await system.gateway(**WRITING, **FAILURES)
    other, _ = await system.replica(**WRITING, **FAILURES)
    await system.worker(**WRITING)
    root = await system.key("root", "root", role=["admin"])
    ann = await system.key("ann", "ann", root, role=["engineer"])
    agent = await system.key("claude", "ann", root, role=["engineer"], kind="agent")
    assert (await system.call("PUT", "/me/vergeos-key", {"api_key": "anns-own-vergeos-key"}, ann))[0] == 200
    _, job = await system.call("POST", "/vms/web-1/poweroff", LONG, root)
    _, queued = await system.call("POST", "/vms/web-1/snapshots", {}, ann)
    await eventually(vm.power_actions)
    async with (
        all_open(system.url, ann, "web-1", job["id"]) as here,
        all_open(other, ann, "web-1", job["id"]) as there,
    ):
        status, told = await system.call("POST", "/people/ann/offboard", headers=root)
        assert (status, sorted(told["keys"]), told["vergeos_key"]) == (200, ["ann", "claude"], "ann")
        assert [line.split()[0] for line in told["cancelled"]] == [queued["id"]]
        assert [line.split()[0] for line in told["handed_over"]] == [job["id"]]
        await eventually(lambda: not here and not there)
    for url in (system.url, other):
        for who in (ann, agent):
            await eventually(lambda who=who, url=url: refused(system, url, who))
    ended = await eventually(lambda: final(system, queued["id"], root))
    assert ended["state"] == "cancelled"
    assert (await final(system, job["id"], root), vm.power_actions()) == (None, ["poweroff"])


async def refused(system, url, who):
    return (await system.call("GET", "/vms/web-1", headers=who, url=url))[0] == 401


async def final(system, job_id, who):
    _, job = await system.call("GET", f"/jobs/{job_id}", headers=who)
    return job if job["state"] in {"completed", "failed", "cancelled"} else None
