"""Whatever odd credential is shown at whichever door: refused with a code and a next step, and repeated nowhere."""

import base64
import itertools
import json
import time
from collections import Counter

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from gateway.core.access import CallerKind
from gateway.rights import directory
from gateway.rights.issuing import issue, revoke
from gateway.store.api_keys import NewKey
from tests.conftest import eventually
from tests.identity import OTHER, RSA, identity_provider
from tests.journeys.inprocess import house
from tests.transports.mcp_fixtures import HEADERS, asked, modern

DOORS = {
    "rest": ("GET", "/vms", {}),
    "tools": ("POST", "/tools/list_vms", {"json": {}}),
    "modern": ("POST", "/mcp", modern("tools/list")),
    "legacy": ("POST", "/mcp", {"json": asked("tools/list")}),
    "plain": ("POST", "/message", {"json": asked("tools/list")}),
    "stream": ("GET", "/sse", {}),
    "metrics": ("GET", "/metrics", {}),
}
UNKNOWN, MALFORMED = (401, "unauthorized"), (400, "malformed_credentials")
POLICY = 'people: {ann: operator}\nscopes: {"vergeos:read": viewer, "vergeos:all": admin}\n'


class Wallet:
    """Every odd credential, made of good ones; `keys` are odd, `key` is good."""

    def __init__(self, idp, keys, key):
        self.idp, self.keys, self.key, self.now = idp, keys, key, int(time.time())

    def tokens(self):
        """Return tokens that do not hold, by what is wrong with them."""
        token, now, good = self.idp.token, self.now, self.idp.token()
        head, body, signature = good.split(".")
        public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return {
            "wrong issuer": token(iss="https://elsewhere.example.com"),
            "issuer with a slash": token(iss=f"{self.idp.issuer}/"),
            "wrong audience": token(aud="another"),
            "no audience": token(aud=None),
            "wrong key": token(OTHER),
            "unknown key": token(OTHER, "nobody's"),
            "no key id": jwt.encode({"sub": "ann"}, RSA, "RS256"),
            "expired": token(exp=now - 3600),
            "expired beyond the skew": token(exp=now - 62),
            "no end": token(exp=None),
            "not yet": token(nbf=now + 3600),
            "not yet beyond the skew": token(nbf=now + 120),
            "made later": token(iat=now + 120),
            "no subject": token(sub=None),
            "a subject that is an agent's name": token(sub="ann/claude"),
            "the public key as a secret": _by_hand(head_of("HS256"), body, _hmac(public, f"{head_of('HS256')}.{body}")),
            "unsigned": _by_hand(head_of("none"), body, ""),
            "unsigned by another spelling": _by_hand(head_of("NoNe"), body, signature),
            "another algorithm of the key": _by_hand(head_of("PS256"), body, signature),
            "other claims": _by_hand(head, _encoded({"sub": "root", "exp": now + 300}), signature),
            "cut": good[:-20],
            "no signature": f"{head}.{body}.",
            "encrypted": f"{good}.more.parts",
            "no JSON": "bm90.anNvbg.AAAA",
        }

    def odd(self):
        """Yield what is odd, the headers, the query, and how it is answered."""
        for what, token in self.tokens().items():
            yield what, [_bearer(token)], {}, UNKNOWN
        for what, key in self.keys.items():
            yield what, [_bearer(key)], {}, UNKNOWN
        good, key = self.idp.token(), self.key
        yield "nothing", [], {}, UNKNOWN
        yield "an empty token", [("Authorization", "Bearer ")], {}, UNKNOWN
        yield "another scheme", [("Authorization", f"DPoP {good}")], {}, UNKNOWN
        yield "a scheme alone", [("Authorization", good)], {}, UNKNOWN
        yield "too long", [_bearer("x" * 8000)], {}, UNKNOWN
        yield "another header", [("X-Api-Key", key)], {}, UNKNOWN
        yield "a cookie", [("Cookie", f"access_token={good}")], {}, UNKNOWN
        for name in ("access_token", "token", "api_key"):
            yield "the query", [], {name: good}, MALFORMED
            yield "the query and the header", [_bearer(key)], {name: key}, MALFORMED
        yield "twice the same", [_bearer(good), _bearer(good)], {}, MALFORMED
        yield "a good one and an odd one", [_bearer(key), _bearer("odd")], {}, MALFORMED


def head_of(algorithm):
    return _encoded({"alg": algorithm, "kid": "one", "typ": "JWT"})


def _encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _hmac(secret, text):
    digest = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(text.encode(), secret)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _by_hand(head, body, signature):
    return f"{head}.{body}.{signature}"


def _bearer(token):
    return "Authorization", f"Bearer {token}"


async def _key(gateway, name, role="viewer", **more):
    _, text = await issue(gateway.services.directory, NewKey(name, name, CallerKind.PERSON, (role,), **more))
    return text


