"""Draws what pictures.py found, a picture a dashboard, its panels placed as Grafana places them."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS, CELL_WIDTH, CELL_HEIGHT, HEAD = 24, 0.85, 0.42, 0.6  # inches; the head is the board's name
MOST_LEGENDS, LEGEND_SHARE = 12, 0.4  # lines; of a panel's width


def draw(board: dict, folder: Path) -> None:
    """Draw one dashboard."""
    rows = max(panel["place"]["y"] + panel["place"]["h"] for panel in board["panels"])
    width, height = COLUMNS * CELL_WIDTH, rows * CELL_HEIGHT + HEAD
    figure = plt.figure(figsize=(width, height))
    figure.suptitle(board["board"], y=1 - 0.2 / height, fontsize=12)
    for panel in board["panels"]:
        at, legend = panel["place"], LEGEND_SHARE * panel["place"]["w"] if panel["kind"] == "timeseries" else 0.0
        left, bottom = (at["x"] + 0.7) / COLUMNS, 1 - (HEAD + (at["y"] + at["h"] - 0.8) * CELL_HEIGHT) / height
        size = (at["w"] - 0.9 - legend) / COLUMNS, (at["h"] - 1.8) * CELL_HEIGHT / height
        axes = figure.add_axes((left, bottom, *size))
        axes.set_title(panel["title"], fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
        KINDS[panel["kind"]](axes, panel)
    figure.savefig(folder / f"{board['board']}.png", dpi=75)
    plt.close(figure)


def told(value: float, unit: str) -> str:
    """Return a value as Grafana puts it."""
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
    return f"{value:.4g}{' /s' if unit in {'reqps', 'ops'} else ''}"


def fact(axes, panel: dict) -> None:
    """Draw the last value as a number."""
    axes.axis("off")
    last = told(panel["series"][0]["values"][-1][1], panel["unit"]) if panel["series"] else "no data"
    axes.text(0.5, 0.4, last, ha="center", va="center", fontsize=18)


def bars(axes, panel: dict) -> None:
    """Draw the last value of each series as a bar."""
    last = sorted((series["values"][-1][1], series["legend"]) for series in panel["series"])
    axes.barh([legend for _, legend in last], [value for value, _ in last])
    axes.set_position([axes.get_position().x0 + 0.05, *axes.get_position().bounds[1:2], *_narrower(axes)])


def _narrower(axes) -> tuple[float, float]:
    return axes.get_position().width - 0.05, axes.get_position().height


def lines(axes, panel: dict) -> None:
    """Draw each series as a line, broken where there was none; the highest are named beside them."""
    highest = sorted(panel["series"], key=lambda series: -max(value for _, value in series["values"]))
    for number, series in enumerate(highest):
        label = series["legend"] if number < MOST_LEGENDS else None
        axes.plot(*broken(series["values"]), label=label, linewidth=1)
    axes.set_ylim(bottom=0)
    if panel["unit"] == "bool_yes_no":
        axes.set_yticks([0, 1])
    axes.yaxis.set_major_formatter(lambda value, _at: told(value, panel["unit"]))
    if highest:
        more = len(highest) - MOST_LEGENDS
        title = f"the highest, {more} more" if more > 0 else None
        beside = {"loc": "upper left", "bbox_to_anchor": (1, 1.05), "frameon": False}
        axes.legend(fontsize=6, title=title, title_fontsize=6, **beside)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes)


def broken(values: list) -> tuple[list[float], list[float]]:
    """Return moments and values with a gap where a series was away for more than two steps."""
    step = min((later[0] - at[0] for at, later in pairwise(values)), default=1)
    ats, found = [], []
    for at, value in values:
        if ats and at - ats[-1] > 2 * step:
            ats.append(ats[-1] + step)
            found.append(float("nan"))
        ats.append(at)
        found.append(value)
    return ats, found


KINDS = {"stat": fact, "bargauge": bars, "timeseries": lines}

if __name__ == "__main__":
    out = Path(sys.argv[1])
    for found in json.loads((out / "answers.json").read_text()):
        draw(found, out)
