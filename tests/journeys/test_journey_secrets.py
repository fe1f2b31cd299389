"""Marked secrets are planted everywhere; no output, and nothing in Redis but what is sealed, holds one."""

import asyncio
import os
import re
import subprocess
import sys
from base64 import b64encode
from contextlib import asynccontextmanager
from itertools import cycle

import aiohttp
import pytest
from aiohttp import web
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings
from psutil import Process
from redis.asyncio import Redis

from gateway.settings import Settings
from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import eventually
from tests.journeys.conftest import System, free_port

SECRETS = {
    name: f"planted-{name}-5a1f"
    for name in ("api-key", "token", "password", "redis", "sealing", "enrolled", "bearer", "header", "argument")
}
CREDENTIALS = {
    "key": {"VERGEOS_API_KEY": SECRETS["api-key"]},
    "token": {"VERGEOS_TOKEN": SECRETS["token"]},
    "password": {"VERGEOS_USER": "admin", "VERGEOS_PASS": SECRETS["password"]},
}
HEADERS = {"X-Api-Key": SECRETS["header"], "Cookie": f"session={SECRETS['header']}"}
IN_PLAIN = {b"session"}
"""The kind of key that holds VergeOS' session token: all processes must show the same one."""


@asynccontextmanager
async def echoing(sim, heard=None):
    """Serve what VergeOS serves, but where a path says so an error that repeats all that was sent.

    `heard` gets all that comes.
    """

    async def relay(request):
        body = await request.read()
        if heard is not None:
            heard.append(f"{request.path_qs} {dict(request.headers)} {body.decode()}")
        if any(path in request.path for path in ("vnet_actions", "alarms")):
            told = f"refused: {dict(request.headers)} {body.decode()}"
            return web.json_response({"err": told}, status=422 if request.method == "POST" else 500)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as http,
            http.request(request.method, f"{sim.url}{request.path_qs}", data=body, headers=request.headers) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", relay)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@asynccontextmanager
async def traced():
    """Receive traces; yield the port, and the spans in words as they come."""
    port, spans = free_port(), []
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap:

        async def collect():
            async for span in tap.stream_traces():
                spans.append(str(span))  # noqa: PERF401  it never ends

        collecting = asyncio.create_task(collect())
        yield port, spans
        collecting.cancel()


async def dumped(url):
    """Return every key of Redis with all that it holds, but for what must stand there in plain."""
    parts = []
    async with Redis.from_url(url) as redis:
        async for key in redis.scan_iter(count=1000):
            if key.split(b":")[2] in IN_PLAIN:
                continue
            parts += [key, await redis.dump(key) or b""]
            kind = await redis.type(key)
            if kind == b"hash":  # its dump may be packed
                parts += [part for pair in (await redis.hgetall(key)).items() for part in pair]
            if kind == b"stream":
                parts += [str(await redis.xrange(key)).encode()]
            if kind == b"list":
                parts += await redis.lrange(key, 0, -1)
            if kind == b"string":
                parts += [await redis.get(key)]
    return b"\n".join(parts)


async def told(system, *requests):
    """Send requests; return all that was answered, headers too."""
    parts = []
    async with aiohttp.ClientSession() as http:
        for method, path, body, headers in requests:
            async with http.request(method, system.url + path, json=body, headers={**HEADERS, **headers}) as answer:
                parts.append(f"{answer.status} {dict(answer.headers)} {await answer.text()}")
    return "\n".join(parts)


