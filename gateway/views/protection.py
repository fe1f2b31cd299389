"""What is protected, asked about one object: the rules, the tags that it carries, and the VMs that we run on."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from gateway.core.guard import Guards, carried, harmless
from gateway.core.job import Target
from gateway.core.wishes import Wish
from gateway.store.own_vms import OwnVms
from gateway.views.tags import tagged
from gateway.views.views import Views


class Protection:
    """Judges changes of single objects; `rules` is asked anew each time, since they may be reloaded.

    Every method raises `StoreError`, and `UpstreamError` where a tag matters and VergeOS does not tell it.
    """

    def __init__(self, rules: Callable[[], Guards], views: Views, own: OwnVms) -> None:
        self._rules, self._views, self._own = rules, views, own

    async def require(self, target: Target, wish: Wish, now: Callable[[], Awaitable[float]]) -> None:
        """Raise `Protected` or `OutsideWindow` where this wish may not be fulfilled on this object now.

        `now` is asked for the time, in Unix seconds, where there are windows.
        """
        if not harmless(wish):
            guards, tags = await self._known(target)
            guards.require(target, tags, wish, await now() if guards.windows else 0.0)

    async def require_touchable(self, target: Target, *, force: bool) -> None:
        """Raise `Protected` for an object that must not be changed, with `force` also for one that is never forced."""
        guards, tags = await self._known(target)
        guards.require_touchable(target, tags, force=force)

    async def never_forced(self, target: Target) -> bool:
        """Tell whether an object's power is never cut."""
        guards, tags = await self._known(target)
        return guards.never_forced(target, tags)

    async def _known(self, target: Target) -> tuple[Guards, Collection[str]]:
        rules = self._rules()
        guards = replace(rules, own=rules.own | await self._own.known())
        tags = guards.tags if target.kind == "vm" else frozenset()
        return guards, carried(target, {tag: await tagged(self._views, tag) for tag in tags})
