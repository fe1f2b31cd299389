"""Whole answers, kept as long as all the rows that they were made of stand.

An answer hangs on the rows that were read last for it, and goes with them; here is only known which views to look
at for a call. What differs between callers is what they see, so no answer reaches who sees something else.
"""

import operator
from collections.abc import Callable, Hashable
from typing import Any

from gateway.telemetry.tallies import Count
from gateway.views.declared import View
from gateway.views.reads import CallReads
from gateway.views.rows import Rows

CALLS_KNOWN = 10_000
ANSWERS_A_VIEW = 128  # of one reading of its rows: pages of a long list, filters, what callers see of it

Standing = Callable[[View[Any], float | None], Rows[Any] | None]
"""Returns a view's rows from memory if they are fresh enough, None otherwise."""


class Kept:
    """The answers that one process keeps."""

    def __init__(self, standing: Standing, reads_of: Callable[[View[Any]], Count]) -> None:
        self._standing = standing
        self._reads_of = reads_of
        self._made_of: dict[Hashable, tuple[tuple[View[Any], bool, Count], ...]] = {}

    def get(self, call: Hashable, seen_as: Hashable, max_age: float | None) -> Any:
        """Return the answer of this call, None where there is none that may still be shown.

        `seen_as` is what tells what the caller sees from what others see; None = everything.
        """
        key = call, seen_as
        views = self._made_of.get(key)
        if views is None:
            return None
        standing = []
        for view, seen, _ in views:
            rows = self._standing(view, max_age if seen else None)
            if rows is None:
                return None
            standing.append(rows)
        others, answer = standing.pop().answers.get(key, (None, None))
        if others is None or len(others) != len(standing) or any(map(operator.is_not, others, standing)):
            return None
        for _, _, reads in views:
            reads.value += 1
        return answer

    def put(self, call: Hashable, seen_as: Hashable, reads: CallReads, answer: object) -> None:
        """Keep the answer of a call that was made of these reads and of nothing else."""
        if not reads.repeatable or not reads.noted:
            return
        _make_room(self._made_of, CALLS_KNOWN)
        key = call, seen_as
        self._made_of[key] = tuple((view, seen, self._reads_of(view)) for view, _, seen in reads.noted)
        *others, last = (rows for _, rows, _ in reads.noted)
        _make_room(last.answers, ANSWERS_A_VIEW)
        last.answers[key] = others, answer


def _make_room(known: dict[Hashable, Any], most: int) -> None:
    """Let the older half go where there are too many."""
    if len(known) >= most:
        for key in list(known)[: most // 2]:
            del known[key]
