"""Rows between their forms: what is stored of each, the row itself, and all of them in order; in short slices."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeVar

from pydantic import BaseModel

from gateway.core.answer import Source
from gateway.vergeos.slices import in_slices
from gateway.views.declared import View
from gateway.views.rows import Rows

T = TypeVar("T", bound=BaseModel)


async def written(rows: Iterable[T], known: Mapping[bytes, T]) -> dict[bytes, T]:
    """Return the rows by what is stored of each; in place of those that are `known` the known ones.

    Each is let go as it is written: to let go of thousands at once takes as long as some slices.
    """
    left = deque(rows)
    del rows

    def write(_: int) -> tuple[bytes, T]:
        row = left.popleft()
        json = row.model_dump_json().encode()
        return json, known.get(json, row)

    return dict(await in_slices(range(len(left)), write))


async def parsed(view: View[T], stored: Iterable[bytes], known: Mapping[bytes, T]) -> dict[bytes, T]:
    """Return the rows of a view by what is stored of each; only those that are not `known` are read.

    Raises pydantic's ValidationError where another version of the gateway wrote them.
    """

    def parse(json: bytes) -> T:
        row = known.get(json)
        return view.parse(json) if row is None else row

    texts = list(stored)
    return dict(zip(texts, await in_slices(texts, parse), strict=True))


async def arranged(view: View[T], rows: Iterable[T], *, generation: int, as_of: float) -> Rows[T]:
    """Return rows with their indexes, in the view's order, with `Source.CACHE`."""
    placed = await in_slices(list(rows), lambda row: (view.order(row), row))
    placed.sort(key=itemgetter(0))
    await asyncio.sleep(0)
    ordered = tuple(map(itemgetter(1), placed))
    return Rows(ordered, generation, as_of, Source.CACHE, *await indexed(view, ordered))


async def indexed(view: View[T], ordered: Sequence[T]) -> tuple[dict[int | str, T], dict[str, tuple[T, ...]]]:
    """Return rows by their keys and by their names."""
    by_name: dict[str, tuple[T, ...]] = {}

    def name(row: T) -> None:
        label = view.label(row)
        by_name[label] = (*by_name.get(label, ()), row)

    await in_slices(ordered, name)
    return {view.key(row): row for row in ordered}, by_name


async def rearranged(view: View[T], before: Rows[T], changed: Mapping[str, T | None], *, generation: int) -> Rows[T]:
    """Return rows after a few of them changed, named by the text of their keys; None = it is gone."""
    if not all(_stays(view, before, row) for row in changed.values()):
        rows = {str(view.key(row)): row for row in before.rows} | {**changed}
        left = [row for row in rows.values() if row is not None]
        return await arranged(view, left, generation=generation, as_of=before.as_of)
    news = {view.key(row): row for row in changed.values() if row is not None}
    by_key = {**before.by_key, **news}
    by_name = dict(before.by_name)
    for label in set(map(view.label, news.values())):
        by_name[label] = tuple(by_key[view.key(row)] for row in by_name[label])
    ordered = tuple(by_key[view.key(row)] for row in before.rows)
    return Rows(ordered, generation, before.as_of, Source.CACHE, by_key, by_name)


def _stays(view: View[T], before: Rows[T], row: T | None) -> bool:
    """Tell whether a changed row has the place that it had."""
    old = None if row is None else before.by_key.get(view.key(row))
    return old is not None and row is not None and view.order(old) == view.order(row)
