"""Tokens of an identity provider, good and odd, come out nowhere and go to VergeOS never."""

import asyncio
import itertools
import time

import pytest

from gateway.simulator import Simulator, SimulatorSettings
from tests.conftest import eventually
from tests.identity import OTHER, identity_provider
from tests.journeys.conftest import System
from tests.journeys.test_journey_secrets import command, dumped, echoing, read_all, told, traced
from tests.transports.mcp_fixtures import HEADERS, modern_call

CLAIM = "planted-claim-5a1f"
POLICY = "people: {ann: admin, bob: operator}\nclients: {claude: {kind: agent}}\n"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def tokens_of(idp):
    """Return tokens with a planted claim: those that hold by whom they name, and such as do not."""
    now, planted = int(time.time()), {"email": CLAIM, "jti": CLAIM}
    good = {
        "ann": idp.token(**planted),
        "bob": idp.token(sub="bob", **planted),
        "claude": idp.token(azp="claude", **planted),
    }
    odd = {
        "expired": idp.token(exp=now - 3600, **planted),
        "wrong key": idp.token(OTHER, **planted),
        "wrong issuer": idp.token(iss=f"https://{CLAIM}.example.com", **planted),
        "wrong audience": idp.token(aud=CLAIM, **planted),
        "unknown key": idp.token(OTHER, CLAIM, **planted),
        "no name": idp.token(sub=None, **planted),
    }
    return good, odd


def asking(good, odd):
    """Return requests with every token, where it belongs and where it does not."""
    reads = [
        ("GET", path, None, bearer(token)) for token in (*good.values(), *odd.values()) for path in ("/vms", "/me")
    ]
    misplaced = [("GET", f"/vms?access_token={token}", None, {}) for token in (good["ann"], odd["expired"])]
    called = modern_call("power_off_vm", {"id": "db-1", "wait_timeout": 1, "reason": "a test"})
    return [
        *reads,
        *misplaced,
        ("POST", "/vms/web-1/poweroff?wait=10", {"wait_timeout": 1}, bearer(good["ann"])),
        ("POST", "/vms/app-1/poweron?wait=10", {"reason": "a test"}, bearer(good["claude"])),
        ("POST", "/networks/4/apply?wait=10", {}, bearer(good["ann"])),
        ("GET", "/alarms", None, bearer(good["bob"])),
        ("DELETE", "/snapshots/1", None, bearer(good["bob"])),
        ("POST", "/mcp", called["json"], {**HEADERS, **called["headers"], **bearer(good["bob"])}),
        ("POST", "/mcp", called["json"], {**HEADERS, **called["headers"], **bearer(odd["wrong key"])}),
    ]


@pytest.mark.slow
async def test_no_token_comes_out_anywhere(own_redis, tmp_path):
    heard = []
    (tmp_path / "policy.yaml").write_text(POLICY)
    simulated = Simulator(SimulatorSettings(time_scale=20.0))
    async with identity_provider() as idp, simulated as sim, echoing(sim, heard) as vergeos, traced() as (port, spans):
        system = System(sim, own_redis.gateway_url, tmp_path)
        system.environment |= {
            "VERGEOS_HOST": vergeos,
            "ENGINE_SPEED": "10",
            "LOG_LEVEL": "DEBUG",
            "LOG_READS": "true",
            "OIDC_ISSUER": idp.issuer,
            "OIDC_AUDIENCE": "gateway",
            "POLICY_FILE": str(tmp_path / "policy.yaml"),
            "AUDIT_LOG": str(tmp_path / "audit.log"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        good, odd = tokens_of(idp)
        try:
            await system.gateway()
            await system.worker()
            answers = await told(system, *asking(good, odd))
            answers += await read_all(system, bearer(good["ann"]))
            await eventually(lambda: any("VergeOS" in span for span in spans))
            doctor = await asyncio.to_thread(command, system.environment, "doctor")
            audit = await asyncio.to_thread(command, system.environment, "audit", "show")
        finally:
            await system.stop()
        outputs = {"answers": answers, "doctor": doctor, "audit shown": audit, "traces": "\n".join(spans)}
        outputs |= {"redis": (await dumped(own_redis.url)).decode(errors="replace"), "VergeOS": "\n".join(heard)}
    outputs |= {name: (tmp_path / name).read_text() for name in ("processes.log", "audit.log")}
    assert all(outputs.values()), {name: len(text) for name, text in outputs.items()}
    assert all(f'"by":"{who}"' in outputs["audit.log"] for who in ("ann", "bob", "ann/claude"))
    assert sim.actions, "nothing was done at all"
    tokens = (*good.values(), *odd.values())
    secrets = {CLAIM, *tokens, *itertools.chain(*(token.split(".")[1:] for token in tokens))}
    assert [(name, secret) for name, text in outputs.items() for secret in secrets if secret in text] == []
