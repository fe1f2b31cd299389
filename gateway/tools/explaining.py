"""Why somebody may use a tool on an object, or may not: what the policy engine says, in words."""

from gateway.core.access import Caller
from gateway.core.policy import ANY
from gateway.core.tool import Tool


def explain(caller: Caller, tool: Tool) -> str:
    """Return for each permission that the tool may need whether `caller` has it, and the rule that decides."""
    lines = [f"{tool.name}, as {caller.name} ({caller.kind}):"]
    for permission in (tool.permission, *tool.escalates.values()):
        verdict = caller.decide(permission, ANY)
        lines.append(f"  {permission:8} {'allowed' if verdict.allowed else 'refused'} by {verdict.rule}")
    return "\n".join(lines)
