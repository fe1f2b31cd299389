"""`keys` and `policy` on the command line."""

import asyncio
import subprocess
import sys

import pytest

POLICY = "people:\n  ann: {roles: operator, on: {name: 'web-*'}}\n"


@pytest.fixture
def run(tmp_path, sim, redis_url):
    (tmp_path / "policy.yaml").write_text(POLICY)
    environment = {
        "VERGEOS_HOST": sim.url,
        "VERGEOS_API_KEY": "demo",
        "REDIS_URL": redis_url,
        "POLICY_FILE": str(tmp_path / "policy.yaml"),
        "LOG_LEVEL": "ERROR",
    }

    async def command(*arguments):
        words = [sys.executable, "-m", "gateway", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, words, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return command


@pytest.mark.slow
async def test_a_key_is_made_listed_and_revoked(run):
    status, told = await run("keys", "create", "--name", "k", "--owner", "ann", "--role", "viewer", "--expires", "90d")
    assert (status, "vgk_" in told, "this once" in told) == (0, True, True)
    status, told = await run("keys", "list")
    assert "k (" in told
    assert "person of ann" in told
    assert "vgk_" not in told
    assert (await run("keys", "revoke", "k"))[0] == 0
    assert (await run("keys", "revoke", "k"))[0] == 1


async def test_a_right_is_explained_by_its_rule(run):
    status, told = await run("policy", "explain", "--as", "ann", "power_off_vm", "web-2")
    assert status == 0
    assert "power_off_vm on vm web-2 (id 30), as ann (person):" in told
    assert "operate  allowed: role operator" in told
    assert "force    refused: no rule gives ann 'force' here" in told
    _, told = await run("policy", "explain", "--as", "ann", "power_off_vm", "cache-100")
    assert "operate  refused" in told
    _, told = await run("policy", "explain", "--as", "ann", "power_off_vm")
    assert "operate  depends on the object" in told


async def test_a_policy_is_checked(run, tmp_path):
    assert (await run("policy", "check", str(tmp_path / "policy.yaml")))[0] == 0
    (tmp_path / "policy.yaml").write_text("people:\n  ann: nobody\n")
    status, told = await run("policy", "check", str(tmp_path / "policy.yaml"))
    assert status == 1
    assert "line 2" in told
