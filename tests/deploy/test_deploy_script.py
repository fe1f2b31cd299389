"""deploy.sh without a cluster: what it would apply, what it refuses, and that it tells no secret."""

import asyncio
import json
import os
import re
import subprocess
import sys

import pytest

from gateway import __version__
from gateway.settings import Settings
from tests.deploy.programs import OURS, ROOT, documents, program, run

SCRIPT = ROOT / "k8s/deploy.sh"
SECRET = 's"3cret'


@pytest.fixture
def deploy(tmp_path):
    program("kubectl", "make .venv-tools/bin/kubectl")

    def run_it(*options, **settings):
        environment = {"PATH": f"{OURS}:{os.environ['PATH']}", "HOME": str(tmp_path), **settings}
        return subprocess.run(
            [SCRIPT, "--dry-run", *options], capture_output=True, text=True, env=environment, check=False
        )

    return run_it


def config(done):
    assert done.returncode == 0, done.stderr
    wanted = [it for it in documents(done.stdout) if it["metadata"]["name"] == "vergeos-mcp-config"]
    return wanted[0]["data"]


REAL = {"VERGEOS_HOST": "https://verge.acme.org:8443", "VERGEOS_API_KEY": SECRET}


def test_shellcheck_has_nothing_to_say():
    run(program("shellcheck", "apt install shellcheck"), SCRIPT, ROOT / "k8s/base/redis/start.sh", ROOT / ".ci/run")


