"""What jobs changed in a view's rows since its last fill, and how it is laid over rows that were read earlier."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

RowChange = bytes | Mapping[str, Any] | None
"""The whole row (JSON), or members of a row that exists, or None: the row is gone."""


@dataclass(frozen=True)
class Patch:
    """The facts that changes brought about one row, each with the generation that brought it; 0 = never."""

    gone: int = 0
    whole: int = 0
    members: Mapping[str, tuple[int, Any]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: bytes | None) -> Self:
        """Return what `as_json` gave; an empty patch where nothing is stored."""
        return cls() if stored is None else cls(*orjson.loads(stored))

    @property
    def latest(self) -> int:
        """The generation of the last change."""
        return max(self.gone, self.whole, *(generation for generation, _ in self.members.values()), 0)

    def as_json(self) -> bytes:
        """Return the patch for storing."""
        return orjson.dumps((self.gone, self.whole, self.members))

    def then(self, change: RowChange, generation: int) -> "Patch":
        """Return the patch after one more change; members of a row that is gone bring nothing back."""
        if change is None:
            return Patch(gone=generation)
        whole = isinstance(change, bytes)
        members = orjson.loads(change) if isinstance(change, bytes) else change
        if self.gone and not whole:
            return self
        facts = {member: (generation, value) for member, value in members.items()}
        return Patch(whole=generation, members=facts) if whole else Patch(0, self.whole, {**self.members, **facts})

    def over(self, row: bytes | None, since: int) -> bytes | None:
        """Return `row` (JSON, None = there is none) with the facts of generations after `since`; None if it is gone."""
        if self.gone > since or (row is None and self.whole <= since):
            return None
        facts = {member: value for member, (generation, value) in self.members.items() if generation > since}
        if not facts:
            return row
        return orjson.dumps(facts if row is None else {**orjson.loads(row), **facts})
