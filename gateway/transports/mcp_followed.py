"""What a client follows, and of which changes he is told."""

from collections.abc import Collection, Iterator

from gateway.views.noticing import Noticing


class Followed:
    """The resources that one client follows: the changes that concern each URI, as the client wrote it.

    `noticing` says which changes he hears of; without one he sees the whole site, and hears of all.
    """

    def __init__(self, noticing: Noticing | None = None) -> None:
        self._changes: dict[str, frozenset[str]] = {}
        self._noticing = noticing

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._changes))

    async def add(self, uri: str, changes: frozenset[str], *, ask: bool = True) -> None:
        """Follow a resource; with `ask` VergeOS may be asked what the client sees of it now."""
        if self._noticing is not None:
            await self._noticing.begin(changes, ask=ask)
        self._changes[uri] = changes

    def remove(self, uri: str) -> None:
        """Follow a resource no more."""
        self._changes.pop(uri, None)

    async def heard_by(self, noticing: Noticing | None) -> None:
        """Tell what this one hears of from now on, and begin with what he sees now."""
        self._noticing = noticing
        if noticing is not None:
            await noticing.begin(self._all, ask=True)

    async def concerned(self, changed: Collection[str] | None) -> list[str]:
        """Return the URIs of whose change the client is told; None = nobody knows what changed."""
        if self._noticing is not None:
            changed = await self._noticing.heard(self._all, changed)
        return [uri for uri, names in self._changes.items() if changed is None or not names.isdisjoint(changed)]

    @property
    def in_part(self) -> bool:
        """Whether its client sees a part of the site only."""
        return self._noticing is not None

    @property
    def _all(self) -> frozenset[str]:
        return frozenset().union(*self._changes.values())
