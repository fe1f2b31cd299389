"""Whose request goes next where several wait."""

from collections.abc import Mapping, Sequence

from gateway.core.spender import Spender


def next_turn(waiting: Sequence[Spender], served: Mapping[Spender, int]) -> int:
    """Return the place in `waiting` of who goes next: the first rank, in it who was served least, then who came first.

    `served` counts each spender's turns since requests began to wait.
    """
    return min(range(len(waiting)), key=lambda at: (waiting[at].rank, served.get(waiting[at], 0), at))
