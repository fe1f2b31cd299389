"""Marked secrets are planted everywhere; no output, and nothing in Redis but what is sealed, holds one."""

import asyncio
import re
import subprocess
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings
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
    paths = ["/health", "/readyz", "/metrics", "/tools", "/openapi.json", "/jobs", "/overview", "/freeze", *details]
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
    secrets = [*SECRETS.values(), key.split("_", 2)[2]]  # what stands before it is the key's public id
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
    answers += await read_all(system, shown)
    await eventually(lambda: any("VergeOS" in span for span in spans))
    return {"answers": answers, "doctor": doctor, "audit shown": audit, "traces": "\n".join(spans)}, key


def test_every_secret_of_the_settings_is_typed_as_one():

    untyped = [
        name
        for name, field in Settings.model_fields.items()
        if any(word in name for word in ("pass", "token", "secret", "api_key", "redis_url"))
        and "SecretStr" not in str(field.annotation)
    ]
    assert untyped == []
