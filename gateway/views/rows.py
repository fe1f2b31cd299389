"""What a view answers: its rows, found by key and by name, and how fresh they are."""

import dataclasses
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel

from gateway.core.answer import Source
from gateway.views.declared import View

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A view's rows of one generation; the same object for every caller until they change or grow old.

    `as_of` is in Unix seconds of Redis' clock. `by_name` holds every row of a (shown) name. `rendered` is for
    those who turn rows into bytes: keep there what is the same for all callers, or put into the key what
    differs, such as what the caller may see; it goes with the rows.
    """

    rows: tuple[T, ...]
    generation: int
    as_of: float
    source: Source
    by_key: Mapping[int | str, T]
    by_name: Mapping[str, tuple[T, ...]]
    rendered: dict[Hashable, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, view: View[T], rows: Iterable[T], *, generation: int, as_of: float) -> Self:
        """Return rows with their indexes, in the view's order, with `Source.CACHE`."""
        ordered = tuple(sorted(rows, key=view.order))
        by_name: dict[str, tuple[T, ...]] = {}
        for row in ordered:
            label = view.label(row)
            by_name[label] = (*by_name.get(label, ()), row)
        by_key = {view.key(row): row for row in ordered}
        return cls(ordered, generation, as_of, Source.CACHE, by_key, by_name)

    def told_as(self, source: Source) -> Self:
        """Return the same rows from another source; they render anew, since an answer may tell its source."""
        return dataclasses.replace(self, source=source, rendered={})
