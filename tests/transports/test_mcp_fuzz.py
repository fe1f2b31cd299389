"""Whatever is sent to the doors of MCP, and to one of REST, is answered in time, and never as a fault of ours."""

import asyncio
import json
import string
from types import SimpleNamespace
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp_fixtures import ENVELOPE, HEADERS, MODERN, asked, begin
from raw_http import exchange, head_of

from gateway.tools import CATALOG
from gateway.transports.mcp_wire import MAX_BODY_BYTES
from tests.journeys.inprocess import house

# a gateway in another thread draws random numbers for its pauses, which hypothesis takes for the strategies' own
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

METHODS = (
    *("initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "resources/subscribe"),
    *("resources/templates/list", "prompts/list", "prompts/get", "completion/complete", "server/discover"),
    *("subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel", "notifications/cancelled"),
    *("notifications/initialized", "logging/setLevel", "resources/unsubscribe", "no/such/method", ""),
)
NAMES = tuple(tool.name for tool in CATALOG)
OURS = -32603  # an internal error

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)
arguments = st.dictionaries(
    st.sampled_from(("id", "limit", "offset", "name", "wait_timeout", "dry_run", "max_age", "after")) | st.text(),
    anything,
)
notifications = st.fixed_dictionaries(
    {}, optional={"resourceSubscriptions": anything, "taskIds": anything, "toolsListChanged": anything}
)
metas = st.just(ENVELOPE) | st.dictionaries(st.sampled_from((*ENVELOPE, "progressToken")), anything) | anything
params = st.fixed_dictionaries(
    {},
    optional={
        "_meta": metas,
        "name": st.sampled_from(NAMES) | anything,
        "arguments": arguments | anything,
        "uri": st.sampled_from(("vergeos://vms/list", "vergeos://vms/web-1", "vergeos://vms/{id}")) | anything,
        "ref": anything | st.just({"type": "ref/prompt", "name": "diagnose_vm"}),
        "argument": anything | st.just({"name": "vm", "value": "w"}),
        "taskId": anything,
        "inputResponses": anything,
        "requestId": anything,
        "notifications": notifications | anything,
        "cursor": anything,
        "protocolVersion": st.sampled_from(("2025-06-18", MODERN)) | anything,
        "capabilities": anything,
        "clientInfo": anything | st.just({"name": "fuzz", "version": "1"}),
    },
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS)},
    optional={"id": st.integers(0, 9) | st.text(max_size=5) | anything, "params": params | anything},
) | st.dictionaries(st.sampled_from(("jsonrpc", "id", "method", "params", "result", "error")), anything)
broken = st.binary(max_size=200) | st.builds(
    lambda message, at: json.dumps(message).encode()[:at], messages, st.integers(0, 200)
)
deep = st.builds(lambda levels, opens: opens * levels, st.integers(1, 50_000), st.sampled_from((b"[", b'{"a":')))
giant = st.builds(lambda more: b" " * (MAX_BODY_BYTES + more), st.integers(-5, 5))
bodies = messages.map(lambda message: json.dumps(message).encode()) | broken | deep | giant

VISIBLE = (string.digits + string.ascii_letters + string.punctuation + " \t\xe4").encode("latin-1")
values = st.lists(st.sampled_from(VISIBLE), max_size=30).map(bytes)
KNOWN = (
    *(b"Accept", b"Content-Type", b"Content-Encoding", b"MCP-Protocol-Version", b"Mcp-Method", b"Mcp-Name"),
    *(b"Mcp-Session-Id", b"Mcp-Param-Site", b"Origin", b"Last-Event-ID", b"X-Tools", b"Traceparent", b"Expect"),
    *(b"Transfer-Encoding", b"Content-Length", b"Authorization", b"User-Agent", b"Upgrade"),
)
headers = st.lists(st.tuples(st.sampled_from(KNOWN), values), max_size=5)

PLAIN = tuple((name.encode(), value.encode()) for name, value in HEADERS.items())