async def keys_of(gateway):
    """Return API keys by what is wrong with them, and an administrator's that is good."""
    made = {name: await _key(gateway, name) for name in ("revoked", "rotated", "of-somebody-who-left")}
    made["from another address"] = await _key(gateway, "far", cidrs=("192.0.2.0/24",))
    made["expired"] = await _key(gateway, "expired", lasts_seconds=0)
    for name in ("revoked", "rotated"):
        await revoke(gateway.services.directory, name)
    await _key(gateway, "rotated-anew", role="viewer")
    await gateway.services.directory.keys.block("of-somebody-who-left")
    key = await _key(gateway, "root", role="admin")
    return {**made, "with another secret": key[:-4] + ("aaaa" if key[-4:] != "aaaa" else "bbbb")}, key


@pytest.fixture
async def provider():
    async with identity_provider() as made:
        yield made


@pytest.fixture
async def gateway(sim, settings, provider, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    told = {"oidc_issuer": provider.issuer, "oidc_audience": "gateway", "policy_file": tmp_path / "policy.yaml"}
    async with house(sim, settings.model_copy(update=told | {"auth_failures_per_minute": 0}), workers=0) as built:
        yield built


async def shown(gateway, door, headers, query):
    """Show credentials at a door; return status, headers and body of the answer."""
    method, path, more = DOORS[door]
    sent = [*HEADERS.items(), *more.get("headers", {}).items(), *headers]
    async with gateway.http.request(
        method, gateway.url + path, json=more.get("json"), headers=sent, params=query
    ) as answer:
        return answer.status, answer.headers, await answer.text()


async def test_every_odd_credential_is_refused_at_every_door_and_repeated_nowhere(
    gateway, provider, monkeypatch, capfd
):
    wallet = Wallet(provider, *await keys_of(gateway))
    root, secrets, told, codes = [_bearer(wallet.key)], set(), [], Counter()
    await eventually(lambda: _let_in(gateway, root))
    monkeypatch.setattr(directory, "log", structlog.get_logger())  # not one that an earlier test has bound
    with capture_logs() as lines:
        for (what, headers, query, expected), door in itertools.product(wallet.odd(), DOORS):
            status, answered, text = await shown(gateway, door, headers, query)
            problem = json.loads(text)
            assert (status, problem["code"]) == expected, (what, door, text)
            assert problem["next_step"], what
            require_challenge(what, door, headers, status, answered.get("WWW-Authenticate"), gateway.url)
            told += [text, str(dict(answered))]
            codes[expected[1]] += 1
            secrets |= {part for _, value in [*headers, *query.items()] for part in parts_of(value)}
    audit = await gateway.call("GET", "/audit", headers=dict(root), limit=1000)
    assert codes <= Counter(entry["outcome"] for entry in audit.body), "each refusal stands in the audit"
    assert len([line for line in lines if line["event"] == "credentials refused"]) > len(wallet.tokens()), (
        "and in the log"
    )
    told += [audit.text, str(lines), (await shown(gateway, "metrics", root, {}))[2], *capfd.readouterr()]
    assert not {secret for secret in secrets if any(secret in text for text in told)}


def parts_of(value):
    """Return what of a credential must stand nowhere: the whole of it, and each part of a token or key."""
    token = value.rpartition(" ")[2].rpartition("=")[2]
    return {part for part in (token, *token.split("."), token.rpartition("_")[2]) if len(part) > 12}


def require_challenge(what, door, headers, status, challenge, url):
    """The challenge tells where tokens are given, and whether there was one."""
    metadata = "/.well-known/oauth-protected-resource" + ("/mcp" if DOORS[door][1] == "/mcp" else "")
    assert f'resource_metadata="{url}{metadata}"' in challenge, (what, door)
    assert 'scope="vergeos:read vergeos:all"' in challenge
    given = any(name == "Authorization" for name, _ in headers)
    wrong = "invalid_request" if status == 400 else "invalid_token" if given else None
    assert (f'error="{wrong}"' in challenge) if wrong else ("error=" not in challenge), (what, door, challenge)


async def _let_in(gateway, headers):
    return (await shown(gateway, "rest", headers, {}))[0] == 200


@pytest.mark.parametrize("door", DOORS)
async def test_a_good_token_is_let_in_at_every_door_whatever_its_clock_within_a_minute(gateway, provider, door):
    now = int(time.time())
    for times in ({}, {"exp": now - 20}, {"nbf": now + 30, "iat": now + 30}):
        for scheme in ("Bearer", "bearer", "BEARER"):
            headers = [("Authorization", f"{scheme} {provider.token(**times)}")]
            if door == "stream":
                async with gateway.http.get(f"{gateway.url}/sse", headers=headers) as stream:
                    assert stream.status == 200
            elif door != "legacy":
                assert (await shown(gateway, door, headers, {}))[0] == 200
