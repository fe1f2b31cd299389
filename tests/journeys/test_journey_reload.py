"""The policy is read again while real processes serve: on SIGHUP and when its file changes; a wrong one is refused."""

import json
import signal
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.journeys.streams import LONG, all_open

pytestmark = pytest.mark.slow

WEB = 'roles:\n  web:\n    allow:\n      - {permissions: [read, operate], on: {name: "web-*"}}\n'
DB = WEB.replace("web-*", "db-*")
REFUSED = "the policy file is wrong; the old policy goes on"
WRONG = [
    (WEB.replace("read,", "raed,"), 4, "permission 'raed' is not one of read"),
    (f"{WEB}people:\n  ann: wbe\n", 6, "role 'wbe' is not one of"),
    (f"{WEB}people: [", 5, "expected the node content"),
    ("", 1, "is empty"),
]


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(WEB)
    return path


def said(system):
    """Return all that the processes have written."""
    return Path(system.log.name).read_text()


def logged(system):
    """Return the lines of all processes' logs so far."""
    return [json.loads(line) for line in said(system).splitlines() if line.startswith("{") and line.endswith("}")]


def refusals(system, told):
    """Return what the logs say of policies that are wrong in this way."""
    found = [entry["detail"] for entry in logged(system) if entry.get("event") == REFUSED]
    return [detail for detail in found if told in detail]


async def status(system, who, path="/vms/web-1"):
    return (await system.call("GET", path, headers=who))[0]


async def passes(system, who, expected):
    return await status(system, who) == expected


async def test_on_sighup_a_wrong_policy_is_refused_by_its_line_and_a_right_one_obeyed(system, policy):
    gateway = await system.gateway(POLICY_FILE=str(policy))
    root = await system.key("root", "root", role=["admin"])
    ann = await system.key("ann", "ann", root, role=["web"])
    for text, line, told in WRONG:
        policy.write_text(text)
        gateway.signal(signal.SIGHUP)  # nobody calls meanwhile, which would have the file looked at as well
        (detail,) = await eventually(lambda wrong=told: refusals(system, wrong))
        assert f"policy.yaml, line {line}: {told}" in detail
        assert (await status(system, ann), await status(system, ann, "/vms/db-1")) == (200, 404)
    policy.write_text(DB)
    gateway.signal(signal.SIGHUP)
    await eventually(lambda: [entry for entry in logged(system) if entry.get("event") == "policy read"])
    assert (await status(system, ann), await status(system, ann, "/vms/db-1")) == (404, 200)
    assert gateway.alive


async def test_a_changed_file_counts_for_calls_streams_and_queued_jobs_and_a_wrong_one_for_nothing(system, policy):
    vm = system.sim.vm("web-1").ignore_acpi()
    await system.gateway(POLICY_FILE=str(policy))
    worker = await system.worker(POLICY_FILE=str(policy))
    root = await system.key("root", "root", role=["admin"])
    ann = await system.key("ann", "ann", root, role=["web"])
    _, job = await system.call("POST", "/vms/web-1/poweroff", LONG, root)
    _, queued = await system.call("POST", "/vms/web-1/snapshots", {}, ann)
    await eventually(vm.power_actions)  # so the worker has read the policy, too
    async with all_open(system.url, ann, "web-1", job["id"]) as still:
        opened = set(still)
        (text, _, told), *_ = WRONG
        policy.write_text(text)
        worker.signal(signal.SIGHUP)
        await eventually(lambda: len(refusals(system, told)) == 2)  # gateway and worker
        assert await status(system, ann) == 200
        assert set(still) == opened
        assert (await system.call("GET", f"/jobs/{queued['id']}", headers=ann))[1]["state"] == "working"
        policy.write_text(DB)
        await eventually(lambda: passes(system, ann, 404))
        await eventually(lambda: not still)
    ended = await eventually(lambda: failed(system, queued["id"], root))
    assert ended["problem"]["code"] == "forbidden"
    assert await status(system, root) == 200


async def failed(system, job_id, who):
    _, job = await system.call("GET", f"/jobs/{job_id}", headers=who)
    return job if job["state"] == "failed" else None


async def test_a_gateway_does_not_start_with_a_wrong_policy_and_names_the_line(system, policy):
    text, line, told = WRONG[0]
    policy.write_text(text)
    gateway = system.start("serve", POLICY_FILE=str(policy))
    assert await gateway.ended() != 0
    assert f"policy.yaml, line {line}: {told}" in said(system)
