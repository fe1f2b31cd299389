"""Tokens of an identity provider: which are taken, which are not, and what is said to who has none."""

import asyncio
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.core.errors import IssuerAway, Unauthorized
from gateway.transports.oidc import MOST_BYTES, Issuer
from tests.conftest import eventually
from tests.identity import EC, OTHER, RSA, identity_provider
from tests.journeys.inprocess import house

POLICY = """
people: {ann: operator}
groups: {platform: engineer, part: web}
roles: {web: {allow: [{permissions: [read], on: {name: "app-*"}}]}}
scopes: {"vergeos:read": viewer, "vergeos:all": admin}
clients: {claude: {kind: agent, roles: operator}}
"""


@pytest.fixture
async def provider():
    async with identity_provider() as made:
        yield made


@pytest.fixture
def oidc(settings, provider, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    update = {"oidc_issuer": provider.issuer, "oidc_audience": "gateway", "policy_file": tmp_path / "policy.yaml"}
    return settings.model_copy(update=update)


@pytest.fixture
async def gateway(sim, oidc):
    async with house(sim, oidc, workers=0) as built:
        yield built


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_tells_who_calls_and_groups_and_scopes_what_he_may(gateway, provider):
    async def overview(**claims):
        return (await gateway.call("GET", "/overview", headers=bearer(provider.token(**claims)))).body

    assert (await overview())["you_may"] == ["operate", "read"]
    assert (await overview(groups=["platform"], sub="bob"))["you_may"] == ["change", "force", "operate", "read"]
    assert (await overview(scope="vergeos:read openid"))["you_may"] == ["read"]
    assert (await overview(groups=["part"], sub="eve"))["vms"] == 3
    agent = await overview(azp="claude", groups=["platform"])
    assert (agent["you"], agent["you_may"]) == ("ann/claude", ["operate", "read"])


@pytest.mark.parametrize(
    "odd",
    [
        {"iss": "https://elsewhere.example.com"},
        {"aud": "another"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": "ann/claude"},
        {"sub": "ann\n"},
        {"sub": "a" * 256},
        {"key": OTHER},
        {"kid": "nobody's"},
    ],
    ids=lambda odd: "-".join(odd),
)
async def test_a_token_that_does_not_hold_is_refused(oidc, provider, odd):
    issuer = Issuer(oidc)
    await issuer.verified(provider.token())
    with pytest.raises(Unauthorized):
        await issuer.verified(provider.token(**odd))


async def test_only_the_fixed_algorithms_are_taken(oidc, provider):
    issuer = Issuer(oidc)
    public = provider.jwks()[0]["n"].encode()
    unsigned = jwt.encode({"sub": "ann", "iss": provider.issuer, "aud": "gateway", "exp": 4e9}, None, "none")
    for token in (
        unsigned,
        jwt.encode({"sub": "ann"}, public, "HS256", headers={"kid": "one"}),
        "a.b.c",
        "..",
        "é.x.y",
    ):
        with pytest.raises(Unauthorized):
            await issuer.verified(token)
    provider.keys["two"] = EC
    assert (await Issuer(oidc).verified(provider.token(EC, "two", "ES256")))[0].person == "ann"


async def test_a_clock_a_little_off_is_forgiven(oidc, provider):
    now = time.time()
    await Issuer(oidc).verified(provider.token(exp=int(now - 30), nbf=int(now + 30)))


async def test_keys_rotate_and_odd_tokens_do_not_press_the_provider(oidc, provider):
    issuer = Issuer(oidc)
    await issuer.verified(provider.token())
    for number in range(20):
        with pytest.raises(Unauthorized):
            await issuer.verified(provider.token(OTHER, f"odd-{number}"))
    assert provider.asked == 1, "an unknown key is looked for once in half a minute"
    provider.keys = {"two": OTHER}
    issuer._again_at = float("-inf")
    assert (await issuer.verified(provider.token(OTHER, "two")))[0].person == "ann"
    with pytest.raises(Unauthorized):
        await issuer.verified(provider.token())


async def test_keys_that_sign_no_tokens_of_ours_stand_in_nobody_s_way(oidc, provider):
    public = provider.jwks()[0]
    provider.odd = [
        {"kid": "secret", "kty": "oct", "k": "c2VjcmV0" * 6, "use": "sig"},
        {"kid": "new", "kty": "LMS", "use": "sig"},
        {"kid": "broken", "kty": "RSA", "n": "!", "e": "?", "use": "sig"},
        {"kid": "curve", "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {**public, "kid": "hiding", "use": "enc"},
        {**public, "kid": None},
        "no key at all",
        17,
    ]
    issuer = Issuer(oidc)
    assert (await issuer.verified(provider.token()))[0].person == "ann"
    for odd in ({"key": b"secret" * 6, "kid": "secret", "algorithm": "HS256"}, {"kid": "hiding"}, {"kid": "None"}):
        with pytest.raises(Unauthorized):
            await issuer.verified(provider.token(**odd))


async def test_a_key_that_is_too_short_is_not_taken(oidc, provider):
    provider.keys["short"] = short = rsa.generate_private_key(65537, 1024)  # noqa: S505
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = provider.token(short, "short")
    with pytest.raises(Unauthorized):
        await Issuer(oidc).verified(token)


async def test_a_caller_who_leaves_does_not_take_the_keys_with_him(oidc, provider):
    issuer = Issuer(oidc)
    provider.held.clear()
    leaving = asyncio.create_task(issuer.verified(provider.token()))
    await eventually(lambda: provider.asked)
    leaving.cancel()
    staying = asyncio.create_task(issuer.verified(provider.token()))
    provider.held.set()
    assert (await staying)[0].person == "ann"
    assert provider.asked == 1


async def test_more_keys_than_anybody_has_are_not_read(oidc, provider):
    provider.odd = [{"kid": "x" * MOST_BYTES}]
    with pytest.raises(IssuerAway):
        await Issuer(oidc).verified(provider.token())


async def test_who_has_no_token_is_told_where_to_get_one(gateway, provider):
    refused = await gateway.get("/vms")
    refused.problem(401, "unauthorized")
    told = refused.headers["WWW-Authenticate"]
    assert f'resource_metadata="{gateway.url}/.well-known/oauth-protected-resource"' in told
    assert 'scope="vergeos:read vergeos:all"' in told
    for path in ("", "/mcp"):
        document = (await gateway.get(f"/.well-known/oauth-protected-resource{path}")).body
        assert document["resource"] == f"{gateway.url}{path}"
        assert document["authorization_servers"] == [provider.issuer]


async def test_a_scope_that_is_too_narrow_is_told_with_all_there_are(gateway, provider):
    narrow = bearer(provider.token(scope="vergeos:read"))
    refused = await gateway.call("POST", "/vms/app-1/poweron", {}, narrow)
    refused.problem(403, "forbidden")
    told = refused.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in told
    assert 'scope="vergeos:read vergeos:all"' in told


async def test_over_mcp_a_scope_that_is_too_narrow_is_told_as_well(gateway, provider):
    narrow = bearer(provider.token(scope="vergeos:read")) | {"Accept": "application/json, text/event-stream"}
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "power_on_vm", "arguments": {"id": 34}},
    }
    refused = await gateway.call("POST", "/mcp", call, narrow)
    assert refused.status == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["WWW-Authenticate"]


async def test_a_provider_that_is_away_is_told_and_nothing_served(sim, oidc):
    async with house(sim, oidc.model_copy(update={"oidc_issuer": "http://127.0.0.1:9"}), workers=0) as gateway:
        token = jwt.encode({"sub": "ann"}, RSA, "RS256", headers={"kid": "one"})
        (await gateway.call("GET", "/vms", headers=bearer(token))).problem(503, "issuer_unavailable")


async def test_an_address_that_fails_too_often_must_wait(sim, oidc, provider):
    async with house(sim, oidc.model_copy(update={"auth_failures_per_minute": 3}), workers=0) as gateway:
        good = bearer(provider.token())
        assert (await gateway.call("GET", "/vms", headers=good)).status == 200
        statuses = [(await gateway.call("GET", "/vms", headers=bearer("a.b.c"))).status for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        assert (await gateway.call("GET", "/vms", headers=good)).status == 200, "whoever is known is heard all the same"
