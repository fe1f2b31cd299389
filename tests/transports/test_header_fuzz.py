"""Whatever headers come, with credentials and without: no fault of ours, nothing hidden, no part of a token back."""

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_fixtures import HEADERS, MODERN, asked, modern
from raw_http import exchange, head_of
from test_mcp_fuzz import KNOWN, told, values

from tests.identity import identity_provider
from tests.journeys.inprocess import house
from tests.transports.test_sight import key, require_nothing_hidden

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

DOORS = {
    "rest": (b"GET", b"/vms?limit=3", None),
    "tools": (b"POST", b"/tools/list_vms", {}),
    "job": (b"GET", b"/jobs/0123456789abcdef", None),
    "events": (b"GET", b"/jobs/0123456789abcdef/events", None),
    "figures": (b"GET", b"/metrics", None),
    "stateless": (b"POST", b"/mcp", modern("tools/list")["json"]),
    "no session": (b"POST", b"/mcp", asked("tools/list")),
    "plain": (b"POST", b"/message", asked("tools/list")),
    "metadata": (b"GET", b"/.well-known/oauth-protected-resource/mcp", None),
    "page": (b"GET", b"/docs", None),
}
OPEN = {"metadata", "page"}
REFUSED = {0, 400, 401, 403, 404, 405, 406, 408, 413, 415, 417, 421, 429}
MORE = (
    *(b"Host", b"X-Forwarded-For", b"X-Forwarded-Proto", b"Forwarded", b"Cookie", b"X-Api-Key", b"DPoP"),
    *(b"Proxy-Authorization", b"If-None-Match", b"If-Modified-Since", b"Cache-Control", b"Idempotency-Key"),
    *(b"Range", b"Accept-Encoding", b"Content-Length", b"Transfer-Encoding", b"X-Http-Method-Override"),
)
headers = st.lists(st.tuples(st.sampled_from((*KNOWN, *MORE)), values), max_size=6)
schemes = st.sampled_from((b"Bearer ", b"bearer ", b"Bearer", b"Basic ", b"DPoP ", b"", b"Bearer  ", b"Bearer\t"))


def changed(token):
    """Return a strategy of what a token becomes that was copied badly, or changed on purpose."""
    cut = st.integers(0, len(token)).map(lambda at: token[:at])
    put = st.builds(lambda at, more: token[:at] + more + token[at:], st.integers(0, len(token)), values)
    return cut | put | values | st.sampled_from((token.upper(), token + token, token + b"." + token, token[::-1]))


class Front:
    """The doors of a gateway, and the credentials that open them."""

    def __init__(self, url, credentials):
        self.port, self.credentials = int(url.rpartition(":")[2]), credentials

    def send(self, door, given):
        """Send a request with these headers beside its own; return the answer, which is none of a fault of ours."""
        method, path, message = DOORS[door]
        body = b"" if message is None else json.dumps(message).encode()
        own = {b"Host": b"localhost", b"Connection": b"close", b"Content-Length": b"%d" % len(body)}
        own |= {name.encode(): value.encode() for name, value in HEADERS.items()}
        if door == "stateless":
            own |= {b"MCP-Protocol-Version": MODERN.encode(), b"Mcp-Method": b"tools/list"}
        names = {name for name, _ in given}
        own = [(name, value) for name, value in own.items() if name not in names]
        answered = exchange(self.port, head_of(method, path, (*own, *given)), body)
        assert answered.status < 500, (door, given, answered)
        return answered

    def check(self, door, given, answered):
        """Nothing that is hidden, and no part of a credential, stands in an answer.

        But for one: of a request that is no HTTP, aiohttp shows its sender the line that it cannot read.
        """
        if (answered.status, answered.media) == (400, "text/plain"):
            return
        text = answered.body.decode("utf-8", "replace")
        if door not in OPEN:
            require_nothing_hidden(text, (door, given))
        for token in self.credentials.values():
            assert not [part for part in token.decode().split(".") if len(part) > 12 and part in text], (door, given)


def send_all(front, door, count):
    """Send odd headers: without credentials, with good ones, and with such as were good."""
    good = st.sampled_from(list(front.credentials.values()))
    whole = good.map(lambda token: ((b"Authorization", b"Bearer " + token),))
    odd = st.tuples(schemes, good.flatmap(changed)).map(lambda parts: ((b"Authorization", b"".join(parts)),))

    @told(count)
    @given(more=headers, shown=st.just(()) | whole | odd)
    def check(more, shown):
        given = (*((name, value) for name, value in more if not shown or name != b"Authorization"), *shown)
        front.check(door, given, front.send(door, given))

    check()


def send_strange(front, door, count):
    """Send odd headers without any credentials; nobody is let in."""

    @told(count)
    @given(more=headers)
    def check(more):
        answered = front.send(door, tuple(more))
        assert answered.status in REFUSED, (door, more, answered)

    check()


@pytest.fixture
async def front(sim, settings):
    async with identity_provider() as idp:
        quick = {"mcp_wait_seconds": 0.0, "auth_failures_per_minute": 0, "trusted_proxies": ("127.0.0.0/8",)}
        oidc = {"oidc_issuer": idp.issuer, "oidc_audience": "gateway"}
        async with house(sim, settings.model_copy(update=quick | oidc), workers=0) as built:
            eve = await key(built, "eve", "viewer", select=("name=app-*|mail-1",))
            key_of_eve = eve["Authorization"].removeprefix("Bearer ").encode()
            yield Front(built.url, {"key": key_of_eve, "token": idp.token(sub="nobody").encode()})


async def test_an_odd_expectation_is_refused_wherever_it_is_sent(front):
    nowhere = ((b"GET", b"/no/such/route", None), (b"DELETE", b"/vms", None))
    for (method, path, _), odd in itertools.product(
        (*DOORS.values(), *nowhere), (b"\xff", b"tea", b"100-continue,\xe4")
    ):
        head = head_of(method, path, ((b"Host", b"localhost"), (b"Connection", b"close"), (b"Expect", odd)))
        answered = await asyncio.to_thread(exchange, front.port, head)
        assert (answered.status, answered.media) == (417, "application/problem+json"), (path, odd)
        assert json.loads(answered.body)["code"] == "expectation_failed"


async def test_who_waits_to_be_told_to_go_on_is_told(front):
    own = ((b"Host", b"localhost"), (b"Connection", b"close"), (b"Content-Length", b"2"), (b"Expect", b"100-Continue"))
    answered = await asyncio.to_thread(exchange, front.port, head_of(b"POST", b"/tools/list_vms", own), b"{}")
    assert (answered.status, answered.body[:12]) == (100, b"HTTP/1.1 401")


WAYS = pytest.mark.parametrize("way", [send_all, send_strange])
FEW, MANY = 12, 1000


async def every_door(front, sim, way, count):
    for door in DOORS:
        if way is send_all or door not in OPEN:
            sim.reset_counts()
            await asyncio.to_thread(way, front, door, count)
            assert way is send_all or not sim.requests, "for nobody VergeOS is asked nothing"


@WAYS
async def test_no_header_brings_out_a_fault_or_what_is_hidden(front, sim, way):
    await every_door(front, sim, way, FEW)


@pytest.mark.slow
@pytest.mark.timeout(900)
@WAYS
async def test_no_header_of_very_many_brings_out_a_fault_or_what_is_hidden(front, sim, way):
    await every_door(front, sim, way, MANY)
