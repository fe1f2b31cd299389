"""Writes what is made and not written: the Grafana dashboards, and the rules as Kubernetes and Grafana want them.

`python k8s/build.py` writes them anew; a test tells when that was forgotten.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from boards import BOARDS  # noqa: E402  beside this file
from panels import Board, Panel  # noqa: E402

RUNBOOKS = "https://git.example.com/vergeos-gateway/blob/main/k8s/README.md"  # a variable of each board
RULES = HERE / "rules" / "vergeos-gateway.yml"
COLUMNS = 24
LEGEND = {
    "legend": {"displayMode": "table", "placement": "right", "calcs": ["max"], "sortBy": "Max", "sortDesc": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}
"""Beside the lines, the highest first: most panels have more lines than fit below them."""


def dashboard(board: Board) -> dict[str, Any]:
    """Return a board as Grafana takes it."""
    return {
        "uid": board.uid,
        "title": f"VergeOS Gateway: {board.title}",
        "description": board.words,
        "tags": ["vergeos-gateway"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Others", "tags": ["vergeos-gateway"], "asDropdown": True}],
        "templating": {
            "list": [_source(), _runbooks(), *(_variable(name, metric) for name, metric in board.variables.items())]
        },
        "panels": _placed(board),
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _runbooks() -> dict[str, Any]:
    return {"name": "runbooks", "type": "constant", "query": RUNBOOKS, "hide": 2, "current": {"value": RUNBOOKS}}


def _variable(name: str, metric: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": f"label_values({metric}, {name})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed(board: Board) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    x = y = tallest = 0
    for number, panel in enumerate(board.panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return placed


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}]
    steps += [{"color": color, "value": value} for color, value in panel.thresholds]
    links = []
    if panel.runbook:
        links = [{"title": "Runbook", "url": f"${{runbooks}}#{panel.runbook.lower()}", "targetBlank": True}]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.words,
        "gridPos": place,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "links": links,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"fillOpacity": 10, "showPoints": "never"} if panel.kind == "timeseries" else {},
                **({"decimals": 0} if panel.kind == "stat" and panel.unit == "short" else {}),
                **({"max": 1, "decimals": 0} if panel.unit == "bool_yes_no" else {}),
            },
            "overrides": [],
        },
        "options": LEGEND if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": query, "legendFormat": legend}
            for i, (query, legend) in enumerate(panel.queries)
        ],
    }


def prometheus_rule() -> str:
    """Return the rules as a PrometheusRule."""
    head = (
        "# Made by build.py from vergeos-gateway.yml.\n"
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: vergeos-mcp}\nspec:\n"
    )
    lines = [line for line in RULES.read_text().splitlines() if not line.startswith("#")]
    return head + "".join(f"  {line}\n" if line else "\n" for line in lines)


def files() -> dict[Path, str]:
    """Return every made file with what stands in it."""
    made = {
        HERE / "dashboards" / f"{board.uid}.json": json.dumps(dashboard(board), indent=1) + "\n" for board in BOARDS
    }
    return {**made, HERE / "rules" / "prometheus-rule.yaml": prometheus_rule()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
