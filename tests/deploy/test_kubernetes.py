"""The Kubernetes files as they are rendered: valid, restricted, and with no flow but those that are needed."""

import json
import re
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from gateway import __version__
from gateway.settings import Settings
from tests.deploy.programs import ROOT, documents, program, run

OVERLAYS = sorted(path.name for path in (ROOT / "k8s/overlays").iterdir())
KUBECTL = "make .venv-tools/bin/kubectl"
FOREIGN = {"keda.sh", "monitoring.coreos.com", "traefik.io"}
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def rendered():
    """Each overlay's documents."""
    kubectl = program("kubectl", KUBECTL)
    return {name: documents(run(kubectl, "kustomize", f"k8s/overlays/{name}")) for name in OVERLAYS}


def of_kind(rendered, kind):
    return [(name, it) for name, all_of_it in rendered.items() for it in all_of_it if it["kind"] == kind]


def pods(rendered):
    return [
        (f"{name} {it['metadata']['name']}", it["spec"]["template"])
        for kind in ("Deployment", "StatefulSet")
        for name, it in of_kind(rendered, kind)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_is_valid_to_the_letter(rendered, overlay, tmp_path):
    own = [it for it in rendered[overlay] if it["apiVersion"].split("/")[0] not in FOREIGN]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(own))
    run(program("kubernetes-validate"), "--strict", "--kubernetes-version", "1.33", path)


@pytest.mark.slow
def test_kinds_that_are_not_kubernetes_own_follow_their_schemas(rendered):
    node = HERE / "node_modules/.bin/node"
    if not node.exists():
        subprocess.run([program("npm"), "ci", "--no-audit", "--no-fund", "--silent"], cwd=HERE, check=True)
    foreign = [it for all_of_it in rendered.values() for it in all_of_it if it["apiVersion"].split("/")[0] in FOREIGN]
    assert {it["apiVersion"].split("/")[0] for it in foreign} == FOREIGN
    run(node, HERE / "kinds.mjs", stdin=json.dumps(foreign))


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_trivy_finds_nothing_but_what_is_explained(rendered, overlay, tmp_path):
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(rendered[overlay]))
    quiet = ("--skip-check-update", "--skip-version-check", "--quiet")
    run(program("trivy"), "config", *quiet, "--ignorefile", str(ROOT / "k8s/.trivyignore"), "--exit-code", "1", path)


def test_every_pod_is_restricted(rendered):
    for name, pod in pods(rendered):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}, name
            assert "livenessProbe" in container, name
            assert "readinessProbe" in container, name


def test_gateways_are_known_as_the_predecessor_was(rendered):
    for name, service in of_kind(rendered, "Service"):
        if service["metadata"]["name"] == "vergeos-mcp":
            assert [port["port"] for port in service["spec"]["ports"]] == [3002], name
            assert service["metadata"]["namespace"] == "vergeos-mcp"
    assert {it["metadata"]["name"] for _, it in of_kind(rendered, "Deployment")} >= {
        "vergeos-mcp",
        "vergeos-mcp-worker",
    }


def test_flows_that_are_let_in_end_at_ports_that_are_open(rendered):
    """What a policy lets in is what a pod that it selects opens, and everything that is opened is let in."""
    for overlay, all_of_it in rendered.items():
        templates = [it["spec"]["template"] for it in all_of_it if it["kind"] in {"Deployment", "StatefulSet"}]
        opened = {
            (component(template), port["containerPort"])
            for template in templates
            for container in template["spec"]["containers"]
            for port in container.get("ports", ())
        }
        let_in = {
            (component(template), port["port"])
            for policy in all_of_it
            if policy["kind"] == "NetworkPolicy"
            for flow in policy["spec"].get("ingress", ())
            for port in flow["ports"]
            for template in templates
            if selects(policy["spec"]["podSelector"], template) and (component(template), port["port"]) in opened
        }
        assert let_in == opened, overlay


def component(template):
    labels = template["metadata"]["labels"]
    return labels.get("app.kubernetes.io/component", labels["app.kubernetes.io/name"])


def selects(selector, template):
    labels = template["metadata"]["labels"]
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(labels.get(it["key"]) in it["values"] for it in selector.get("matchExpressions", ()))


def test_probes_ports_and_image_agree(rendered):
    """The ports of the manifests are those that the image listens on."""
    image = (ROOT / "Dockerfile").read_text()
    for name, pod in pods(rendered):
        for container in pod["spec"]["containers"]:
            for port in container["ports"]:
                if container["name"] in {"gateway", "worker"}:
                    setting = {"http": "PORT", "metrics": "METRICS_PORT"}[port["name"]]
                    assert f" {setting}={port['containerPort']} " in image, name


def test_what_is_deployed_is_this_version(rendered):
    for name, pod in pods(rendered):
        images = {container["image"] for container in pod["spec"]["containers"]}
        assert images <= {f"vergeos-gateway:{__version__}", "redis:7.4-alpine"}, name


def test_every_setting_that_is_given_exists(rendered):
    known = {name.upper() for name in Settings.model_fields}
    for name, config in of_kind(rendered, "ConfigMap"):
        if config["metadata"]["name"] == "vergeos-mcp-config":
            assert config["data"].keys() <= known, name


def test_it_begins_read_only_everywhere_but_in_dev(rendered):
    for name, config in of_kind(rendered, "ConfigMap"):
        if config["metadata"]["name"] == "vergeos-mcp-config":
            assert config["data"]["READ_ONLY"] == ("false" if name == "dev" else "true")
            assert ("ALLOW_ANONYMOUS" in config["data"]) == (name == "dev")


def test_workers_are_scaled_by_a_figure_that_an_alert_asks_for_too(rendered):
    """Which is shown to be told; and by Prometheus alone: a scaler on Redis counts each job that waits for its VM."""
    (scaled,) = [it for _, it in of_kind(rendered, "ScaledObject")]
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "prometheus"
    asked = promql_parser.parse(trigger["metadata"]["query"]).expr.name
    assert f"{asked})" in (ROOT / "k8s/rules/vergeos-gateway.yml").read_text()
    assert [it["spec"]["scaleTargetRef"]["name"] for _, it in of_kind(rendered, "HorizontalPodAutoscaler")] == [
        "vergeos-mcp" for _ in OVERLAYS
    ]


def test_what_is_more_than_one_stays_so_when_nodes_are_emptied_and_lies_on_several(rendered):
    """A disruption budget and a spread for each Deployment of ours; none for Redis, which is one and would block."""
    for overlay, all_of_it in rendered.items():
        budgets = [it["spec"]["selector"]["matchLabels"] for it in all_of_it if it["kind"] == "PodDisruptionBudget"]
        ours = [it for it in all_of_it if it["kind"] == "Deployment" and it["metadata"]["name"] != "vergeos-simulator"]
        assert len(budgets) == len(ours) == 2, overlay
        for it in ours:
            pod = it["spec"]["template"]
            (spread,) = pod["spec"]["topologySpreadConstraints"]
            for selected in (it["spec"]["selector"]["matchLabels"], spread["labelSelector"]["matchLabels"]):
                assert selected.items() <= pod["metadata"]["labels"].items()
                assert selected in budgets


def test_there_is_time_to_go_down_in(rendered):
    for name, pod in pods(rendered):
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        (container,) = pod["spec"]["containers"]
        slept = re.search(r"'(\d+)'", str(container.get("lifecycle", "")))
        assert grace >= 20 + (int(slept[1]) if slept else 0), name
