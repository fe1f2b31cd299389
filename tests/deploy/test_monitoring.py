"""Dashboards and alerts as files: made from their source, parsable, each alert with its cases and its runbook."""

import importlib.util
import json
import re
import sys

import promql_parser
import pytest
import yaml

from tests.deploy.programs import ROOT, program, run

RULES = ROOT / "k8s/rules"


@pytest.fixture(scope="module")
def build():
    """k8s/build.py, which is no part of any package."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "k8s/build.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def alerts():
    groups = yaml.safe_load((RULES / "vergeos-gateway.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def panels():
    """Every panel of every dashboard, with the dashboard's name."""
    for path in sorted((ROOT / "k8s/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield path.stem, panel


def test_what_is_made_is_as_its_source_says(build):
    for path, text in build.files().items():
        assert path.read_text() == text, f"{path.name}: run python k8s/build.py"


def test_every_alert_fires_and_stays_quiet_where_it_should():
    promtool = program("promtool", "apt install prometheus")
    run(promtool, "check", "rules", "k8s/rules/vergeos-gateway.yml")
    run(promtool, "test", "rules", "k8s/rules/tests.yml")
    cases = {
        (told["alertname"], bool(told.get("exp_alerts")))
        for test in yaml.safe_load((RULES / "tests.yml").read_text())["tests"]
        for told in test["alert_rule_test"]
    }
    assert cases == {(alert["alert"], fires) for alert in alerts() for fires in (True, False)}


def test_every_alert_and_every_link_has_its_runbook():
    sections = {
        line[4:].strip().lower() for line in (ROOT / "k8s/README.md").read_text().splitlines() if line[:4] == "### "
    }
    anchors = [alert["annotations"]["runbook_url"].partition("#")[2] for alert in alerts()]
    anchors += [link["url"].partition("#")[2] for _, panel in panels() for link in panel["links"]]
    assert set(anchors) == sections
    assert {alert["alert"].lower() for alert in alerts()} == sections


def test_every_query_is_promql_about_metrics_that_there_are():
    known = (ROOT / "gateway/telemetry/metrics.py").read_text()
    for board, panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], (board, panel["title"])
        for target in panel["targets"]:
            query = re.sub(r"\$__rate_interval", "1m", target["expr"])
            promql_parser.parse(query)
            for name in re.findall(r"vergeos_(?:gateway_)?(\w+?)(?:_total|_bucket)?\b(?=[{\[) /]|$)", query):
                assert f'_{name}"' in known or f'"{name}"' in known or name.startswith("process_"), name


def test_every_alert_is_explained_by_a_panel_and_every_panel_with_thresholds_names_one():
    linked = {link["url"].partition("#")[2] for _, panel in panels() for link in panel["links"]}
    assert linked == {alert["alert"].lower() for alert in alerts()}
    for board, panel in panels():
        if len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1:
            assert panel["links"], (board, panel["title"])


def test_what_a_query_leaves_to_choose_is_a_variable_of_its_board():
    for path in sorted((ROOT / "k8s/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        known = {variable["name"]: variable for variable in board["templating"]["list"]}
        asked = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))) - {"__rate_interval"}
        assert asked <= set(known), path.name
        for name in set(known) - {"datasource", "runbooks"}:
            assert name in asked, (path.name, name)
            assert known[name]["query"].startswith("label_values(vergeos_gateway_")
