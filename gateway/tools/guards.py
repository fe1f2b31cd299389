"""Tools about what may be changed at all."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.calls import Call
from gateway.core.access import Permission
from gateway.core.guard import Freeze, unix_time
from gateway.core.job import REASON_LIMIT
from gateway.core.tool import Effect, tool
from gateway.tools.keys import require_whole


class Changes(BaseModel):
    """Whether changes are frozen, in words; times are Unix seconds."""

    model_config = ConfigDict(frozen=True)

    frozen: bool
    detail: str
    freeze: Freeze | None = None


@tool("PUT /freeze", permission=Permission.ADMIN, effect=Effect.CHANGE)
async def freeze(
    call: Call,
    *,
    why: Annotated[str, Field(min_length=1, max_length=REASON_LIMIT)],
    until: Annotated[datetime | None, Field(description="UTC; default: until unfreeze")] = None,
) -> Changes:
    """Stop all changes by everybody, e.g. during an incident; jobs stop at the next safe point, reads go on."""
    require_whole(call, "freezes")
    begun = await call.services.freeze(call.caller.name, why, unix_time(until))
    return Changes(frozen=True, detail=begun.told(), freeze=begun)


@tool("DELETE /freeze", permission=Permission.ADMIN, effect=Effect.CHANGE)
async def unfreeze(call: Call) -> Changes:
    """End the freeze: changes are accepted again, and held jobs go on."""
    require_whole(call, "freezes")
    ended = await call.services.unfreeze()
    still = await call.services.freezing.present()
    if still is not None:
        return Changes(frozen=True, detail=still.told(), freeze=still)
    told = "nothing was frozen" if ended is None else f"changes go on; the freeze by {ended.by} is over: {ended.why}"
    return Changes(frozen=False, detail=told)


TOOLS = (freeze, unfreeze)
