"""A live read of one object puts its row in the list right, on every gateway and without reading the list anew."""

import pytest

from tests.conftest import eventually, fast_settings
from tests.journeys.inprocess import house, let_in


@pytest.fixture
async def pair(sim, redis_url):
    """Two gateways on one Redis, without a worker."""
    settings = fast_settings(sim.url, redis_url)
    async with house(sim, settings, workers=0) as one, house(sim, settings, workers=0) as other:
        yield one, other


async def listed(gateway, key, headers=None):
    """Return a VM's row of the list, None where the list has none."""
    rows = (await gateway.call("GET", "/vms", headers=headers)).body
    return next((row for row in rows if row["id"] == key), None)


def turned(vm):
    """Switch a VM in VergeOS' own UI; return whether it runs now."""
    vm.stop() if vm.running else vm.start()
    return vm.running


@pytest.mark.parametrize("path", ["", "/status"])
async def test_who_reads_one_vm_live_has_every_list_show_its_power_state(pair, sim, path):
    vm = sim.vm("web-1")
    before = [await listed(served, vm.key) for served in pair]
    as_of = {(await served.get("/vms")).headers["X-As-Of"] for served in pair}
    assert before[0] == before[1]
    runs = turned(vm)
    live = await pair[0].get(f"/vms/{vm.key}{path}", max_age=0)
    assert (live.headers["X-Source"], live.body["running"]) == ("live", runs)
    asked = sim.requests["GET vms"]
    shown = await listed(pair[0], vm.key)
    assert (shown["running"], shown["status"]) == (runs, live.body["status"])

    async def there():
        return (await listed(pair[1], vm.key))["running"] is runs

    await eventually(there)
    assert await listed(pair[1], vm.key) == shown
    assert sim.requests["GET vms"] == asked
    assert {(await served.get("/vms")).headers["X-As-Of"] for served in pair} == as_of, "the others are as old as ever"


async def test_a_read_that_tells_nothing_new_leaves_the_list_as_it_is(pair, sim):
    vm = sim.vm("web-1")
    etag = (await pair[0].get("/vms")).headers["ETag"]
    generation = (await pair[0].services.views.vms()).generation
    for path in ("", "/status"):
        await pair[0].get(f"/vms/{vm.key}{path}", max_age=0)
    assert (await pair[0].services.views.vms()).generation == generation
    assert (await pair[0].get("/vms")).headers["ETag"] == etag


async def test_who_sees_a_part_sees_it_put_right_and_nothing_else(pair, sim):
    root, ann = await let_in(pair, "root", "admin"), await let_in(pair, "ann", "viewer", "name=web-*")
    seen, hidden = sim.vm("web-1"), sim.vm("db-1")
    for served in pair:
        assert await listed(served, seen.key, ann)
        assert await listed(served, hidden.key, ann) is None
    for vm in (seen, hidden):
        turned(vm)
        assert (await pair[0].call("GET", f"/vms/{vm.key}", headers=root, max_age=0)).status == 200
    asked = sim.requests["GET vms"]
    for served in pair:

        async def right():
            return (await listed(served, seen.key, ann))["running"] is seen.running  # noqa: B023  called at once

        await eventually(right)
        assert await listed(served, hidden.key, ann) is None
        assert (await served.call("GET", f"/vms/{hidden.key}", headers=ann)).status == 404
    assert sim.requests["GET vms"] == asked


async def test_a_vm_that_got_a_name_of_another_sight_is_seen_by_that_one_as_soon_as_it_is_read(pair, sim):
    root, ann = await let_in(pair, "root", "admin"), await let_in(pair, "ann", "viewer", "name=web-*")
    vm = sim.vm("web-1")
    assert await listed(pair[0], vm.key, ann)
    vm.rename("db-of-another")
    await pair[0].call("GET", f"/vms/{vm.key}", headers=root, max_age=0)
    assert await listed(pair[0], vm.key, ann) is None
    assert (await pair[0].call("GET", f"/vms/{vm.key}", headers=ann)).status == 404
