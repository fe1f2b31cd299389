"""Which changes somebody who sees a part of the site hears of: those that change what he sees."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from gateway.core.errors import UpstreamError
from gateway.core.policy import Right
from gateway.core.spender import Spender
from gateway.vergeos import spending
from gateway.views.declared import View
from gateway.views.facts import LISTS
from gateway.views.journal import ALARMS
from gateway.views.reads import ANY_AGE
from gateway.views.rows import Rows
from gateway.views.sight import Sight
from gateway.views.views import Views

FOLLOWED: Final = {view.name: view for view in (*LISTS.values(), ALARMS)}
"""The views of many objects whose changes are announced."""


class Noticing:
    """What one listener of a right saw last of each list that he follows; changes are named as `Resource.follows`.

    `spender` is who asks VergeOS where that must be.
    """

    def __init__(self, views: Views, right: Right, site: str, spender: Spender) -> None:
        self._views, self._right, self._site, self._spender = views, right, site, spender
        self._shown: dict[str, tuple[Any, ...]] = {}

    async def begin(self, names: Iterable[str], *, ask: bool) -> None:
        """Note what he sees of what he begins to follow; with `ask` VergeOS is asked where nobody knows."""
        for name in names:
            view = FOLLOWED.get(name)
            if view is None:
                continue
            if ask:
                with suppress(UpstreamError), spending.bound(self._spender):
                    for needed in (*Sight(self._right, self._site).needs(view), view):
                        await self._views.rows(needed, max_age=ANY_AGE)
            seen = await self._seen(view)
            if seen is not None:
                self._shown[name] = seen.rows

    async def heard(self, names: Iterable[str], changed: Collection[str] | None) -> set[str]:
        """Return which of the changes `names` he hears of, now that `changed` has; None = anything may have."""
        return {name for name in names if await self._hears(name, changed)}

    async def _hears(self, name: str, changed: Collection[str] | None) -> bool:
        view = FOLLOWED.get(name)
        if view is None:
            return (changed is None or name in changed) and await self._is_seen(name)
        about = [name, *(needed.name for needed in Sight(self._right, self._site).needs(view))]
        return (changed is None or any(one in changed for one in about)) and await self._differs(view)

    async def _is_seen(self, name: str) -> bool:
        """Tell whether the object of a change is seen, as far as anybody knows; a job was seen when it was followed."""
        kind, _, key = name.partition(":")
        if kind not in LISTS:
            return True
        seen = await self._seen(LISTS[kind])
        return seen is not None and int(key) in seen.by_key

    async def _differs(self, view: View[Any]) -> bool:
        """Tell whether he sees another list than before; not while nobody knows one."""
        seen = await self._seen(view)
        if seen is None:
            return False
        before, self._shown[view.name] = self._shown.get(view.name), seen.rows
        return before != seen.rows

    async def _seen(self, view: View[Any]) -> Rows[Any] | None:
        """Return what he sees of the last rows of a view that anybody knows, however old; None where nobody does."""
        sight = Sight(self._right, self._site)
        for needed in sight.needs(view):
            known = await self._views.latest(needed)
            if known is None:
                return None
            sight.learn(needed, known)
        rows = await self._views.latest(view)
        return None if rows is None else await sight.look(view, rows)
