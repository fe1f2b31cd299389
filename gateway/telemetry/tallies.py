"""Figures of what happens with every call: plain numbers, which Prometheus' library hears of when they are scraped.

Its own counters take a lock for each change; a cached read has time for one look-up. One thread only may count.
"""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Series = TypeVar("Series")


class Count:
    """One series that counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Spread:
    """One series of values by their size; `bounds` are the greatest values of its buckets but for the last."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class _Tallies(Collector, Generic[Series]):
    """The series of one metric by the values of its labels."""

    def __init__(
        self, name: str, words: str, labels: Sequence[str], new: Callable[[], Series], registry: CollectorRegistry
    ) -> None:
        self._name, self._words, self._labels, self._new = name, words, labels, new
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """Return the series of these values: keep it at hand, for to count in it costs nothing."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = self._new()
        return found

    def describe(self) -> Iterable[Metric]:
        """Tell the metric without its series."""
        yield self._shown({})

    def collect(self) -> Iterable[Metric]:
        """Tell all series as they stand."""
        yield self._shown(self._series)

    @abstractmethod
    def _shown(self, series: Mapping[tuple[str, ...], Series]) -> Metric:
        """Return these series as the library shows them."""


class Counts(_Tallies[Count]):
    """A counter."""

    def __init__(self, name: str, words: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        super().__init__(name, words, labels, Count, registry)

    def _shown(self, series: Mapping[tuple[str, ...], Count]) -> Metric:
        family = CounterMetricFamily(self._name, self._words, labels=self._labels)
        for values, one in series.items():
            family.add_metric(values, one.value)
        return family


class Spreads(_Tallies[Spread]):
    """A histogram."""

    def __init__(
        self, name: str, words: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._upper = (*map(floatToGoString, bounds), "+Inf")
        super().__init__(name, words, labels, lambda: Spread(bounds), registry)

    def _shown(self, series: Mapping[tuple[str, ...], Spread]) -> Metric:
        family = HistogramMetricFamily(self._name, self._words, labels=self._labels)
        for values, one in series.items():
            family.add_metric(values, list(zip(self._upper, accumulate(one.counts), strict=True)), one.sum)
        return family
