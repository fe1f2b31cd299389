"""Every read of the catalog, tried once with the gateway's own VergeOS key: which of them would fail, and why."""

from typing import Any

from gateway.calls import Call, Face, run
from gateway.core.access import LOCAL, Permission
from gateway.core.answer import Page
from gateway.core.errors import GatewayError
from gateway.core.tool import Effect, Tool
from gateway.services import Services
from gateway.tools import CATALOG


async def tried(services: Services) -> str:
    """Return in words how many reads were tried and which failed; what needs an object is tried on the first there is.

    `services` are a gateway's, whose reads wait for their turn in the budget.
    """
    reads = [tool for tool in CATALOG if tool.effect is Effect.READ and tool.permission is Permission.READ]
    lists = {route.path: tool for tool in reads for route in tool.routes if not _required(tool)}
    firsts: dict[str, Any] = {}
    failed, count = [], 0
    for tool in sorted(reads, key=lambda tool: len(_required(tool))):
        try:
            arguments = _arguments(tool, lists, firsts)
            if arguments is None:
                continue
            count += 1
            value = (await run(tool, arguments, Call(services, LOCAL, Face.STDIO))).value
        except GatewayError as exc:
            failed.append(f"{tool.name} WOULD FAIL: {exc.code}: {exc.detail}")
        else:
            if isinstance(value, Page) and value.items:
                firsts[tool.name] = getattr(value.items[0], "id", None)
    told = f"{count} reads tried with this key, {len(failed)} of them would fail; changes are not tried"
    return "\n            ".join([f"tools       {told}", *failed])


def _required(tool: Tool) -> list[str]:
    return [name for name, field in tool.arguments.model_fields.items() if field.is_required()]


def _arguments(tool: Tool, lists: dict[str, Tool], firsts: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a tool is tried with: the first row of the list above its route, None where there is no such row."""
    required = _required(tool)
    if not required:
        return {}
    above = [lists[path] for path in (route.path.partition("/{")[0] for route in tool.routes) if path in lists]
    first = firsts.get(above[0].name) if above else None
    return None if first is None or len(required) > 1 else {required[0]: first}
