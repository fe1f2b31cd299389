"""How reads and watching keep within the hour: arithmetic of what was spent, without a clock."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from gateway.core.spender import READS, Kind, Spender

HOUR_SECONDS = 3_600
PART_SECONDS = 300  # the hour is counted in parts of this
LIVE_PARTS = 2  # the part that runs and the one before: what a caller spent in them is held against his share
MOST_SECONDS = 300.0  # rows are not served longer than this because of the budget
LEAST_SHARE = 0.1  # of the hour reads may always spend: with nothing left they grow old, they do not end
WATCH_FREELY = 0.5  # of the hour left: watching is as quick as its times say
SLOWEST_WATCH = 8.0  # times as slow
LIVE_SHARE = LIVE_PARTS * PART_SECONDS / HOUR_SECONDS


@dataclass(frozen=True)
class Hour:
    """What was spent of an hour's requests to VergeOS, up to now; `limit` 0 = none.

    `lately` is what each spender spent in the last `LIVE_PARTS` parts of the hour. `hot` is how many requests it
    takes to refill, once, all the views that are asked for all the time.
    """

    limit: int = 0
    spent: Mapping[Spender, int] = field(default_factory=dict)
    lately: Mapping[Spender, int] = field(default_factory=dict)
    hot: int = 0

    @cached_property
    def total(self) -> int:
        """Return all that was spent in the last hour."""
        return sum(self.spent.values())

    @property
    def left(self) -> int:
        """Return what is left; 0 where more was spent."""
        return max(self.limit - self.total, 0)

    def plus(self, more: Mapping[Spender, int]) -> "Hour":
        """Return the hour with what was spent since it was told."""
        spent, lately = (dict(Counter(known) + Counter(more)) for known in (self.spent, self.lately))
        return replace(self, spent=spent, lately=lately)

    @property
    def by_kind(self) -> dict[Kind, int]:
        """Return what was spent by each kind of spender, the most first."""
        spent: Counter[Kind] = Counter()
        for spender, count in self.spent.items():
            spent[spender.kind] += count
        return dict(spent.most_common())

    def top_callers(self, most: int) -> dict[str, int]:
        """Return what was spent by those callers who spent most."""
        return dict(Counter({one.name: count for one, count in self.spent.items() if one.name}).most_common(most))

    @property
    def nearly_spent(self) -> bool:
        """Tell whether it is time to warn."""
        return self.limit > 0 and self.left <= self.limit * LEAST_SHARE

    @cached_property
    def read_share(self) -> float:
        """Return the requests an hour that reads may go on with: what is left.

        So steady reads come to rest where they spend half of what jobs leave them.
        """
        return max(float(self.left), self.limit * LEAST_SHARE)

    def lifetime(self, seconds: float) -> float:
        """Return how long a view whose rows live for `seconds` may be served now."""
        if not self.limit:
            return seconds
        return max(seconds, self._least_seconds)

    @cached_property
    def _least_seconds(self) -> float:
        return min(self.hot * HOUR_SECONDS / self.read_share, MOST_SECONDS)

    @property
    def watch_stretch(self) -> float:
        """Return how many times slower jobs are watched now; 1 while half the hour is left."""
        free = self.limit * WATCH_FREELY
        if self.left >= free:
            return 1.0
        return min(free / self.left, SLOWEST_WATCH) if self.left else SLOWEST_WATCH

    def too_much_live(self, spender: Spender) -> bool:
        """Tell whether a caller has had his share of what is asked of VergeOS for him alone."""
        if not self.limit:
            return False
        readers = {one for one in self.spent if one.kind in READS}
        engine = sum(count for one, count in self.spent.items() if one.kind not in READS)
        ours = max(self.limit - engine, self.limit * LEAST_SHARE)
        return self.lately.get(spender, 0) >= max(ours / (len(readers | {spender}) + 1) * LIVE_SHARE, 1.0)


class Pace(Protocol):
    """What a reader asks about the budget, at each read; answered from memory."""

    def lifetime(self, seconds: float) -> float:
        """Return how long a view whose rows live for `seconds` may be served now."""

    def older_because(self) -> str:
        """Return why the present caller may not have VergeOS asked for him alone now; empty where he may."""


class Unhurried:
    """The pace where nothing limits."""

    def lifetime(self, seconds: float) -> float:
        """Return what the view says."""
        return seconds

    def older_because(self) -> str:
        """Return that he may."""
        return ""


UNHURRIED = Unhurried()
