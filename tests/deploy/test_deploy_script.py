"""deploy.sh without a cluster: what it would apply, what it refuses, and that it tells no secret."""

import os
import re
import subprocess

import pytest

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
async def test_vergeos_is_looked_at_first(deploy, sim, tmp_path):
    import asyncio

    good = {
        "VERGEOS_HOST": sim.url,
        "VERGEOS_API_KEY": "demo",
        "VERGEOS_GATEWAY": str(ROOT / ".venv/bin/vergeos-gateway"),
    }
    seen = await asyncio.to_thread(deploy, **good)
    assert seen.returncode == 0, seen.stderr
    assert "vergeos     ok" in seen.stderr
    blind = await asyncio.to_thread(deploy, **{**good, "VERGEOS_API_KEY": "wrong"})
    assert blind.returncode == 1
    assert "cannot be used like this" in blind.stderr
