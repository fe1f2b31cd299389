"""Tools about the API keys of callers."""

from typing import Annotated

from pydantic import BaseModel, Field

from gateway.calls import Call
from gateway.core.access import CallerKind, Permission
from gateway.core.api_key import NAME_PATTERN, ApiKeyView
from gateway.core.errors import Forbidden, NeedsPerson
from gateway.core.policy import system_facts
from gateway.core.tool import Effect, tool
from gateway.rights.issuing import issue, revoke
from gateway.store.api_keys import NewKey

DAY_SECONDS = 86_400.0
OWNER_PATTERN = r"^[^\s/][^/\r\n\t]{0,127}$"  # a slash parts an owner from his agent

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Words = Annotated[list[str], Field(max_length=20)]


class KeyList(BaseModel):
    """All keys, by name."""

    keys: tuple[ApiKeyView, ...]


class MadeKey(BaseModel):
    """A new key; its text is shown this once."""

    key: ApiKeyView
    token: str = Field(description="send it as `Authorization: Bearer …`; it is stored nowhere")


@tool("GET /keys", permission=Permission.ADMIN, effect=Effect.READ)
async def list_keys(call: Call) -> KeyList:
    """List the API keys of callers: whose, of which roles, last used."""
    require_whole(call, "keys")
    return KeyList(keys=tuple(await call.services.directory.keys.all()))


@tool("POST /keys", permission=Permission.ADMIN, effect=Effect.CHANGE)
async def create_key(
    call: Call,
    *,
    name: Name,
    owner: Annotated[str, Field(pattern=OWNER_PATTERN, description="the person who answers for it")],
    role: Words,
    kind: CallerKind = CallerKind.PERSON,
    select: Annotated[Words, Field(description="e.g. name=web-*,tag=prod")] = [],  # noqa: B006  pydantic copies it
    cidr: Words = [],  # noqa: B006
    expires_days: Annotated[float | None, Field(gt=0, le=3650)] = None,
) -> MadeKey:
    """Make an API key; the answer holds its text, which is shown this once."""
    require_whole(call, "keys")
    new = NewKey(
        name=name,
        owner=owner,
        kind=kind,
        roles=tuple(role),
        select=tuple(select),
        cidrs=tuple(cidr),
        lasts_seconds=None if expires_days is None else expires_days * DAY_SECONDS,
        created_by=call.caller.name,
    )
    key, token = await issue(call.services.directory, new)
    return MadeKey(key=key, token=token)


@tool("DELETE /keys/{name}", permission=Permission.ADMIN, effect=Effect.DESTROY)
async def revoke_key(call: Call, *, name: Annotated[str, Field(max_length=64, description="or id")]) -> ApiKeyView:
    """Take an API key back; no replica takes it 2 s later."""
    require_whole(call, "keys")
    return await revoke(call.services.directory, name)


def require_whole(call: Call, what: str) -> None:
    """Raise `Forbidden` for who is no administrator of everything, and `NeedsPerson` for agents; `what` is plural."""
    if call.caller.kind is CallerKind.AGENT:
        raise NeedsPerson(f"{what} are for persons: an agent neither sees nor changes them")
    if not call.caller.decide(Permission.ADMIN, system_facts(call.services.settings.site)).allowed:
        raise Forbidden(f"{what} are for administrators of the whole site")


TOOLS = (list_keys, create_key, revoke_key)
