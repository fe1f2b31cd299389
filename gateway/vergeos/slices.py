"""Long work in short slices, so that a list of thousands never holds up those who wait for a small answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Turned = TypeVar("Turned")

ITEMS_A_SLICE = 50  # rows turned into JSON or back without letting others run: half a millisecond to one


async def in_slices(items: Sequence[Item], turn: Callable[[Item], Turned]) -> list[Turned]:
    """Return `turn` of every item; others get to run meanwhile, and before what is done next with so many."""
    turned: list[Turned] = []
    for start in range(0, len(items), ITEMS_A_SLICE):
        turned.extend(map(turn, items[start : start + ITEMS_A_SLICE]))
        if len(items) > ITEMS_A_SLICE:
            await asyncio.sleep(0)
    return turned
