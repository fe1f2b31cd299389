"""What a view answers: its rows, found by key and by name, and how fresh they are."""

import dataclasses
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel

from gateway.core.answer import Source

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """A view's rows of one generation; the same object for every caller until they change or grow old.

    `as_of` is in Unix seconds of Redis' clock. `by_name` holds every row of a (shown) name. `rendered` is for
    what is made of the rows: keep there what is the same for all who see these rows, or put into the key what
    differs; it goes with the rows. `looked` is handed on to the rows that come after (see `sight`). `answers` are
    those of whole calls (see `kept`). `older_because` says why the rows are older than somebody wanted them; empty
    where they are not.
    """

    rows: tuple[T, ...]
    generation: int
    as_of: float
    source: Source
    by_key: Mapping[int | str, T]
    by_name: Mapping[str, tuple[T, ...]]
    older_because: str = ""
    rendered: dict[Hashable, Any] = field(default_factory=dict, compare=False)
    looked: dict[str, Any] = field(default_factory=dict, compare=False)
    answers: dict[Hashable, Any] = field(default_factory=dict, compare=False)

    def read_again(self, generation: int, as_of: float) -> Self:
        """Return the very same rows as VergeOS told them at a later time."""
        return dataclasses.replace(self.told_as(Source.CACHE), generation=generation, as_of=as_of)

    def bare(self) -> Self:
        """Return the same rows without anything that was made of them."""
        return dataclasses.replace(self, rendered={}, looked={}, answers={})

    def told_as(self, source: Source, older_because: str = "") -> Self:
        """Return the same rows from another source; they render anew, since an answer may tell its source."""
        return dataclasses.replace(self, source=source, older_because=older_because, rendered={}, answers={})
