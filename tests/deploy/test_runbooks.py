"""k8s/README.md as it is read at three in the morning: what it tells to type, to look at and to call is there."""

import json
import re
import shlex

import pytest
import yaml

from gateway.__main__ import _parser
from gateway.core import errors, upstream_errors
from gateway.core.policy import ROLES
from gateway.settings import Settings
from gateway.tools import CATALOG
from tests.deploy.programs import ROOT, documents

TEXT = (ROOT / "k8s/README.md").read_text()
RUNBOOKS = TEXT[TEXT.index("## Runbooks") :]
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL))
FENCED = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PLAIN = " ".join(FENCED.sub("", RUNBOOKS).split())
WORDS = re.findall(r"`([^`]+)`", PLAIN)
LINES = [line.partition("#")[0].strip() for line in "\n".join(FENCED.findall(RUNBOOKS)).split("\n")]
CODES = {each.code for module in (errors, upstream_errors) for each in vars(module).values() if hasattr(each, "code")}


@pytest.mark.parametrize("alert", SECTIONS)
def test_each_runbook_says_what_it_means_where_to_look_what_to_do_and_whom_to_wake(alert):
    assert re.findall(r"^- \*\*(\w+)\*\*: \S", SECTIONS[alert], re.MULTILINE) == ["Means", "Look", "Do", "Wake"]


def commands(program):
    """The commands that begin with a program's name, without that name."""
    return [text.partition(" ")[2] for text in (*WORDS, *LINES) if text.startswith(f"{program} ")]


def test_every_command_of_the_gateway_is_one():
    found = commands("vergeos-gateway") + commands("pod")
    assert len(found) > 12
    for command in found:
        _parser().parse_args(shlex.split(re.sub(r"<\w+>", "x", command)))


def test_kubectl_is_told_of_objects_that_there_are():
    made = [it for path in (ROOT / "k8s/base").glob("*.yaml") for it in documents(path.read_text())]
    names = {f"{it['kind'].lower()}/{it['metadata']['name']}" for it in made if "kind" in it and "metadata" in it}
    redis = next(it for it in made if it["kind"] == "StatefulSet")
    volume = redis["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    pod = f"{redis['metadata']['name']}-0"
    known = names | {pod, f"{volume}-{pod}"}
    mentioned = set(re.findall(r"\b(?:deployment|statefulset)/[\w-]+|\b[\w-]+-redis-0\b", RUNBOOKS))
    assert len(mentioned) >= 4
    assert mentioned <= known
    assert "kind: HorizontalPodAutoscaler" in (ROOT / "k8s/base/gateway.yaml").read_text()


def test_panels_are_on_the_board_that_is_named():
    boards = [json.loads(path.read_text()) for path in (ROOT / "k8s/dashboards").glob("*.json")]
    titles = {board["title"].rpartition(": ")[2]: {it["title"] for it in board["panels"]} for board in boards}
    links = re.findall(r"\*(\w+) → ([^*]+)\*", PLAIN)
    assert len(links) > 8
    for board, panel in links:
        assert panel in titles[board], (board, panel)


def test_tools_codes_settings_and_roles_are_those_of_the_gateway():
    known = {tool.name for tool in CATALOG} | CODES | {"max_age"} | set(ROLES)
    assert {word for word in WORDS if re.fullmatch(r"[a-z]+(_[a-z]+)+|operator", word)} <= known
    settings = {name.upper() for name in Settings.model_fields} | {"VERGEOS_MCP_URL", "VERGEOS_MCP_TOKEN"}
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", RUNBOOKS)) <= settings
    known_logs = "".join(path.read_text() for path in (ROOT / "worker").glob("*.py"))
    for said in ("watcher interrupted", "watcher failed"):
        assert (said in RUNBOOKS) == (f'"{said}"' in known_logs)


def test_a_runbook_is_as_urgent_as_its_alert():
    """What pages somebody says whom to wake next, and when."""
    groups = yaml.safe_load((ROOT / "k8s/rules/vergeos-gateway.yml").read_text())["groups"]
    severity = {
        rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"] if "alert" in rule
    }
    wakes = {alert for alert, text in SECTIONS.items() if "**Wake**: nobody." not in text}
    assert {alert for alert, grade in severity.items() if grade == "critical"} <= wakes
