"""Draws what pictures.py found, a picture a dashboard, its panels placed as Grafana places them."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS, CELL_WIDTH, CELL_HEIGHT = 24, 0.85, 0.42


def draw(board: dict, folder: Path) -> None:
    """Draw one dashboard."""
    rows = max(panel["place"]["y"] + panel["place"]["h"] for panel in board["panels"])
    width, height = COLUMNS * CELL_WIDTH, rows * CELL_HEIGHT
    figure = plt.figure(figsize=(width, height))
    figure.suptitle(board["board"], y=0.998, fontsize=11)
    for panel in board["panels"]:
        at = panel["place"]
        left, bottom = at["x"] / COLUMNS + 0.025, 1 - (at["y"] + at["h"]) / rows + 0.02
        axes = figure.add_axes((left, bottom, at["w"] / COLUMNS - 0.035, at["h"] / rows - 0.045))
        axes.set_title(f"{panel['title']} [{panel['unit']}]", fontsize=8)
        axes.tick_params(labelsize=6)
        (fact if panel["kind"] == "stat" else lines)(axes, panel)
    figure.savefig(folder / f"{board['board']}.png", dpi=75)
    plt.close(figure)


def fact(axes, panel: dict) -> None:
    """Draw the last value as a number."""
    axes.axis("off")
    last = panel["series"][0]["values"][-1][1] if panel["series"] else None
    axes.text(0.5, 0.4, "no data" if last is None else f"{last:.4g}", ha="center", va="center", fontsize=16)


def lines(axes, panel: dict) -> None:
    """Draw each series as a line."""
    for series in panel["series"]:
        at, values = zip(*series["values"], strict=True)
        axes.plot(at, values, label=series["legend"], linewidth=1)
    axes.set_ylim(bottom=0)
    if panel["series"]:
        axes.legend(fontsize=5, loc="upper left")
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    for found in json.loads((out / "answers.json").read_text()):
        draw(found, out)
