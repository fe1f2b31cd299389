"""Two gateways on one Redis behind a real nginx that gives each request to the next one: no affinity, no error."""

import asyncio
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager

import aiohttp
import mcp_types as t
import pytest
from mcp import Client
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

from tests import nginx
from tests.conftest import eventually
from tests.journeys.conftest import START_SECONDS, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),  # methods of the handshake revisions
]
UNSAID = {"wait_timeout": 1}


class Replicas:
    """Two gateways and a worker behind the proxy at `url`."""

    def __init__(self, system, url, ports):
        self.system, self.url, self.ports = system, url, ports
        self.gateways = {}

    async def start(self, port):
        self.gateways[port] = self.system.start("serve", PORT=str(port))
        await eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), START_SECONDS)

    async def calls_served(self, port, tool):
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if f'tool="{tool}"' in line and "calls_total" in line)


async def answers(url):
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


@pytest.fixture
async def replicas(system, tmp_path):
    ports, port = [free_port(), free_port()], free_port()
    built = Replicas(system, f"http://127.0.0.1:{port}", ports)
    for replica in ports:
        await built.start(replica)
    await system.worker()
    command = nginx.command(tmp_path, port, [f"127.0.0.1:{replica}" for replica in ports])
    proxy = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: ASYNC220  it starts at once
    try:
        await eventually(lambda: answers(f"{built.url}/livez"))
        yield built
    finally:
        proxy.terminate()
        proxy.wait(10)


class Person:
    """Says yes to whatever is asked."""

    def __init__(self):
        self.asked = []

    async def __call__(self, ctx, params):
        self.asked.append(params.message)
        return t.ElicitResult(action="accept", content={"answer": True})


@asynccontextmanager
async def old_client(url, person, hear):
    async with (
        sse_client(f"{url}/sse") as (read, write),
        ClientSession(read, write, elicitation_callback=person, message_handler=hear) as client,
    ):
        await client.initialize()
        yield client


def client_of(face, url, person=None, hear=None):
    if face == "sse":
        return old_client(url, person, hear)
    return Client(f"{url}/mcp", mode=face, elicitation_callback=person, message_handler=hear)


FACES = pytest.mark.parametrize("face", ["auto", "legacy", "sse"])


@FACES
async def test_a_whole_conversation_reaches_both_replicas(replicas, face):
    vm = replicas.system.sim.vm("web-1").ignore_acpi()
    person = Person()
    async with client_of(face, replicas.url, person) as client:
        for _ in range(10):
            assert (await client.call_tool("list_vms", {"limit": 1})).structured_content["total"] == 120
        done = (await client.call_tool("power_off_vm", UNSAID | {"id": "web-1"})).structured_content
        assert (done["result"]["forced"], person.asked) == (True, ["web-1 still runs after 1 s. Force it off?"])
        for _ in range(4):
            seen = await client.call_tool("get_job", {"id": done["id"]})
            assert seen.structured_content["state"] == "completed"
    assert vm.power_actions() == ["poweroff", "kill"]
    for port in replicas.ports:
        if face != "sse":  # there one replica does all the work, whichever takes the messages
            assert await replicas.calls_served(port, "list_vms") > 0


@pytest.mark.parametrize("face", ["legacy", "sse"])
async def test_what_is_followed_is_told_wherever_the_stream_is(replicas, face):
    heard = []

    async def hear(message):
        if getattr(message, "method", "") == "notifications/resources/updated":
            heard.append(str(message.params.uri))

    uris = ["vergeos://vms/web-1", "vergeos://vms/list"]
    async with client_of(face, replicas.url, hear=hear) as client:
        for uri in uris:
            await client.subscribe_resource(uri)
        await client.call_tool("power_off_vm", {"id": "web-1", "wait_timeout": 60})
        await eventually(lambda: set(uris) <= set(heard))


@pytest.mark.parametrize("face", ["auto", "legacy"])
async def test_replicas_are_replaced_one_by_one_under_a_client_that_goes_on(replicas, face):
    async with client_of(face, replicas.url) as client:
        asking, answered = True, 0

        async def ask():
            nonlocal answered
            while asking:
                assert (await client.call_tool("list_vms", {"limit": 1})).structured_content["total"] == 120
                answered += 1

        talking = asyncio.create_task(ask())
        for port in replicas.ports:
            before = answered
            await eventually(lambda seen=before: answered > seen + 3 or talking.done())
            replicas.gateways[port].signal(signal.SIGTERM)
            await replicas.gateways[port].ended()
            await replicas.start(port)
        before = answered
        await eventually(lambda: answered > before + 3 or talking.done())
        asking = False
        await talking
