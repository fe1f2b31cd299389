"""The bridge and what lies between it and the gateway: an own CA, proxies, silence; and what it takes to start."""

import asyncio
import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import orjson
import psutil
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_journey_bridge import asked, bridge, environment

from gateway.transports.bridge import Bridge, Remote
from tests.conftest import PATIENCE_SECONDS, free_port

START_SECONDS = 0.5
HEAVY = {"mcp", "mcp_types", "pydantic", "redis", "arq", "structlog", "cryptography", "yaml", "prometheus_client"}


@dataclass(frozen=True)
class Authority:
    """A CA of one's own: its certificate's file, and a server's TLS with a certificate that it signed."""

    file: str
    tls: ssl.SSLContext


def signed(subject, issuer, public, key, *extensions):
    now = datetime.datetime.now(datetime.UTC)
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    building = x509.CertificateBuilder(named[1], named[0], public, x509.random_serial_number())
    building = building.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=2)
    )
    for extension in extensions:
        building = building.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return building.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    of_ca = (x509.BasicConstraints(ca=True, path_length=0), identifier)
    (folder / "ca.pem").write_bytes(signed("own ca", "own ca", ca_key.public_key(), ca_key, *of_ca))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = signed("gateway", "own ca", key.public_key(), ca_key, here, issuer)
    (folder / "leaf.pem").write_bytes(leaf + key.private_bytes(*kinds))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "leaf.pem")
    return Authority(str(folder / "ca.pem"), tls)


async def answers(request):
    message = await request.json()
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": {"heard": True}})


@asynccontextmanager
async def gateway(handler=answers, tls=None):
    """Serve /mcp by a handler; yield its URL."""
    app = web.Application()
    app.router.add_post("/mcp", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def proxy(status="200 OK"):
    """Serve a forward proxy that tunnels or refuses; yield its URL and the targets that it was asked for."""
    targets = []

    async def tunnel(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        targets.append(head.split()[1])
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200"):
            host, port = targets[-1].split(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            await asyncio.wait(
                {asyncio.create_task(copied(reader, far_writer)), asyncio.create_task(copied(far_reader, writer))}
            )
        writer.close()

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", targets


async def copied(reader, writer):
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
    writer.close()


async def answer_over(url, **more):
    async with bridge(url, **more) as talk:
        talk.say(asked("ping"))
        return await talk.hear()


async def test_an_own_ca_is_trusted_where_it_is_named_and_named_where_it_is_not(authority):
    async with gateway(tls=authority.tls) as url:
        assert (await answer_over(url, VERGEOS_MCP_CA_BUNDLE=authority.file))["result"] == {"heard": True}
        refused = await answer_over(url)
    assert "VERGEOS_MCP_CA_BUNDLE" in refused["error"]["message"]


async def test_a_proxy_of_the_environment_is_used_but_not_for_what_it_excepts(authority):
    own = {"VERGEOS_MCP_CA_BUNDLE": authority.file}
    async with gateway(tls=authority.tls) as url, proxy() as (through, targets):
        assert (await answer_over(url, HTTPS_PROXY=through, **own))["result"] == {"heard": True}
        assert targets == [url.removeprefix("https://")]
        nowhere = f"http://127.0.0.1:{free_port()}"
        assert "result" in await answer_over(url, HTTPS_PROXY=nowhere, NO_PROXY="127.0.0.1", **own)


async def test_a_proxy_that_refuses_is_named_as_the_one_who_did(authority):
    async with gateway(tls=authority.tls) as url, proxy("407 Who are you") as (through, _):
        refused = await answer_over(url, HTTPS_PROXY=through, VERGEOS_MCP_CA_BUNDLE=authority.file)
    assert "HTTPS_PROXY names answered 407; nothing was sent" in refused["error"]["message"]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_network_that_goes_silent_ends_the_call_with_an_error_that_says_what_to_do(begun):
    async def says_nothing(request):
        await request.read()
        if begun:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
        await asyncio.Event().wait()

    said = []

    async def write(line):
        said.append(orjson.loads(line))

    async def lines():
        yield orjson.dumps(asked("tools/call", {"name": "power_off_vm", "arguments": {"id": "web-1"}}, "x"))

    silence = aiohttp.ClientTimeout(total=None, sock_read=0.1)  # a minute in earnest
    async with gateway(says_nothing) as url, aiohttp.ClientSession(timeout=silence) as http:
        await Bridge(Remote.of({"VERGEOS_MCP_URL": url}), http, write, lambda: None).run(lines())
    [answer] = said
    assert (answer["id"], answer["error"]["data"]) == ("x", {"code": "gateway_lost"})
    assert "the same call again" in answer["error"]["message"]


def test_the_bridge_imports_nothing_that_is_slow_to_import():
    listing = "import sys, gateway.__main__, gateway.transports.bridge; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True, env=os.environ)
    assert not HEAVY & set(done.stdout.split())


async def test_the_bridge_needs_less_than_half_a_second_until_its_first_answer():
    """Counted as the CPU it takes, for the machine may be busy; on an idle one there is little else."""
    async with gateway() as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "bridge"),
            env=environment(url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process.stdin.write(orjson.dumps(asked("ping")) + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.stdout.readline()
        spent = psutil.Process(process.pid).cpu_times()
        process.stdin.close()
        await process.wait()
    assert spent.user + spent.system < START_SECONDS
