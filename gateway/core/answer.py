"""What a tool may answer: a page of rows, one object with its freshness, or a job."""

from enum import StrEnum
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Source(StrEnum):
    """Where an answer's facts come from."""

    LIVE = "live"  # asked of VergeOS for this call
    CACHE = "cache"  # asked of VergeOS within the view's lifetime
    STALE = "stale"  # older than that, since VergeOS cannot be asked


class Page(BaseModel, Generic[T]):
    """Some rows of a list; `total` counts all that match, `next` is the offset of the next page."""

    model_config = ConfigDict(frozen=True)

    items: tuple[T, ...]
    total: int
    next: int | None = None
    as_of: float = Field(description="Unix seconds when VergeOS was asked")
    source: Source


class CursorPage(Page[T], Generic[T]):
    """Some rows of a list that goes on by cursor: `next` is the cursor of the next page, to be given back as it is.

    `total` counts what matches from this page on, `note` is something that all readers should know.
    """

    next: str | None = None  # type: ignore[assignment]  # a place in the list, not a number of rows to skip
    note: str | None = None


class Reading(BaseModel, Generic[T]):
    """One object and its freshness; callers see the object, with the freshness beside it."""

    model_config = ConfigDict(frozen=True)

    value: T
    as_of: float
    source: Source
