"""The simulator's time: wall-clock moments, scaled delays, and what is due when; no threads and no timers."""

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class Due:
    """Something that happens at a moment (Unix seconds); `cancelled` means it will not."""

    at: float
    order: int
    run: Callable[[float], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class Clock:
    """Tells the time and runs what is due.

    Nothing runs on its own: whoever looks at the simulator calls `settle` first, so that what was due meanwhile
    has happened, each thing at its own moment. `time_scale` 10 makes every delay ten times shorter; moments that
    rows show are always real ones.
    """

    def __init__(self, time_scale: float = 1.0) -> None:
        self.time_scale = time_scale
        self._due: list[Due] = []
        self._order = itertools.count()
        self._settling_at: float | None = None

    def now(self) -> float:
        """The moment in Unix seconds; while something due runs, the moment it was due at."""
        return time.time() if self._settling_at is None else self._settling_at

    def after(self, delay_seconds: float, run: Callable[[float], None], *, scaled: bool = True) -> Due:
        """Let `run(moment)` happen `delay_seconds` from now; `scaled=False` for delays that a test asked for."""
        scale = self.time_scale if scaled else 1.0
        due = Due(self.now() + delay_seconds / scale, next(self._order), run)
        heapq.heappush(self._due, due)
        return due

    def settle(self) -> None:
        """Run, in order, everything that is due by now."""
        if self._settling_at is not None:
            return
        now = time.time()
        try:
            while self._due and self._due[0].at <= now:
                due = heapq.heappop(self._due)
                if not due.cancelled:
                    self._settling_at = due.at
                    due.run(due.at)
        finally:
            self._settling_at = None
