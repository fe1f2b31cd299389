"""How often an address failed to prove who calls: past a limit it is told to wait. Each replica counts for itself."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
MOST_ADDRESSES = 10_000  # of the latest; an attacker who has more has found other ways


class Failures:
    """The failures of the last minute by address; `most` 0 = any number. `clock` measures ages."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._at: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str) -> None:
        """Count one more failure."""
        if self._most:
            failed = self._at.setdefault(address, deque(maxlen=self._most))
            failed.append(self._clock())
            self._at.move_to_end(address)
            if len(self._at) > MOST_ADDRESSES:
                self._at.popitem(last=False)

    def wait(self, address: str) -> float | None:
        """Return how many seconds the address must wait before it is heard again; None where it need not."""
        failed = self._at.get(address)
        if failed is None or len(failed) < self._most:
            return None
        left = failed[0] + WINDOW_SECONDS - self._clock()
        return left if left > 0 else None
