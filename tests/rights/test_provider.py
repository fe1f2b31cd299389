"""Tokens of a real identity provider: MCP clients come by them from the address alone, and keys change meanwhile."""

import asyncio
import secrets
import time
from contextlib import asynccontextmanager

import httpx2
import jwt
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from gateway.core.access import CallerKind
from gateway.store.api_keys import NameTaken
from tests.conftest import eventually, free_port
from tests.journeys.inprocess import house
from tests.npm import available, install
from tests.rights.provider import HERE, REDIRECT, provider, secret_of, signed_in, signing_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not available(HERE), reason="neither npm nor the installed provider is there"),
]
POLICY = """
people: {robot: operator}
groups: {platform: engineer, night: viewer}
scopes: {"vergeos:read": viewer, "vergeos:all": admin}
clients: {desktop: {kind: agent, roles: operator}}
"""
ALL = "vergeos:read vergeos:all"
DISCOVERY = "/.well-known/openid-configuration"
VMS = 12  # of the simulator
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


class Kept:
    """What a client keeps of its tokens."""

    def __init__(self, tokens=None, client=None):
        self.tokens, self.client = tokens, client

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


@pytest.fixture
async def idp():
    await install(HERE)
    async with provider(signing_key("one")) as made:
        yield made


@pytest.fixture
def oidc(settings, idp, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    port = free_port()
    told = {"oidc_issuer": idp.issuer, "policy_file": tmp_path / "policy.yaml", "auth_failures_per_minute": 0}
    return settings.model_copy(update=told | {"port": port, "public_url": f"http://127.0.0.1:{port}"})


@pytest.fixture
async def gateway(sim, oidc):
    async with house(sim, oidc, workers=0) as built:
        yield built


def robot(gateway, idp, client="robot", kept=None):
    """Return how an SDK client gets its own token, from what the gateway tells who has none."""
    return ClientCredentialsOAuthProvider(
        f"{gateway.url}/mcp", kept or Kept(), client, secret_of(client), issuer=idp.issuer
    )


def person(gateway, idp, name):
    """Return how an SDK client gets a token for a person, who signs in at the provider and consents."""
    asking = {
        "client_id": "desktop",
        "client_secret": secret_of("desktop"),
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    came_back = asyncio.get_running_loop().create_future()

    async def redirect(url):
        came_back.set_result(await signed_in(url, name))

    async def callback():
        return AuthorizationCodeResult(**await came_back)

    return OAuthClientProvider(
        f"{gateway.url}/mcp",
        OAuthClientMetadata(redirect_uris=[REDIRECT], client_name="desktop"),
        Kept(client=OAuthClientInformationFull(**asking)),
        redirect,
        callback,
    )


@asynccontextmanager
async def client_of(gateway, auth, mode):
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as http,
        Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def overview(client):
    told = (await client.call_tool("get_overview", {})).structured_content
    return told["you"], told["you_may"]


async def status(gateway, token, path="/vms"):
    return (await gateway.call("GET", path, headers={"Authorization": f"Bearer {token}"})).status


@ERAS
async def test_a_program_finds_the_provider_by_the_gateway_s_address_and_lists_the_vms(gateway, idp, mode):
    async with client_of(gateway, robot(gateway, idp), mode) as client:
        listed = (await client.call_tool("list_vms", {})).structured_content
        assert listed["total"] == VMS
        assert await overview(client) == ("robot", ["operate", "read"])


@ERAS
async def test_a_person_signs_in_at_the_provider_and_his_client_acts_as_his_agent(gateway, idp, mode):
    async with client_of(gateway, person(gateway, idp, "ann"), mode) as client:
        assert (await client.call_tool("list_vms", {})).structured_content["total"] == VMS
        assert await overview(client) == ("ann/desktop", ["operate", "read"])


async def test_groups_and_scopes_of_its_tokens_say_what_a_caller_may(gateway, idp):
    async def may(client, scope):
        token = await idp.token(client, f"{gateway.url}/mcp", scope)
        answered = await gateway.call("GET", "/overview", headers={"Authorization": f"Bearer {token}"})
        return answered.body.get("you_may")

    assert await may("nightly", ALL) == ["read"]
    assert await may("robot", "vergeos:read") == ["read"]
    assert await may("robot", ALL) == ["operate", "read"]


@ERAS
async def test_a_client_whose_scope_is_too_narrow_asks_for_the_one_it_is_told(gateway, idp, mode):
    narrow = await idp.token("robot", f"{gateway.url}/mcp", "vergeos:read")
    kept = Kept(OAuthToken(access_token=narrow, scope="vergeos:read"))
    async with client_of(gateway, robot(gateway, idp, kept=kept), mode) as client:
        assert await overview(client) == ("robot", ["read"])
        made = await client.call_tool("power_on_vm", {"id": "app-1", "dry_run": True})
        assert not made.is_error
        assert set(kept.tokens.scope.split()) == set(ALL.split())


async def test_nobody_who_signs_in_is_taken_for_a_machine_of_his_name(gateway, idp):
    token = await idp.token("nightly", gateway.url, ALL)
    assert await status(gateway, token) == 200
    with pytest.raises(NameTaken, match="person in the policy file"):
        await gateway.key("robot", "ann", kind=CallerKind.MACHINE)
    machine = await gateway.key("nightly", "ann", kind=CallerKind.MACHINE)
    await eventually(lambda: passes(gateway, token, 401))
    assert (await gateway.call("GET", "/overview", headers=machine)).body["you"] == "nightly"
    await gateway.services.directory.keys.revoke("nightly")
    await eventually(lambda: passes(gateway, token, 200))


async def test_a_token_for_another_service_is_refused(gateway, idp):
    for resource in ("http://127.0.0.1:1/mcp", f"{gateway.url}/elsewhere", "urn:gateway"):
        assert await status(gateway, await idp.token("robot", resource, ALL)) == 401
    assert await status(gateway, await idp.token("robot", gateway.url, ALL)) == 200


async def test_new_keys_of_the_provider_are_taken_at_once_and_tokens_of_old_ones_refused(sim, oidc, idp):
    quick = oidc.model_copy(update={"oidc_keys_seconds": 1.0})
    async with house(sim, quick, workers=0) as gateway:
        old = await idp.token("robot", gateway.url, ALL)
        assert await status(gateway, old) == 200
        await idp.sign_with(signing_key("one"), signing_key("two", "ES256"))  # the same id, and another key
        await eventually(lambda: passes(gateway, old, 401))
        new = await idp.token("robot", gateway.url, ALL)
        assert await status(gateway, new) == 200
        await idp.sign_with(signing_key("three", "ES256"))
        newest = await idp.token("robot", gateway.url, ALL)
        await eventually(lambda: passes(gateway, newest, 200))
        assert [await status(gateway, token) for token in (old, new)] == [401, 401]


async def passes(gateway, token, expected):
    return await status(gateway, token) == expected


async def test_tokens_of_unknown_keys_do_not_press_the_provider(gateway, idp):
    good = await idp.token("robot", gateway.url, ALL)
    assert await status(gateway, good) == 200
    before = idp.asked["/jwks"]
    claims = jwt.decode(good, options={"verify_signature": False})
    odd = [jwt.encode(claims, "k" * 32, "HS256", headers={"kid": secrets.token_hex(4)}) for _ in range(100)]
    other = jwt.PyJWK(signing_key("other")).key
    odd += [jwt.encode(claims, other, "RS256", headers={"kid": f"odd-{number}"}) for number in range(100)]
    began = time.monotonic()
    assert set(await asyncio.gather(*(status(gateway, token) for token in odd))) == {401}
    assert await status(gateway, await idp.token("robot", gateway.url, ALL)) == 200
    assert idp.asked["/jwks"] - before <= 1 + (time.monotonic() - began) // 30


async def test_tokens_hold_while_the_provider_is_away(sim, oidc, idp):
    async with house(sim, oidc.model_copy(update={"oidc_keys_seconds": 1.0}), workers=0) as gateway:
        token, unused = [await idp.token("robot", gateway.url, ALL) for _ in range(2)]
        assert await status(gateway, token) == 200
        await idp.sign_with()
        before = idp.asked[DISCOVERY]
        await eventually(lambda: asked_again(gateway, idp, token, before))
        assert [await status(gateway, known) for known in (token, unused)] == [200, 200]


async def asked_again(gateway, idp, token, before):
    """Tell whether the provider was asked for its keys since; whoever calls is let in all the while."""
    assert await status(gateway, token) == 200
    return idp.asked[DISCOVERY] > before


async def test_without_the_provider_s_keys_nobody_is_let_in_and_it_is_not_pressed(gateway, idp):
    token = await idp.token("robot", gateway.url, ALL)
    await idp.sign_with()
    assert set(await asyncio.gather(*(status(gateway, token) for _ in range(50)))) == {503}
    began = time.monotonic()
    assert idp.asked[DISCOVERY] <= 2
    await idp.sign_with(signing_key("two"))
    token = await idp.token("robot", gateway.url, ALL)
    await eventually(lambda: passes(gateway, token, 200))
    assert idp.asked[DISCOVERY] <= 3 + time.monotonic() - began
