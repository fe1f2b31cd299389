"""What is announced to who sees a part: changes of what he sees and nothing else, in both eras of MCP."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from gateway.views.tags import VM_TAGS
from tests.conftest import eventually
from tests.journeys.inprocess import house, let_in

pytestmark = pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")  # a method of the handshake revisions
VMS = "vergeos://vms/list"


class Heard(list):
    """The URIs that a client was told of."""

    async def __call__(self, message):
        if getattr(message, "method", "") == "notifications/resources/updated":
            self.append(str(message.params.uri))


@asynccontextmanager
async def connected(gateway, headers, **more):
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, **more) as client:
            yield client


@asynccontextmanager
async def subscribed(gateway, headers, *uris):
    """Yield what a client with a session hears that subscribed, once its stream is open."""
    heard = Heard()
    async with connected(gateway, headers, mode="legacy", message_handler=heard) as client:
        await eventually(lambda: gateway.services.metrics.streams.collect()[0].samples[0].value >= 1)
        for uri in uris:
            await client.subscribe_resource(uri)
        yield heard


@asynccontextmanager
async def listening(gateway, headers, *uris):
    """Yield what a client of the stateless revision hears that listens."""
    heard = Heard()
    async with (
        connected(gateway, headers) as client,
        client.listen(resource_subscriptions=uris) as stream,
    ):

        async def hear():
            async for event in stream:
                heard.append(event.uri)

        task = asyncio.create_task(hear())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


@asynccontextmanager
async def of_old(gateway, headers, *uris):
    """Yield what a client of the first revision hears, all on one stream."""
    heard = Heard()
    async with (
        sse_client(f"{gateway.url}/sse", headers=headers) as (read, write),
        ClientSession(read, write, message_handler=heard.__call__) as client,
    ):
        await client.initialize()
        for uri in uris:
            await client.subscribe_resource(uri)
        yield heard


FACES = pytest.mark.parametrize("face", [subscribed, listening])


class Site:
    """A gateway, who calls there, and a job of web-1 that does not move: its news tells that all before was told."""

    def __init__(self, gateway, sim, redis, headers, job):
        self.gateway, self.sim, self.redis, self.headers, self.job = gateway, sim, redis, headers, job
        self.mark = f"vergeos://jobs/{job}"
        self.views = gateway.services.views

    async def told(self, name):
        """Let the feed hear of a change, as another process would tell it."""
        event = json.dumps({"view": name, "generation": time.time_ns() // 1_000})
        await self.redis.xadd(self.gateway.services.keys.events, {"view": event})

    async def all_heard(self, heard):
        """Return all that was heard up to now, the mark aside, and forget it."""
        await self.told(f"job:{self.job}")
        await eventually(lambda: self.mark in heard)
        told = [uri for uri in heard if uri != self.mark]
        heard.clear()
        return told

    async def switched(self, name):
        """Let somebody switch a VM, and another one see it."""
        vm = self.sim.vm(name)
        vm.stop() if vm.running else vm.start()
        assert (await self.views.vm_status(vm.key, max_age=0)).value.running is vm.running


@pytest.fixture
async def site(sim, settings, redis):
    async with house(sim, settings, workers=0) as gateway:
        headers = {"root": await let_in([gateway], "root", "admin")}
        headers["ann"] = await let_in([gateway], "ann", "viewer", "name=web-*")
        path = f"/vms/{sim.vm('web-1').key}/poweroff"
        job = await gateway.accepted("POST", path, headers=headers["root"])
        await gateway.services.views.vms()
        yield Site(gateway, sim, redis, headers, job["id"])


@pytest.mark.parametrize("face", [of_old, subscribed, listening])
async def test_a_list_is_announced_when_something_of_it_that_he_sees_changed_or_came_or_went(site, face):
    async with face(site.gateway, site.headers["ann"], VMS, site.mark) as heard:
        await site.switched("web-1")
        await eventually(lambda: VMS in heard)
        await site.all_heard(heard)
        await site.switched("db-1")
        assert await site.all_heard(heard) == []
        site.sim.vm("db-1").rename("db-9")
        await site.views.vms(max_age=0)
        assert await site.all_heard(heard) == []
        for old, new in (("web-2", "web-9"), ("web-9", "db-2"), ("db-9", "web-new")):
            site.sim.vm(old).rename(new)
            await site.views.vms(max_age=0)
            assert await site.all_heard(heard) == [VMS]


@FACES
async def test_a_vm_that_went_out_of_sight_is_announced_no_more(site, face):
    vm = site.sim.vm("web-2")
    uri = f"vergeos://vms/{vm.key}"
    async with face(site.gateway, site.headers["ann"], uri, site.mark) as heard:
        await site.told(f"vm:{vm.key}")
        assert uri in await site.all_heard(heard)
        vm.rename("db-2")
        await site.views.vms(max_age=0)
        await site.all_heard(heard)
        await site.told(f"vm:{vm.key}")
        assert await site.all_heard(heard) == []


@FACES
async def test_when_nobody_knows_what_changed_he_hears_of_what_did(site, face):
    async with face(site.gateway, site.headers["ann"], VMS, "vergeos://alarms/active", site.mark) as heard:
        await site.all_heard(heard)
        for listener in tuple(site.gateway.services.feed._listeners):
            listener.note_any()
        assert await site.all_heard(heard) == []


@FACES
async def test_who_sees_by_tag_hears_of_a_tag_that_shows_him_another_vm(site, face):
    db = site.sim.world.db
    member = next(row for row in db["tag_members"] if str(row["member"]).startswith("vms/"))
    tag = db["tags"].rows[member["tag"]]["name"]
    carriers = {row["member"] for row in db["tag_members"] if row["tag"] == member["tag"]}
    other = next(
        row["$key"] for row in db["vms"] if not row.get("is_snapshot") and f"vms/{row['$key']}" not in carriers
    )
    site.sim.vm(int(member["member"].removeprefix("vms/")))
    tom = await let_in([site.gateway], "tom", "viewer", f"tag={tag}", "name=web-1")
    async with face(site.gateway, tom, VMS, site.mark) as heard:
        await site.all_heard(heard)
        db["tag_members"].change(member, {"member": f"vms/{other}"})
        await site.views.rows(VM_TAGS, max_age=0)
        assert await site.all_heard(heard) == [VMS]


async def test_a_stream_that_comes_late_tells_a_caller_in_part_all_that_he_follows_whatever_changed(site):
    heard = Heard()
    async with connected(site.gateway, site.headers["ann"], mode="legacy", message_handler=heard) as client:
        await client.subscribe_resource(VMS)
        await client.subscribe_resource(site.mark)
        await site.switched("db-1")
        await site.all_heard(heard)
        await site.switched("db-1")
        assert await site.all_heard(heard) == []
