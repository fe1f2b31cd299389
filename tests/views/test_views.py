"""The views of VMs, on the real client and the simulated VergeOS: two replicas, and a worker that patches."""

import asyncio

import pytest

from gateway.core.answer import Source
from gateway.core.errors import VergeOSNotFound
from gateway.core.vm import Vm, VmRow, VmStatus
from gateway.store.connection import FOLLOWING, open_redis
from gateway.store.events import Feed
from gateway.store.jobs import Jobs
from gateway.vergeos.vms import look
from tests.conftest import eventually
from tests.views.conftest import KEYS


async def test_the_list_is_every_vm_without_snapshots_for_one_request(replica, sim):
    one, other = await replica(), await replica()
    found = await asyncio.gather(*(views.vms() for views in (one, other) for _ in range(50)))
    assert sim.requests["GET vms"] == 1
    rows = found[0]
    assert len(rows.rows) == 12
    assert all(isinstance(row, VmRow) for row in rows.rows)
    handle = sim.vm(rows.rows[0].id)
    assert rows.by_key[handle.key].name == handle.name
    assert rows.by_name[handle.name] == (rows.by_key[handle.key],)


async def test_one_vm_and_its_status_are_single_rows_shared_by_replicas(replica, sim):
    one, other = await replica(), await replica()
    key = sim.vm("web-1").key
    live, cached = await one.vm(key), await other.vm(key)
    assert isinstance(live.value, Vm)
    assert (live.source, cached.source) == (Source.LIVE, Source.CACHE)
    assert (cached.value, cached.as_of) == (live.value, live.as_of)
    status = await one.vm_status(key)
    assert isinstance(status.value, VmStatus)
    assert (await other.vm_status(key)).value == status.value
    assert sim.requests["GET vms"] == 2


async def test_a_single_vm_is_asked_for_again_after_5_seconds(replica, sim, now, redis):
    views = await replica()
    key = sim.vm("web-1").key
    await views.vm(key)
    await now.passes(4, redis)
    assert (await views.vm(key)).source is Source.CACHE
    await now.passes(2, redis)
    assert (await views.vm(key)).source is Source.LIVE


async def test_a_vm_that_is_not_there_is_not_remembered(replica, sim):
    views = await replica()
    for _ in range(2):
        with pytest.raises(VergeOSNotFound):
            await views.vm(987654)
    assert sim.requests["GET vms"] == 2


async def test_who_reads_after_a_jobs_look_reads_what_it_saw_on_every_replica(replica, sim, vergeos, redis, redis_url):
    """Both replicas hear of it by the event feed, as they hear of the job's end, and in that order."""
    worker, one, other = await replica(), await replica(), await replica()
    handle = sim.vm("web-1")
    if not handle.running:
        handle.start()
    for views in (one, other):
        assert (await views.vms()).by_key[handle.key].running
        assert (await views.vm(handle.key)).value.running
    async with open_redis(redis_url, FOLLOWING) as following:
        heard = []

        def changed(name, generation):
            one.forget(name, generation)
            other.forget(name, generation)
            heard.append((name, generation))

        async with Feed(following, Jobs(redis, KEYS, days=1), changed).running():

            async def listens():
                await redis.xadd(KEYS.events, {"view": b'{"view":"none","generation":0}'})
                return heard

            await eventually(listens)
            handle.stop()
            before = sim.requests["GET vms"]
            touched = await worker.patch_vm(await look(vergeos, handle.key))
            await eventually(lambda: set(touched.items()) <= set(heard))
    for views in (one, other):
        rows = await views.vms()
        assert rows.by_key[handle.key].running is False
        assert rows.by_key[handle.key].node is None
        assert rows.generation == touched["vms"]
    assert sim.requests["GET vms"] == before + 1  # the look
    for views in (one, other):
        assert (await views.vm(handle.key)).value.running is False
        assert (await views.vm_status(handle.key)).value.running is False
    assert sim.requests["GET vms"] == before + 3