def test_the_predecessor_s_variables_choose_namespace_domain_and_certificate(deploy):
    named = {"NAMESPACE": "team-a", "DOMAIN": "mcp.acme.org", "TLS_SECRET": "wildcard", "IMAGE": "reg:5000/vg:1.2"}
    done = deploy("--skip-check", **REAL, **{f"VERGEOS_MCP_{name}": value for name, value in named.items()})
    assert config(done)["ALLOWED_HOSTS"] == "mcp.acme.org,vergeos-mcp"
    made = documents(done.stdout)
    assert {it["metadata"].get("namespace", "team-a") for it in made} == {"team-a"}
    (route,) = [it for it in made if it["kind"] == "IngressRoute"]
    assert route["spec"]["routes"][0]["match"] == "Host(`mcp.acme.org`)"
    assert route["spec"]["tls"]["secretName"] == "wildcard"
    images = {
        c["image"] for it in made if it["kind"] == "Deployment" for c in it["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"reg:5000/vg:1.2"}
    (policy,) = [it for it in made if it["metadata"]["name"] == "vergeos-mcp-ours-to-outside"]
    assert {"ports": [{"protocol": "TCP", "port": 8443}]} in policy["spec"]["egress"]


def test_it_is_read_only_unless_it_is_told_otherwise(deploy):
    assert config(deploy("--skip-check", **REAL))["READ_ONLY"] == "true"
    assert config(deploy("--skip-check", "--writable", **REAL))["READ_ONLY"] == "false"


def test_credentials_come_from_the_predecessor_s_file_and_are_not_shown(deploy, tmp_path):
    lines = (
        f"export VERGEOS_HOST=verge.acme.org\nVERGEOS_USER='admin'\nVERGEOS_PASS={SECRET}\n$(touch {tmp_path}/run)\n"
    )
    (tmp_path / ".vergeos-credentials").write_text(lines)
    done = deploy("--skip-check")
    assert config(done)["VERGEOS_HOST"] == "verge.acme.org"
    assert "VERGEOS_USER VERGEOS_PASS REDIS_PASSWORD GATEWAY_SECRET_KEY" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


def test_every_setting_that_it_passes_on_exists():
    lists = re.findall(r"^(?:secrets|settings)=\(([^)]*)\)", SCRIPT.read_text(), re.MULTILINE)
    passed = {name for names in lists for name in names.split()}
    assert len(passed) > 20
    assert passed <= {name.upper() for name in Settings.model_fields}


def test_parts_are_added_by_options(deploy):
    done = deploy("--skip-check", "--ingress", "ingress", "--keda", "--monitoring", **REAL)
    kinds = {it["kind"] for it in documents(done.stdout)}
    assert {"Ingress", "ScaledObject", "ServiceMonitor", "PrometheusRule"} <= kinds
    assert "IngressRoute" not in kinds


def test_workers_are_scaled_by_the_lag_of_their_own_namespace(deploy):
    told = {"VERGEOS_MCP_NAMESPACE": "team-a", "VERGEOS_MCP_PROMETHEUS": "http://prometheus.acme:9090"}
    made = documents(deploy("--skip-check", "--keda", **REAL, **told).stdout)
    (trigger,) = next(it for it in made if it["kind"] == "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["serverAddress"] == "http://prometheus.acme:9090"
    assert trigger["metadata"]["query"] == 'max(vergeos_gateway_queue_lag_seconds{namespace="team-a"})'
    (worker,) = [it for it in made if it["kind"] == "Deployment" and it["metadata"]["name"] == "vergeos-mcp-worker"]
    assert "replicas" not in worker["spec"]  # how many there are is KEDA's


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        ((), {}, "VERGEOS_HOST is not set"),
        ((), {"VERGEOS_HOST": "v"}, "no credentials"),
        (("--frobnicate",), REAL, "unknown option"),
        (("--ingress", "caddy"), REAL, "takes traefik"),
        (("--skip-check",), {**REAL, "VERGEOS_MCP_NAMESPACE": "x; rm"}, "no name of a namespace"),
        ((), {**REAL, "VERGEOS_GATEWAY": "/nowhere"}, "/nowhere is not there"),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_is_done(deploy, options, settings, words):
    done = deploy(*options, **settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert not list((ROOT / "k8s").glob(".deploy.*"))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_vergeos_is_looked_at_first(deploy, sim, tmp_path):
    good = {
        "VERGEOS_HOST": sim.url,
        "VERGEOS_API_KEY": "demo",
        "VERGEOS_GATEWAY": str(ROOT / ".venv/bin/vergeos-gateway"),
    }
    seen = await asyncio.to_thread(deploy, **good)
    assert seen.returncode == 0, seen.stderr
    assert re.search(r"vergeos     ok, .* version [\d.]+, plain HTTP", seen.stderr)
    assert "reads tried with this key, 0 of them would fail" in seen.stderr
    blind = await asyncio.to_thread(deploy, **{**good, "VERGEOS_API_KEY": "wrong"})
    assert blind.returncode == 1
    assert "cannot be used like this" in blind.stderr


@pytest.fixture
def cluster(tmp_path, session_redis, redis):
    """Run deploy.sh against a cluster that is empty at first; return what it says and which objects it changed."""
    program("kubectl", "make .venv-tools/bin/kubectl")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/kubectl"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/deploy/kubectl.py {tmp_path} "$@"\n')
    fake.chmod(0o755)
    pod = {"REDIS_URL": session_redis.gateway_url, "VERGEOS_HOST": "verge.acme.org", "VERGEOS_API_KEY": SECRET}
    (tmp_path / "pod.json").write_text(json.dumps(pod))

    def run_it(*options, **settings):
        environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path), **REAL, **settings}
        done = subprocess.run(
            [SCRIPT, "--skip-check", *options], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        told = re.findall(r"^(\w+)/(\S+) (created|configured|unchanged)$", done.stdout, re.MULTILINE)
        return done.stdout + done.stderr, {kind for kind, _, change in told if change != "unchanged"}

    return run_it


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_second_run_changes_nothing_and_a_later_one_what_was_asked_for_alone(cluster, tmp_path):
    """The keys made at first are kept, and pods are replaced when their settings or secrets change, and only then."""
    said, changed = await asyncio.to_thread(cluster)
    assert {"namespace", "secret", "configmap", "deployment", "statefulset", "networkpolicy", "ingressroute"} <= changed
    assert "WARNING: there is no Secret vergeos-mcp-tls" in said
    assert "first-admin" in said
    for command in ("curl https://vergeos-mcp.example.com/health", '"method":"tools/list"', "client-config"):
        assert command in said
    made = (tmp_path / "cluster.json").read_text()
    said, changed = await asyncio.to_thread(cluster)
    assert changed == set()
    assert "first-admin" not in said
    assert (tmp_path / "cluster.json").read_text() == made
    said, changed = await asyncio.to_thread(cluster, VERGEOS_API_KEY="renewed")
    assert changed == {"secret", "deployment"}
    assert "renewed" not in said
    before, after = (json.loads(text) for text in (made, (tmp_path / "cluster.json").read_text()))
    for name in ("REDIS_PASSWORD", "REDIS_URL", "GATEWAY_SECRET_KEY"):
        old, new = (kept["secret/vergeos-mcp-credentials"]["data"][name] for kept in (before, after))
        assert old == new


def test_a_redis_of_one_s_own_takes_the_place_of_ours(deploy):
    done = deploy("--skip-check", **REAL, VERGEOS_MCP_REDIS_URL="rediss://gateway:pw@redis.acme.org:6390/0")
    assert done.returncode == 0, done.stderr
    made = documents(done.stdout)
    assert not [it for it in made if it["kind"] == "StatefulSet"]
    assert not [it for it in made if it["kind"] != "NetworkPolicy" and it["metadata"]["name"] == "vergeos-mcp-redis"]
    (policy,) = [it for it in made if it["metadata"]["name"] == "vergeos-mcp-ours-to-outside"]
    assert {"ports": [{"protocol": "TCP", "port": 6390}]} in policy["spec"]["egress"]
    assert "pw@" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("image", "deployed"),
    [
        ("reg:5000/team/vg", f"reg:5000/team/vg:{__version__}"),
        ("reg/vg:2.0", "reg/vg:2.0"),
        ("reg/vg@sha256:" + 64 * "a", "reg/vg@sha256:" + 64 * "a"),
    ],
)
def test_an_image_is_named_with_or_without_a_tag_or_by_its_digest(deploy, image, deployed):
    made = documents(deploy("--skip-check", **REAL, VERGEOS_MCP_IMAGE=image).stdout)
    (gateway,) = [it for it in made if it["kind"] == "Deployment" and it["metadata"]["name"] == "vergeos-mcp"]
    assert [c["image"] for c in gateway["spec"]["template"]["spec"]["containers"]] == [deployed]
