"""Changed resources announced to MCP clients of both eras, over the real endpoint with a real worker and Redis."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest
from mcp import Client, MCPError
from mcp_fixtures import SOON_SECONDS, asked, soon

from gateway.app import serve
from gateway.services import open_services
from gateway.store import events as feed_module
from gateway.store.backend import open_backend
from gateway.store.events import Changes
from gateway.tools.resources import RESOURCES
from gateway.transports import mcp_updates
from tests.conftest import eventually
from tests.journeys.inprocess import house

pytestmark = pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")  # a method of the handshake revisions
VMS = "vergeos://vms/list"


class Heard(list):
    """The URIs that a client was told of."""

    async def of(self, *uris):
        await eventually(lambda: set(uris) <= set(self))

    async def __call__(self, message):
        if getattr(message, "method", "") == "notifications/resources/updated":
            self.append(message.params.uri)


@asynccontextmanager
async def subscribed(built, *uris):
    """Yield a client with a session that subscribed, and what it hears."""
    heard = Heard()
    async with Client(f"{built.url}/mcp", mode="legacy", message_handler=heard) as client:
        for uri in uris:
            await client.subscribe_resource(uri)
        yield client, heard


@asynccontextmanager
async def listening(built, *uris):
    """Yield a client of the stateless revision that listens, and what it hears."""
    heard = Heard()
    async with Client(f"{built.url}/mcp") as client, client.listen(resource_subscriptions=uris) as stream:

        async def hear():
            async for event in stream:
                heard.append(event.uri)

        task = asyncio.create_task(hear())
        try:
            yield client, heard
        finally:
            task.cancel()
            await asyncio.wait({task})


class Place:
    """Where a gateway is."""

    def __init__(self, url):
        self.url, self.mcp = url, f"{url}/mcp"


FACES = pytest.mark.parametrize("face", [subscribed, listening])


@pytest.fixture
async def built(sim, settings):
    async with house(sim, settings, workers=0) as running:
        yield running


@pytest.fixture
def changed(built, redis):
    """Let the feed hear that a view has changed, as another process would tell it."""

    async def told(name):
        event = json.dumps({"view": name, "generation": time.time_ns() // 1000})
        await redis.xadd(built.services.keys.events, {"view": event})

    return told


@FACES
async def test_a_job_announces_itself_its_vm_and_the_list_of_vms(sim, settings, face):
    vm = sim.vm("web-1")
    vm.start()
    async with house(sim, settings, workers=0) as built:
        job = await built.power_off(vm, wait_timeout=30)
        uris = (VMS, f"vergeos://jobs/{job['id']}", "vergeos://vms/web-1", f"vergeos://vms/{vm.key}")
        async with face(built, *uris, "vergeos://vms/db-1", "vergeos://networks/list") as (_, heard):
            await built.start_worker()
            await built.ended(job["id"])
            await heard.of(*uris)
            assert set(heard) == set(uris)


@FACES
async def test_a_refresh_announces_what_it_found_changed_and_nothing_else(sim, built, changed, face):
    await built.services.views.vms()
    async with face(built, VMS, "vergeos://networks/list") as (_, heard):
        await built.services.views.vms(max_age=0)
        await changed("networks")
        await heard.of("vergeos://networks/list")
        assert heard == ["vergeos://networks/list"]
        sim.vm("web-1").rename("web-9")
        await built.services.views.vms(max_age=0)
        await heard.of(VMS)


async def test_who_unsubscribed_hears_no_more(built, changed):
    async with subscribed(built, VMS, "vergeos://alarms/active") as (client, heard):
        await client.unsubscribe_resource(VMS)
        await client.unsubscribe_resource("vergeos://never/followed")
        await changed("vms")
        await changed("alarms")
        await heard.of("vergeos://alarms/active")
        assert VMS not in heard


async def test_who_closed_a_listen_stream_hears_no_more_and_the_next_does(built, changed):
    async with Client(f"{built.url}/mcp") as client:
        async with client.listen(resource_subscriptions=[VMS]):
            pass
        async with client.listen(resource_subscriptions=["vergeos://alarms/active"]) as stream:
            await changed("vms")
            await changed("alarms")
            assert (await soon(anext(stream))).uri == "vergeos://alarms/active"


@pytest.mark.parametrize("uri", ["vergeos://nothing", "vergeos://vms/no-such-vm", "vergeos://jobs/no-such-job"])
async def test_what_is_not_there_cannot_be_followed(built, uri):
    async with subscribed(built) as (client, _):
        with pytest.raises(MCPError, match="Resource not found") as caught:
            await client.subscribe_resource(uri)
        assert (caught.value.error.code, caught.value.error.data) == (-32002, {"uri": uri})
    async with Client(f"{built.url}/mcp") as client:
        with pytest.raises(MCPError, match="Resource not found") as caught:
            async with client.listen(resource_subscriptions=[uri]):
                pass
    assert (caught.value.error.code, caught.value.error.data) == (-32602, {"uri": uri})


async def test_a_session_and_a_stream_follow_only_so_many(built, monkeypatch):
    monkeypatch.setattr(mcp_updates, "MOST_FOLLOWED", 1)
    async with subscribed(built, VMS, VMS) as (client, _):
        with pytest.raises(MCPError, match="At most 1"):
            await client.subscribe_resource("vergeos://alarms/active")
        await client.unsubscribe_resource(VMS)
        await client.subscribe_resource("vergeos://alarms/active")
    async with Client(f"{built.url}/mcp") as client:
        with pytest.raises(MCPError, match="At most 1"):
            async with client.listen(resource_subscriptions=[VMS, "vergeos://alarms/active"]):
                pass


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_are_told_that_resources_can_be_subscribed_to(built, mode):
    async with Client(f"{built.url}/mcp", mode=mode) as client:
        assert client.server_capabilities.resources.subscribe


async def test_a_client_without_a_session_is_refused(built):
    async with built.http.post(f"{built.url}/message", json=asked("resources/subscribe", {"uri": VMS})) as reply:
        assert "without a session" in (await reply.json())["error"]["message"]


@FACES
async def test_an_open_stream_does_not_hold_up_the_end(settings, face, monkeypatch):
    monkeypatch.setattr("gateway.app.SHUTDOWN_SECONDS", 2 * SOON_SECONDS)
    async with open_backend(settings) as backend, open_services(settings, backend) as services:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(services, stop, url.set_result))
        async with face(Place(await url), VMS):
            stop.set()
            await soon(serving)


def test_every_resource_follows_something():
    shown = {"id": 34}
    assert all(resource.changes(shown) for resource in RESOURCES)
    assert {name for resource in RESOURCES for name in resource.changes(shown)} >= {"vms", "vm:34", "job:34"}


async def test_changes_are_taken_each_once_and_too_many_are_told_as_anything(monkeypatch):
    monkeypatch.setattr(feed_module, "MOST_CHANGES", 2)
    changes = Changes()
    for name in ("a", "b", "a"):
        changes.note(name)
    assert await changes.take() == {"a", "b"}
    for name in "abc":
        changes.note(name)
    assert await changes.take() is None
    changes.note("d")
    assert await changes.take() == {"d"}
