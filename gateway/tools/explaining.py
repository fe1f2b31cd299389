"""Why somebody may use a tool on an object, or may not: what the policy engine says, in words."""

from collections.abc import AsyncIterator

from gateway.core.access import Caller
from gateway.core.errors import UnknownObject
from gateway.core.policy import ANY, Facts
from gateway.core.tool import Tool
from gateway.services import Services
from gateway.views.facts import LISTS, facts_in_full
from gateway.views.inventory import parse_ref


async def explain(services: Services, caller: Caller, tool: Tool, ref: str | None) -> str:
    """Return for each permission that the tool may need whether `caller` has it, and the rule that decides.

    With `ref` for every object of this id or exact name. Raises UnknownObject, and an UpstreamError.
    """
    if ref is None:
        return _told(caller, tool, "", ANY)
    told = [_told(caller, tool, f" on {words}", facts) async for words, facts in _meant(services, ref)]
    if not told:
        raise UnknownObject(f"there is no object {ref!r}")
    return "\n".join(told)


async def _meant(services: Services, ref: str) -> AsyncIterator[tuple[str, Facts]]:
    meant = parse_ref(ref)
    for kind, view in LISTS.items():
        listed = await services.views.rows(view)
        for row in listed.by_name.get(meant, ()) if isinstance(meant, str) else [listed.by_key.get(meant)]:
            if row is not None:
                facts = await facts_in_full(services.views, kind, row, services.keys.site)
                yield f"{kind} {view.label(row)} (id {view.key(row)})", facts


def _told(caller: Caller, tool: Tool, where: str, facts: Facts) -> str:
    lines = [f"{tool.name}{where}, as {caller.name} ({caller.kind}):"]
    for permission in dict.fromkeys((tool.permission, *tool.escalates.values())):
        verdict = caller.decide(permission, facts) if facts or not _asks(caller) else None
        if verdict is None:
            words = "depends on the object" if caller.may(permission) else "refused: no rule gives it on any object"
        else:
            words = f"{'allowed' if verdict.allowed else 'refused'}: {verdict.rule}"
        lines.append(f"  {permission:8} {words}")
    return "\n".join(lines)


def _asks(caller: Caller) -> bool:
    return caller.right is not None and bool(caller.right.fields)