class Doors:
    """The doors of a gateway, each with the headers that lead through it."""

    def __init__(self, url, session, address):
        self.port = int(url.rpartition(":")[2])
        kept = tuple((name.encode(), value.encode()) for name, value in session.items())
        self.doors = {
            "stateless": (b"/mcp", (*PLAIN, (b"MCP-Protocol-Version", MODERN.encode()))),
            "session": (b"/mcp", (*PLAIN, *kept)),
            "no session": (b"/mcp", PLAIN),
            "plain": (b"/message", PLAIN),
            "old": (address.encode(), PLAIN),
            "rest": (b"/tools/list_vms", PLAIN),
        }

    def send(self, door, body, more=(), method=b"POST"):
        """Send a body through a door; return the answer, which is none of a gateway that failed."""
        path, own = self.doors[door]
        lengths = (
            () if any(name == b"Transfer-Encoding" for name, _ in more) else ((b"Content-Length", b"%d" % len(body)),)
        )
        own = tuple(pair for pair in own if pair[0] not in {name for name, _ in more})
        closing = ((b"Host", b"localhost"), (b"Connection", b"close"))
        answered = exchange(self.port, head_of(method, path, (*closing, *lengths, *own, *more)), body)
        assert 200 <= answered.status < 500, (answered, more, body)
        message = answered.message
        for reply in message if isinstance(message, list) else [message]:
            assert ((reply or {}).get("error") or {}).get("code") != OURS, answered
            assert b"internal error" not in answered.body, answered
        return answered

    def mirrored(self, message):
        """Return the headers that say what a stateless message says, so that it gets past that check."""
        parts = message.get("params") if isinstance(message.get("params"), dict) else {}
        named = next((parts[key] for key in ("name", "uri", "taskId") if isinstance(parts.get(key), str)), None)
        said = [(b"Mcp-Method", str(message.get("method", "")))] + ([(b"Mcp-Name", named)] if named else [])
        return tuple((name, value.encode()) for name, value in said if value.isascii() and value.isprintable())


def told(count):
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def send_messages(doors, door, count):
    @told(count)
    @given(message=messages)
    def check(message):
        more = doors.mirrored(message) if door == "stateless" else ()
        doors.send(door, json.dumps(message).encode(), more)

    check()


def send_bodies(doors, door, count):
    @told(count)
    @given(body=bodies)
    def check(body):
        doors.send(door, body)

    check()


def send_headers(doors, door, count):
    @told(count)
    @given(more=headers, message=messages, method=st.sampled_from((b"POST", b"POST", b"GET", b"DELETE", b"PUT")))
    def check(more, message, method):
        if door not in {"session", "old"} or method == b"POST":  # the others would open a stream, or end the session
            doors.send(door, json.dumps(message).encode(), tuple(more), method)

    check()


@pytest.fixture
async def doors(sim, settings):
    quick = settings.model_copy(update={"mcp_wait_seconds": 0.0})
    async with house(sim, quick, workers=1) as built, aiohttp.ClientSession(headers=HEADERS) as http:
        session = await begin(http, SimpleNamespace(mcp=f"{built.url}/mcp"))
        async with http.get(f"{built.url}/sse") as stream:
            await stream.content.readline()
            address = (await stream.content.readline()).removeprefix(b"data: ").strip().decode()
            yield Doors(built.url, session, quote(address, safe="/?=&%"))
            last = asked("tools/list", id="last")
            async with http.post(f"{built.url}/mcp", json=last, headers=session) as reply:
                assert len((await reply.json())["result"]["tools"]) == len(NAMES)  # the session has lived through it


WAYS = pytest.mark.parametrize("way", [send_messages, send_bodies, send_headers])
FEW, MANY = 15, 1500


@WAYS
async def test_nothing_that_is_sent_is_answered_as_our_fault_or_not_at_all(doors, way):
    for door in doors.doors:
        await asyncio.to_thread(way, doors, door, FEW)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("door", ["stateless", "session", "no session", "plain", "old", "rest"])
@WAYS
async def test_nothing_of_very_much_that_is_sent_is_answered_as_our_fault(doors, way, door):
    await asyncio.to_thread(way, doors, door, MANY)
