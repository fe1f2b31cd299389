"""`keys` and `policy` on the command line."""

import asyncio
import json
import subprocess
import sys

import pytest

POLICY = "people:\n  ann: {roles: operator, on: {name: 'web-*'}}\n"
ONE_AFTER_THE_OTHER = """
import contextlib, json, sys, tempfile
from gateway.__main__ import main

told = []
for words in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as said:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(words)
        said.seek(0)
        told.append((status, said.read()))
print(json.dumps(told))
"""


@pytest.fixture
def run(tmp_path, sim, redis_url):
    """Runs commands in one process, since each takes a second to start; returns status and words of each."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    environment = {
        "VERGEOS_HOST": sim.url,
        "VERGEOS_API_KEY": "demo",
        "REDIS_URL": redis_url,
        "POLICY_FILE": str(tmp_path / "policy.yaml"),
        "LOG_LEVEL": "ERROR",
    }

    async def commands(*lines):
        words = [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps([line.split() for line in lines])]
        done = await asyncio.to_thread(
            subprocess.run, words, env=environment, capture_output=True, text=True, timeout=50, check=True
        )
        return json.loads(done.stdout)

    return commands


async def test_a_key_is_made_listed_and_revoked(run):
    create = "keys create --name k --owner ann --role viewer --expires 90d"
    agent = "keys create --name bot --kind agent --owner ann --role operator --cidr 192.0.2.7/24 --select"
    bound, wrong = f"{agent} name=web-*,tag=prod", f"{agent} colour=red"
    revoke = "keys revoke k"
    created, _, refused, listed, revoked, again = await run(create, bound, wrong, "keys list", revoke, revoke)
    assert refused[0] == 1
    (line,) = [line for line in listed[1].splitlines() if line.startswith("bot (")]
    assert all(part in line for part in ("agent of ann", "name=web-*,tag=prod", "192.0.2.0/24", "never expires"))
    assert (created[0], "vgk_" in created[1], "this once" in created[1]) == (0, True, True)
    assert "k (" in listed[1]
    assert "person of ann" in listed[1]
    assert "vgk_" not in listed[1]
    assert (revoked[0], again[0]) == (0, 1)


async def test_a_right_is_explained_by_its_rule(run):
    asked = "policy explain --as ann power_off_vm"
    (status, told), (_, other), (_, on_none) = await run(f"{asked} web-2", f"{asked} cache-100", asked)
    assert status == 0
    assert "power_off_vm on vm web-2 (id 30), as ann (person):" in told
    assert "operate  allowed: role operator" in told
    assert "force    refused: no rule gives ann 'force' here" in told
    assert "operate  refused" in other
    assert "operate  depends on the object" in on_none


async def test_a_policy_is_checked(run, tmp_path):
    (tmp_path / "wrong.yaml").write_text("people:\n  ann: nobody\n")
    right, (status, told) = await run("policy check policy.yaml", "policy check wrong.yaml")
    assert right[0] == 0
    assert status == 1
    assert "line 2" in told
