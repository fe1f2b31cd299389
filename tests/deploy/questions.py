"""What dashboards and rules answer, asked of a Prometheus about the whole of a run."""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.programs import ROOT
from tests.deploy.prometheus import Prometheus

MOST_POINTS = 600
LABELS = frozenset(
    {
        *("tool", "face", "outcome", "source", "caller", "kind", "limit", "endpoint", "view", "state", "code", "event"),
        *("by", "version", "le", "tier", "level"),
    }
)
JOB_ID = re.compile("[0-9a-f]{16}")
SELECTOR = re.compile(r"\bvergeos_\w+(?::\w+)*(?:\{[^}]*\})?")


@dataclass
class Answers:
    """The panels of each dashboard with their series, as `draw.py` takes them; what had no answer; what fired.

    `figures` is what each process told at the end.
    """

    boards: list[dict[str, Any]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    firing: set[str] = field(default_factory=set)
    figures: list[str] = field(default_factory=list)


def boards():
    """Yield each dashboard's name and panels as they are shipped."""
    for path in sorted((ROOT / "k8s/dashboards").glob("*.json")):
        yield path.stem, json.loads(path.read_text())["panels"]


def filled_in(query: str) -> str:
    """Return a panel's query as Grafana would send it with everything chosen."""
    return re.sub(r"\$(tool|face)\b", ".*", query.replace("$__rate_interval", "10s"))


async def ask(known: Prometheus, since: float, until: float) -> Answers:
    """Ask every panel's queries and every rule's about the time between two moments (Unix seconds)."""
    asked = Answers()
    step = max(1, math.ceil((until - since) / MOST_POINTS))
    until += step  # or what was scraped last lies behind the last point
    for board, panels in boards():
        shown = []
        for panel in panels:
            series = []
            for target in panel["targets"]:
                query = filled_in(target["expr"])
                found = _told(await known.series(query, since, until, step))
                series += [_series(target["legendFormat"], one, since) for one in found]
                if not found:
                    asked.silent.append(f"{board}: {panel['title']}: {query}")
            shown.append(_panel(panel, series))
        asked.boards.append({"board": board, "panels": shown})
    await _ask_rules(asked, known, since, until, step)
    return asked


def strange_labels(figures: str, names: set[str]) -> set[str]:
    """Return the labels that are none of ours, and those whose value is one of these names, a number or a job's id."""
    strange = set()
    for sample in (sample for family in text_string_to_metric_families(figures) for sample in family.samples):
        for label, value in sample.labels.items():
            named = value in names or value.isdecimal() or JOB_ID.fullmatch(value)
            if label not in LABELS or (named and label not in {"le", "tier"}):
                strange.add(f"{sample.name}: {label}={value}")
    return strange


async def _ask_rules(asked: Answers, known: Prometheus, since: float, until: float, step: int) -> None:
    """Each rule is evaluated without a fault, and each series that it asks for is told."""
    for rule in (rule for group in (await known.api("rules"))["groups"] for rule in group["rules"]):
        if rule["health"] != "ok":
            asked.silent.append(f"rule {rule['name']}: {rule['health']}: {rule.get('lastError')}")
        for selector in sorted(set(SELECTOR.findall(rule["query"]))):
            if not _told(await known.series(f"count({selector})", since, until, step)):
                asked.silent.append(f"rule {rule['name']}: {selector}")
    fired = await known.series('ALERTS{alertstate="firing"}', since, until, step)
    asked.firing = {one["metric"]["alertname"] for one in fired}


def _told(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the series that have a value at some moment: what is not a number is none."""
    return [one for one in found if any(value != "NaN" for _, value in one["values"])]


def _series(legend: str, found: dict[str, Any], since: float) -> dict[str, Any]:
    for name, value in found["metric"].items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return {"legend": legend, "values": [[at - since, float(value)] for at, value in found["values"]]}


def _panel(panel: dict[str, Any], series: list[dict[str, Any]]) -> dict[str, Any]:
    defaults = panel["fieldConfig"]["defaults"]
    return {
        "title": panel["title"],
        "kind": panel["type"],
        "unit": defaults["unit"],
        "place": panel["gridPos"],
        "series": series,
    }
