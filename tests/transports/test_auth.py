"""Who is let in: by a key in the one header, to every door; nobody else once there is a key."""

import asyncio
import dataclasses
from contextlib import suppress

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gateway.app import CannotStart, create_app, require_safe
from gateway.core.access import CallerKind
from gateway.rights.issuing import issue
from gateway.store.api_keys import NewKey
from gateway.transports.auth import OPEN
from tests.conftest import AT_ONCE_SECONDS, eventually, fast_settings
from tests.journeys.inprocess import house


@pytest.fixture
async def gateway(settings, sim):
    async with house(sim, settings) as built:
        yield built


async def key(gateway, name="ann", roles=("operator",), kind=CallerKind.PERSON, owner="ann", **more):
    """Make a key; return the header that proves its holder."""
    _, token = await issue(gateway.services.directory, NewKey(name, owner, kind, roles, **more))
    await eventually(lambda: asked(gateway, "/vms", 401))
    return {"Authorization": f"Bearer {token}"}


async def asked(gateway, path, status, headers=None):
    return (await gateway.call("GET", path, headers=headers)).status == status


async def cut(stream):
    """Read a stream until its connection is cut, which it must be soon."""
    async with asyncio.timeout(AT_ONCE_SECONDS):
        with suppress(aiohttp.ClientError):
            while await stream.content.readline():
                pass


async def test_without_a_key_everybody_on_this_machine_is_let_in(gateway):
    assert (await gateway.get("/overview")).body["you"] == "local"


async def test_from_the_first_key_on_callers_must_prove_who_they_are(gateway):
    ann = await key(gateway)
    refused = await gateway.get("/vms")
    refused.problem(401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert (await gateway.call("GET", "/overview", headers=ann)).body["you"] == "ann"


async def test_answers_are_counted_with_their_age(gateway):
    ann = await key(gateway)
    for _ in range(3):  # asked of VergeOS, made of what is known, kept
        await gateway.call("GET", "/vms", headers=ann)
    counted = gateway.services.metrics.registry.get_sample_value
    aged = [counted("vergeos_gateway_answer_age_seconds_count", {"source": source}) for source in ("live", "cache")]
    assert aged == [1, 2]


async def test_figures_tell_who_was_let_in_and_who_was_not(gateway):
    ann, before = await key(gateway), let_in(gateway)
    await gateway.get("/vms")
    await gateway.call("GET", "/vms", headers=ann)
    assert let_in(gateway) == {"ok": before["ok"] + 1, "unauthorized": before["unauthorized"] + 1}


def let_in(gateway):
    counted = gateway.services.metrics.registry.get_sample_value
    name = "vergeos_gateway_authentications_total"
    return {outcome: counted(name, {"outcome": outcome}) for outcome in ("ok", "unauthorized")}


async def test_every_route_but_a_few_refuses_strangers(gateway):
    await key(gateway)
    routes = {
        (route.method, route.resource.canonical)
        for route in create_app(gateway.services).router.routes()
        if route.method != "HEAD"
    }
    open_now = set()
    for method, path in sorted(routes):
        address = gateway.url + path.replace("{", "").replace("}", "")
        async with gateway.http.request(method, address) as answer:
            if answer.status not in {401, 429}:
                open_now.add(path)
    assert open_now == OPEN
    assert (await gateway.get("/no/such/route")).status in {401, 429}


async def test_what_tells_only_how_the_process_does_stays_open(gateway):
    await key(gateway)
    for path in ("/health", "/livez", "/readyz"):
        assert (await gateway.get(path)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer  "}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Authorization": "Bearer vgk_000000000000_" + "A" * 43}, 401),
        ({"Authorization": "Bearer " + "x" * 7_000}, 401),
        ({"X-Api-Key": "whatever"}, 401),
        ({"Cookie": "token=whatever"}, 401),
    ],
)
async def test_what_is_no_key_is_refused(gateway, headers, status):
    await key(gateway)
    assert (await gateway.call("GET", "/vms", headers=headers)).status == status


async def test_a_key_stands_once_and_in_the_header_alone(gateway):
    ann = await key(gateway)
    token = ann["Authorization"].removeprefix("Bearer ")
    for name in ("access_token", "token", "api_key"):
        (await gateway.call("GET", "/vms", headers=ann, **{name: token})).problem(400, "malformed_credentials")
    async with aiohttp.ClientSession() as http:
        twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
        async with http.get(gateway.url + "/vms", headers=twice) as answer:
            assert answer.status == 400


async def test_an_address_that_shows_unknown_keys_too_often_must_wait_but_for_whoever_is_known(settings, sim):
    async with house(sim, settings.model_copy(update={"auth_failures_per_minute": 3}), workers=0) as gateway:
        ann, unknown = await gateway.key("ann", "ann"), {"Authorization": "Bearer vgk_000000000000_" + "A" * 43}
        statuses = [(await gateway.call("GET", "/vms", headers=unknown)).status for _ in range(3)]
        assert statuses == [401, 401, 401]
        for headers in (unknown, {}):
            told = await gateway.call("GET", "/vms", headers=headers)
            told.problem(429, "too_many_failures")
            assert 0 < int(told.headers["Retry-After"]) <= 60
        assert (await gateway.call("GET", "/vms", headers=ann)).status == 200


async def test_a_revoked_key_is_refused_and_its_streams_are_cut_at_once(gateway):
    ann = await key(gateway)
    begun = await gateway.power_off(gateway.sim.vm("web-1").ignore_acpi(), headers=ann, wait_timeout=600)
    async with aiohttp.ClientSession() as http:
        stream = await http.get(f"{gateway.url}/jobs/{begun['id']}/events", headers=ann)
        await stream.content.readline()
        await gateway.services.directory.keys.revoke("ann")
        await cut(stream)
        await eventually(lambda: asked(gateway, "/vms", 401, ann), AT_ONCE_SECONDS)


