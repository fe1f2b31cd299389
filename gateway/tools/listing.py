"""How tools answer lists: which rows of a view are wanted, and one page of them."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from gateway.core.answer import Page
from gateway.views.rows import Rows

T = TypeVar("T", bound=BaseModel)


def holds(part: str | None, text: str) -> bool:
    """Tell whether `text` holds `part`, upper and lower case being the same; everything holds None."""
    return part is None or part.casefold() in text.casefold()


def page(rows: Sequence[T], view: Rows[Any], *, limit: int, offset: int) -> Page[T]:
    """Return `limit` of the wanted `rows` from `offset` on, as fresh as the view that they come from."""
    end = offset + limit
    return Page(
        items=tuple(rows[offset:end]),
        total=len(rows),
        next=end if end < len(rows) else None,
        as_of=view.as_of,
        source=view.source,
    )