def provoking():
    """Return requests with secrets where none belong, and such as make VergeOS repeat its own."""
    bearer = {"Authorization": f"Bearer {SECRETS['bearer']}"}
    argument = SECRETS["argument"]
    return [
        ("GET", "/vms", None, {}),
        ("GET", "/vms", None, bearer),
        ("GET", f"/vms?token={argument}", None, {}),
        ("GET", "/alarms", None, {}),
        ("GET", "/overview", None, {}),
        ("POST", "/tools/power_off_vm", {"id": "web-1", "password": argument}, {}),
        ("POST", "/tools/enroll_key", {"api_key": [argument]}, {}),
        ("PUT", "/me/vergeos-key", {"api_key": argument, "user": "admin"}, {}),
        ("PUT", "/me/vergeos-key", {"api_key": SECRETS["enrolled"], "user": "ann"}, {}),
        ("POST", "/networks/4/apply?wait=10", {}, {}),
        ("POST", "/vms/web-1/poweroff?wait=10", {}, {}),
        ("POST", "/message", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": enrolment(argument)}, {}),
        ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": enrolment(argument)}, bearer),
    ]


def enrolment(secret):
    return {"name": "enroll_key", "arguments": {"api_key": secret}}


async def read_all(system, shown):
    """Return everything that a caller can read afterwards."""
    jobs = (await system.call("GET", "/jobs?limit=100", headers=shown))[1]
    details = [f"/jobs/{job['id']}?details=true" for job in jobs]
    paths = ["/health", "/readyz", "/metrics", "/tools", "/openapi.json", "/docs", "/jobs", "/overview", "/freeze"]
    paths += ["/me", "/alarms", *details]
    return await told(system, *(("GET", path, None, shown) for path in paths))


def command(environment, *words):
    """Return what a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], env=environment, capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shown", CREDENTIALS)
async def test_no_planted_secret_comes_out_anywhere(own_redis, tmp_path, shown):
    async with Redis.from_url(own_redis.url) as redis:
        await redis.config_set("requirepass", SECRETS["redis"])
    url = own_redis.url.replace("redis://", f"redis://:{SECRETS['redis']}@")
    simulated = SimulatorSettings(time_scale=20.0, api_key=SECRETS["api-key"], password=SECRETS["password"])
    async with Simulator(simulated) as sim, echoing(sim) as vergeos, traced() as (port, spans):
        sim.add_account("svc", "pass", SECRETS["token"])
        sim.add_account("ann", "pass", SECRETS["enrolled"])
        system = System(sim, url, tmp_path)
        system.environment.pop("VERGEOS_API_KEY")
        system.environment |= {
            **CREDENTIALS[shown],
            "VERGEOS_HOST": vergeos,
            "ENGINE_SPEED": "10",
            "LOG_LEVEL": "DEBUG",
            "LOG_READS": "true",
            "WRITE_AS": "caller",
            "GATEWAY_SECRET_KEY": SECRETS["sealing"],
            "AUDIT_LOG": str(tmp_path / "audit.log"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        try:
            outputs, key = await outputs_of(system, spans)
        finally:
            await system.stop()
        outputs["redis"] = (await dumped(url)).decode(errors="replace")
    outputs["log"] = (tmp_path / "processes.log").read_text()
    outputs["audit"] = (tmp_path / "audit.log").read_text()
    assert sim.actions, "nothing was done at all"
    assert all(outputs.values()), {name: len(text) for name, text in outputs.items()}
    assert "***" in outputs["answers"], "VergeOS repeated what it was sent, and that was cut out"
    sessions = [token for account in sim.world.accounts.accounts.values() for token in account.sessions]
    assert bool(sessions) is (shown == "password")
    secrets = [*SECRETS.values(), key.split("_", 2)[2], *sessions]  # before it: its public id
    secrets.append(b64encode(f"admin:{SECRETS['password']}".encode()).decode())
    found = [(name, secret) for name, text in outputs.items() for secret in secrets if secret in text]
    assert found == []


async def outputs_of(system, spans):
    """Run the whole of it, at last with keys of the gateway's own; return what came out, by where."""
    await system.gateway()
    await system.worker()
    answers = await told(system, *provoking())
    made = await asyncio.to_thread(
        command, system.environment, *["keys", "create", "--name", "laptop", "--owner", "ann", "--role", "admin"]
    )
    key = re.search(r"vgk_\S+", made)[0]
    shown = {"Authorization": f"Bearer {key}"}
    asking = [("GET", "/keys", None, shown), ("GET", "/audit", None, shown), ("GET", "/vms", None, shown)]
    wrong = {"Authorization": f"Bearer {key[:-3]}abc"}
    answers += await told(system, *asking, ("GET", f"/vms?token={key}", None, {}), ("GET", "/vms", None, wrong))
    doctor = await asyncio.to_thread(command, system.environment, "doctor")
    audit = await asyncio.to_thread(command, system.environment, "audit", "show")
    keys = await asyncio.to_thread(command, system.environment, "keys", "list")
    remote = {"VERGEOS_MCP_URL": system.url, "VERGEOS_MCP_TOKEN": key}
    jobs = await asyncio.to_thread(command, system.environment | remote, "jobs", "list")
    answers += await read_all(system, shown)
    await eventually(lambda: any("VergeOS" in span for span in spans))
    shown_by = {"doctor": doctor, "audit shown": audit, "keys": keys, "jobs": jobs}
    titles = "\n".join(str(Process(running.popen.pid).cmdline()) for running in system.processes)
    return {"answers": answers, **shown_by, "ps": titles, "traces": "\n".join(spans)}, key


P = "planted-5a1f"
WRONG = {  # each with what cannot work, so that the process tells why and ends
    "a password with a slash": {"REDIS_URL": f"redis://:{P}/{P}@127.0.0.1:1/0", "VERGEOS_API_KEY": P},
    "a password as a port": {"REDIS_URL": f"redis://127.0.0.1:{P}/0", "GATEWAY_SECRET_KEY": P},
    "no address": {"REDIS_URL": f"{P}", "VERGEOS_PASS": P, "VERGEOS_USER": "admin"},
    "no Redis": {"REDIS_URL": f"redis://:{P}@127.0.0.1:1/0", "VERGEOS_TOKEN": P},
    "a user in the host": {"VERGEOS_HOST": f"https://admin:{P}@127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1/0"},
    "a key of two lines": {"VERGEOS_API_KEY": f"{P}\n{P}", "REDIS_URL": "redis://127.0.0.1:1/0"},
    "another setting": {"PORT": "many", "VERGEOS_API_KEY": P, "REDIS_URL": f"redis://:{P}@127.0.0.1:1/0"},
}
COMMANDS = (("doctor",), ("keys", "list"), ("worker",), ("audit", "show"))
REMOTE = {
    "a user in the address": {"VERGEOS_MCP_URL": f"https://admin:{P}@127.0.0.1:1", "VERGEOS_MCP_TOKEN": P},
    "a token of two lines": {"VERGEOS_MCP_URL": "http://127.0.0.1:1", "VERGEOS_MCP_TOKEN": f"{P}\n{P}"},
}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_what_cannot_start_tells_why_and_no_secret(tmp_path):
    base = {name: value for name, value in os.environ.items() if not name.startswith("VERGEOS_")}
    base |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "VERGEOS_HOST": "127.0.0.1:1"}
    starts = [({**base, **more}, words) for more, words in zip(WRONG.values(), cycle(COMMANDS), strict=False)]
    starts += [({**base, **more}, ("jobs", "list")) for more in REMOTE.values()]
    starts.append(({**base, **REMOTE["a user in the address"]}, ("bridge",)))
    told = await asyncio.gather(*(asyncio.to_thread(ended, *start) for start in starts))
    assert [text for text in told if P in text] == []
    assert [text for text in told if "Traceback" in text] == []
    assert all(text for text in told)


def ended(environment, words):
    """Return what a command prints that can do nothing; one that waits for Redis is stopped."""
    start = [sys.executable, "-m", "gateway", *words]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(start, env=environment, text=True, **pipes) as process:
        first = process.stdout.readline()
        process.terminate()
        return first + process.stdout.read()


def test_every_secret_of_the_settings_is_typed_as_one():
    untyped = [
        name
        for name, field in Settings.model_fields.items()
        if any(word in name for word in ("pass", "token", "secret", "api_key", "redis_url"))
        and "SecretStr" not in str(field.annotation)
    ]
    assert untyped == []
