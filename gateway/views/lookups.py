"""Names that no list tells: VergeOS is asked once for each, and what it said holds for some seconds, a miss too."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

Found = TypeVar("Found")

LOOKUP_SECONDS = 5.0  # as long as one object's view: an agent that tries a wrong name again and again costs nothing
LOOKUPS_KEPT = 1_000

CROWD_SECONDS = 30.0  # as long as a list's lifetime
CROWD = 3  # look-ups of single objects within that time: from then on the whole list is the cheaper read

Key = tuple[str, str]


class Lookups:
    """What VergeOS said lately of single names to one process; `clock` never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[Key, tuple[float, Sequence[Any]]] = {}
        self._asking: dict[Key, asyncio.Lock] = {}
        self._single: dict[str, deque[tuple[Hashable, float]]] = {}

    def crowded(self, of: str, wanted: Hashable) -> bool:
        """Note that one object of the list `of` is wanted, which no list tells; tell whether several lately were.

        A night's sixty power-offs then cost one list instead of sixty reads.
        """
        now, recent = self._clock(), self._single.setdefault(of, deque(maxlen=CROWD))
        if all(known != wanted for known, _ in recent):
            recent.append((wanted, now))
        return len(recent) == CROWD and now - recent[0][1] < CROWD_SECONDS

    async def found(self, of: str, name: str, find: Callable[[], Awaitable[Sequence[Found]]]) -> Sequence[Found]:
        """Return what `find` finds of this name in the list `of`, or found just now; all at once are one request."""
        key = (of, name)
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                until, rows = self._said.get(key, (0.0, ()))
                if self._clock() < until:
                    return rows
                asked_at = self._clock()
                rows = await find()
                self._note(key, asked_at + LOOKUP_SECONDS, rows)
                return rows
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    def forget(self, of: str) -> None:
        """Ask anew for every name of this list: it has changed."""
        for key in [key for key in self._said if key[0] == of]:
            del self._said[key]

    def _note(self, key: Key, until: float, rows: Sequence[Any]) -> None:
        if len(self._said) >= LOOKUPS_KEPT:
            self._said = dict(list(self._said.items())[LOOKUPS_KEPT // 2 :])
        self._said[key] = (until, rows)
