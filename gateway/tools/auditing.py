"""The tool that shows the audit."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.answer import Page, Source
from gateway.core.tool import Effect, tool
from gateway.store.keys import AUDIT_WINDOW_LENGTH
from gateway.tools.keys import require_whole

Part = Annotated[str | None, Field(max_length=128)]


class AuditEntry(BaseModel):
    """One entry; `at` is in Unix seconds. What it says besides stands as it was written, its chain too."""

    model_config = ConfigDict(frozen=True, extra="allow")
    columns: ClassVar[tuple[str, ...]] = ("at", "event", "by", "tool", "outcome", "job")

    at: float
    event: str
    by: str | None = None
    tool: str | None = None
    outcome: str | None = None
    rule: str | None = None
    job: str | None = None


@tool("GET /audit", permission=Permission.ADMIN, effect=Effect.READ)
async def get_audit(
    call: Call,
    *,
    by: Part = None,
    job: Part = None,
    limit: Annotated[int, Field(ge=1, le=1000)] = 50,
) -> Page[AuditEntry]:
    """Show the newest entries of the audit, newest first: who changed what, who was refused, what VergeOS answered."""
    require_whole(call, "entries of the audit")
    wanted: dict[str, Any] = {name: value for name, value in (("by", by), ("job", job)) if value is not None}
    await call.services.audit.flush()
    window = (await call.services.audit.newest(AUDIT_WINDOW_LENGTH))[::-1]
    found = [entry for entry in window if wanted.items() <= entry.items()]
    return Page(
        items=tuple(AuditEntry(**entry) for entry in found[:limit]),
        total=len(found),
        as_of=await call.services.jobs.now(),
        source=Source.LIVE,
    )


TOOLS = (get_audit,)
