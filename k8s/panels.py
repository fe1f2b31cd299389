"""What dashboards are made of: boards, panels, and the queries that several of them ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

M = "vergeos_gateway"
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One panel: `queries` with their legends, `unit` in Grafana's words, `runbook` the alert that it explains."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    words: str = ""
    runbook: str = ""
    width: int = 8
    height: int = 7
    thresholds: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class Board:
    """One dashboard; `variables` are labels that one may choose by, with the metric that has them."""

    uid: str
    title: str
    words: str
    panels: Sequence[Panel]
    variables: Mapping[str, str] = field(default_factory=dict)


def fact(title: str, unit: str, query: str, **more: object) -> Panel:
    """Return a panel of one number."""
    return Panel(title, unit, [(query, "")], kind="stat", **{"width": 4, "height": 4, **more})  # type: ignore[arg-type]


def quantiles(metric: str, by: str, chosen: str = "") -> list[tuple[str, str]]:
    """Return the queries of a duration's median and 95th percentile."""
    legend = f"{{{{{by}}}}} " if by else ""
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate({M}_{metric}_bucket{chosen}{RATE}))"
    return [(f"histogram_quantile({q}, {buckets})", f"{legend}p{q * 100:.0f}") for q in (0.5, 0.95)]


def slowest(metric: str, by: str, chosen: str = "") -> list[tuple[str, str]]:
    """Return the query of the ten highest 95th percentiles."""
    buckets = f"sum by (le, {by}) (rate({M}_{metric}_bucket{chosen}{RATE}))"
    return [(f"topk(10, histogram_quantile(0.95, {buckets}))", f"{{{{{by}}}}}")]


def risen(metric: str, by: str, window: str) -> str:
    """Return the query of how much a counter rose, also where it has just begun: `increase` misses the first count."""
    now = f"{M}_{metric}_total"
    return f"sum by ({by}) (clamp_min({now} - ({now} offset {window} or {now} * 0), 0))"


def share(part: str, whole: str) -> str:
    """Return the query of a share between 0 and 1; 0 while there is no part."""
    return f"(sum(rate({part}{RATE})) or vector(0)) / sum(rate({whole}{RATE}))"