async def test_a_look_patches_everything_that_it_tells_of_a_row(replica, sim, vergeos):
    views = await replica()
    key = sim.vm("web-1").key
    await views.vms()
    await vergeos.update("vms", key, {"cpu_cores": 7, "ram": 8192})
    sim.vm(key).rename("web\u202e-1")
    await views.patch_vm(await look(vergeos, key))
    patched = (await views.vms()).by_key[key]
    (fresh,) = [row for row in (await views.vms(max_age=0)).rows if row.id == key]
    assert patched == fresh
    assert (patched.name, patched.cpu_cores, patched.ram_mb) == ("web-1", 7, 8192)


@pytest.mark.parametrize("read", ["vm", "vm_status"])
async def test_a_live_read_of_one_vm_tells_the_list_what_a_new_list_would(replica, sim, vergeos, read):
    views, other = await replica(), await replica()
    key = sim.vm("web-1").key
    before = (await views.vms()).by_key[key]
    await vergeos.update("vms", key, {"cpu_cores": 7, "ram": 8192, "description": "new"})
    sim.vm(key).rename("web\u202e-1").stop()
    await getattr(views, read)(key)
    patched = (await views.vms()).by_key[key]
    fresh = (await other.vms(max_age=0)).by_key[key]
    assert (patched.name, patched.running, patched.node) == (fresh.name, fresh.running, fresh.node)
    assert patched == (fresh if read == "vm" else before.model_copy(update=_told_by_status(fresh)))


def _told_by_status(row):
    return row.model_dump(include={"name", "running", "status", "node", "need_restart"})


async def test_a_watchers_sight_of_the_power_state_patches_the_list_and_drops_the_single_views(replica, sim):
    views = await replica()
    key = sim.vm("web-1").key
    await views.vms()
    await views.vm(key)
    touched = await views.patch_power(key, False, "stopped")
    assert set(touched) == {"vms", f"vm:{key}", f"vm-status:{key}"}
    row = (await views.vms()).by_key[key]
    assert (row.running, row.status, row.node) == (False, "stopped", None)
    assert (await views.vm(key)).source is Source.LIVE
    await views.patch_power(key, True, "running")
    assert (await views.vms()).by_key[key].running is True


async def test_reads_are_counted_by_view_and_source(replica, sim):
    views = await replica()
    key = sim.vm("web-1").key
    for _ in range(3):
        await views.vms()
    await views.vm(key)
    await views.vm_status(key)
    counted = {
        (sample.labels["view"], sample.labels["source"]): sample.value
        for metric in views._metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "vergeos_gateway_view_reads_total"
    }
    assert counted == {("vms", "live"): 1, ("vms", "cache"): 2, ("vm", "live"): 1, ("vm_status", "live"): 1}


async def test_reads_that_join_one_under_way_are_counted(replica, sim):
    views = await replica()
    await asyncio.gather(*(views.vms() for _ in range(5)))
    counted = views._metrics.registry.get_sample_value
    assert counted("vergeos_gateway_view_flights_shared_total", {"view": "vms"}) == 4


async def test_forgetting_a_view_that_nobody_read_is_nothing(replica):
    (await replica()).forget("vm:4711", 5)


async def test_single_views_do_not_grow_without_end(replica, sim, monkeypatch):
    monkeypatch.setattr("gateway.views.views.READERS_KEPT", 4)
    views = await replica()
    for handle in (sim.vm(row.id) for row in (await views.vms()).rows):
        await views.vm(handle.key)
        assert len(views._readers) <= 4


async def test_a_site_down_is_told_by_stale_answers_and_a_site_back_by_live_ones(replica, sim, now, redis):
    views = await replica()
    key = sim.vm("web-1").key
    await views.vms()
    await views.vm(key)
    sim.down = True
    await now.passes(60, redis)
    assert (await views.vms()).source is Source.STALE
    assert (await views.vm(key)).source is Source.STALE
    sim.down = False
    assert (await views.vms()).source is Source.LIVE
    assert (await views.vm(key)).source is Source.LIVE