async def test_a_role_that_is_taken_away_ends_a_stream_and_one_that_stays_does_not(settings, sim, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("people:\n  ann: operator\n")
    async with house(sim, settings.model_copy(update={"policy_file": policy})) as gateway:
        ann = await key(gateway, "claude", ("operator",), CallerKind.AGENT)
        bob = await key(gateway, "bob", owner="bob")
        begun = await gateway.power_off(gateway.sim.vm("web-1").ignore_acpi(), headers=bob, wait_timeout=600)
        async with aiohttp.ClientSession() as http:
            url = f"{gateway.url}/jobs/{begun['id']}/events"
            hers, his = await http.get(url, headers=ann), await http.get(url, headers=bob)
            await hers.content.readline()
            policy.write_text("people:\n  ann: viewer\n")
            await cut(hers)
            assert not his.content.is_eof()


async def test_administrators_make_and_revoke_keys_over_rest(gateway):
    admin = await key(gateway, "root", ("admin",), owner="root")
    made = await gateway.call("POST", "/keys", {"name": "bob", "owner": "bob", "role": ["viewer"]}, admin)
    bob = {"Authorization": f"Bearer {made.body['token']}"}
    await eventually(lambda: asked(gateway, "/vms", 200, bob))
    listed = await gateway.call("GET", "/keys", headers=admin)
    assert [found["name"] for found in listed.body["keys"]] == ["bob", "root"]
    assert made.body["token"].split("_", 2)[2] not in listed.text
    (await gateway.call("GET", "/keys", headers=bob)).problem(403, "forbidden")
    assert (await gateway.call("DELETE", "/keys/bob", headers=admin)).body["name"] == "bob"
    await eventually(lambda: asked(gateway, "/vms", 401, bob))


async def test_neither_agents_nor_administrators_of_a_part_make_keys(gateway):
    await key(gateway, "root", ("admin",), owner="root")
    agent = await key(gateway, "bot", ("admin",), CallerKind.AGENT, "root")
    part = await key(gateway, "part", ("admin",), owner="part", select=("name=web-*",))
    wish = {"name": "x", "owner": "x", "role": ["admin"]}
    (await gateway.call("POST", "/keys", wish, agent)).problem(403, "needs_person")
    (await gateway.call("POST", "/keys", wish, part)).problem(403, "forbidden")


async def test_mcp_callers_prove_themselves_as_well(gateway):
    viewer = await key(gateway, "bob", ("viewer",), owner="bob")
    async with aiohttp.ClientSession() as http, http.post(gateway.url + "/mcp", json={}) as refused:
        assert refused.status == 401
    for mode in ("auto", "legacy"):
        async with httpx2.AsyncClient(headers=viewer) as http:
            transport = streamable_http_client(gateway.url + "/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert "list_vms" in names
                assert "power_off_vm" not in names
                refused = await client.call_tool("power_off_vm", {"id": 34})
                assert refused.is_error
                assert "forbidden" in refused.content[0].text


async def test_a_session_belongs_to_its_caller(gateway):
    ann, bob = await key(gateway), await key(gateway, "bob", owner="bob")
    accept = {"Accept": "application/json, text/event-stream"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    opened = await gateway.call("POST", "/mcp", begin, {**ann, **accept})
    session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    assert (await gateway.call("POST", "/mcp", listing, {**ann, **accept, **session})).status == 200
    assert (await gateway.call("POST", "/mcp", listing, {**bob, **accept, **session})).status == 404


async def test_an_address_behind_a_trusted_proxy_is_the_caller_s(settings, sim):
    trusting = settings.model_copy(update={"trusted_proxies": ("127.0.0.0/8",)})
    async with house(sim, trusting) as gateway:
        ann = await key(gateway, cidrs=("192.0.2.0/24",))
        for named, status in (("192.0.2.9", 200), ("203.0.113.1, 192.0.2.9", 200), ("192.0.2.9, 203.0.113.1", 401)):
            headers = {**ann, "X-Forwarded-For": named}
            assert (await gateway.call("GET", "/vms", headers=headers)).status == status, named
    async with house(sim, settings) as gateway:
        assert (await gateway.call("GET", "/vms", headers={**ann, "X-Forwarded-For": "192.0.2.9"})).status == 401


async def test_metrics_are_for_known_callers_unless_the_setting_opens_them(settings, sim):
    async with house(sim, settings.model_copy(update={"metrics_open": True})) as gateway:
        await key(gateway)
        async with gateway.http.get(gateway.url + "/metrics") as answer:
            assert answer.status == 200


async def test_anonymous_means_everybody_may_do_everything(settings, sim):
    async with house(sim, settings.model_copy(update={"allow_anonymous": True})) as gateway:
        await issue(gateway.services.directory, NewKey("ann", "ann", CallerKind.PERSON, ("viewer",)))
        await gateway.services.directory.refresh()
        assert (await gateway.get("/overview")).body["you"] == "local"


async def test_a_gateway_for_other_machines_starts_with_a_key_and_never_without_any(sim, redis_url):
    beyond = fast_settings(sim.url, redis_url, host="0.0.0.0")
    async with house(sim, fast_settings(sim.url, redis_url), workers=0) as gateway:
        services = dataclasses.replace(gateway.services, settings=beyond)
        with pytest.raises(CannotStart, match="no authentication"):
            await require_safe(services)
        await key(gateway)
        await require_safe(services)
