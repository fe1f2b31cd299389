"""Who is taken for whom: callers of one name, the old transport of MCP, and those without any name."""

import asyncio
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest
from inprocess import engine_settings, house

from gateway.core.access import CallerKind
from tests.conftest import AT_ONCE_SECONDS, eventually
from tests.identity import identity_provider
from tests.transports.mcp_fixtures import asked, called, soon, sse_events

POLICY = "people: {ann: operator, grafana: viewer}\ngroups: {platform: engineer}\n"
HELLO = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
REPLICA = pytest.mark.parametrize("other", [0, 1], ids=["at its replica", "at another one"])


@pytest.fixture
async def replicas(sim, redis_url):
    settings = engine_settings(sim, redis_url)
    async with house(sim, settings, workers=0) as first, house(sim, settings, workers=0) as second:
        yield first, second


async def cut(stream):
    """Read a stream until its connection is cut, which it must be soon."""
    async with asyncio.timeout(AT_ONCE_SECONDS):
        with suppress(aiohttp.ClientError):
            while await stream.content.read(4096):
                pass


# the nameless


async def test_once_the_first_key_is_shown_no_replica_lets_anybody_in_without_one(replicas):
    first, second = replicas
    for _ in range(3):  # so that its answer is at hand
        assert (await second.get("/vms")).status == 200
    wish = {"name": "ann", "owner": "ann", "role": ["admin"]}
    made = await first.call("POST", "/keys", wish)  # by one who is nameless himself, and hears of it
    (await second.get("/vms")).problem(401, "unauthorized")
    (await first.get("/vms")).problem(401, "unauthorized")
    ann = {"Authorization": f"Bearer {made.body['token']}"}
    assert (await second.call("GET", "/vms", headers=ann)).status == 200


async def test_streams_of_the_nameless_end_on_every_replica_after_the_first_key(replicas):
    job = await replicas[0].power_off(replicas[0].sim.vm("web-1"))
    addresses = [gateway.url + path for gateway in replicas for path in (f"/jobs/{job['id']}/events", "/sse")]
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(http.get(address)) for address in addresses]
        assert {stream.status for stream in streams} == {200}
        await replicas[0].key("ann", "ann")
        for stream in streams:
            await cut(stream)


# the old transport


async def sent(gateway, path, body, headers):
    async with gateway.http.post(gateway.url + path, json=body, headers=headers) as reply:
        return reply.status


@REPLICA
async def test_a_message_of_the_old_transport_has_the_right_of_its_sender_or_is_refused(replicas, other):
    first, at = replicas[0], replicas[other]
    ann, weak = await first.key("ann", "ann"), await first.key("ann-weak", "ann", "viewer")
    bob = await first.key("bob", "bob", "admin")
    call = called("power_off_vm", 2) | {"params": {"name": "power_off_vm", "arguments": {"id": "web-1"}}}
    async with first.http.get(f"{first.url}/sse", headers=weak) as stream:
        told = sse_events(stream)
        _, path = await soon(anext(told))
        for headers in (ann, bob):
            assert await sent(at, path, asked("initialize", HELLO), headers) == 404
        assert await sent(at, path, call, {}) == 401
        assert await sent(at, path, asked("initialize", HELLO), weak) == 202
        assert "2024-11-05" in (await soon(anext(told)))[1]
        assert await sent(at, path, {"jsonrpc": "2.0", "method": "notifications/initialized"}, weak) == 202
        for headers in (ann, bob):
            assert await sent(at, path, call, headers) == 404
        assert await sent(at, path, call, weak) == 202
        assert "forbidden" in (await soon(anext(told)))[1]
    assert await first.services.jobs.open() == []


@REPLICA
async def test_a_key_that_is_revoked_sends_nothing_more_to_its_stream(replicas, other):
    first, at = replicas[0], replicas[other]
    ann = await first.key("ann", "ann")
    async with first.http.get(f"{first.url}/sse", headers=ann) as stream:
        _, path = await soon(anext(sse_events(stream)))
        await first.services.directory.keys.revoke("ann")

        async def refused():
            return await sent(at, path, asked("initialize", HELLO), ann) == 401

        await eventually(refused)
        await cut(stream)


# one name


@pytest.fixture
async def served(sim, redis_url, tmp_path):
    """A gateway that takes tokens, and what gives them."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    async with identity_provider() as provider:
        told = {"oidc_issuer": provider.issuer, "oidc_audience": "gateway", "policy_file": tmp_path / "policy.yaml"}
        settings = engine_settings(sim, redis_url).model_copy(update=told | {"auth_failures_per_minute": 0})
        async with house(sim, settings, workers=0) as gateway:
            yield gateway, provider


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_with_the_name_of_a_machine_is_not_that_machine(served):
    gateway, provider = served
    token = bearer(provider.token(sub="backup", groups=["platform"]))
    machine = await gateway.key("backup", "ann", kind=CallerKind.MACHINE)
    vm = gateway.sim.vm("web-1")
    job = await gateway.power_off(vm, headers=machine)
    (await gateway.call("GET", "/vms", headers=token)).problem(401, "unauthorized")
    (await gateway.call("POST", f"/jobs/{job['id']}/cancel", headers=token)).problem(401, "unauthorized")
    assert (await gateway.call("GET", f"/jobs/{job['id']}", headers=machine)).body["owner"] == "backup"
    await gateway.services.directory.keys.revoke("backup")

    async def himself():
        return (await gateway.call("GET", "/overview", headers=token)).body.get("you") == "backup"

    await eventually(himself)


async def test_a_token_with_the_name_of_whoever_has_none_is_refused(served):
    gateway, provider = served
    (await gateway.call("GET", "/vms", headers=bearer(provider.token(sub="local")))).problem(401, "unauthorized")


async def test_a_person_s_token_and_key_are_the_same_person(served):
    gateway, provider = served
    ann, token = await gateway.key("ann", "ann", "viewer"), bearer(provider.token(sub="ann"))
    told = [(await gateway.call("GET", "/overview", headers=headers)).body for headers in (ann, token)]
    assert [seen["you"] for seen in told] == ["ann", "ann"]
    assert [seen["you_may"] for seen in told] == [["read"], ["operate", "read"]]
