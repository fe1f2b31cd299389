"""Tools about the caller himself."""

from typing import Annotated

from pydantic import Field, SecretStr

from gateway.calls import Call, Face
from gateway.core.access import CallerKind, Permission
from gateway.core.errors import Forbidden
from gateway.core.text import NAME_LIMIT
from gateway.core.tool import Effect, tool
from gateway.store.enrolled import Enrolment
from gateway.tools.answers import Told

MOST_KEY_CHARACTERS = 500


@tool("PUT /me/vergeos-key", permission=Permission.OPERATE, effect=Effect.CHANGE)
async def enroll_key(
    call: Call,
    *,
    api_key: Annotated[SecretStr, Field(max_length=MOST_KEY_CHARACTERS)],
    user: Annotated[str, Field(max_length=NAME_LIMIT, description="its VergeOS user; default: your name")] = "",
) -> Enrolment:
    """Have your changes made with your own VergeOS API key. People use `vergeos-gateway enroll`, never a chat."""
    _require_person(call)
    if call.face is not Face.REST:
        told = "a key does not belong into a conversation, where others keep it; it was not used"
        raise Forbidden(told, next_step="Run `vergeos-gateway enroll`, and make a new key: this one was seen.")
    writers = call.services.writers
    return await writers.enrol(call.caller.name, user or call.caller.name, api_key.get_secret_value())


@tool("DELETE /me/vergeos-key", permission=Permission.OPERATE, effect=Effect.CHANGE)
async def forget_key(call: Call) -> Told:
    """Take back your own VergeOS API key; the gateway keeps no copy."""
    _require_person(call)
    known = await call.services.writers.enrolled.forget(call.caller.name)
    return Told(detail="no key was enrolled" if known is None else f"the key of {known.vergeos_user} is forgotten")


def _require_person(call: Call) -> None:
    if call.caller.kind is CallerKind.AGENT:
        told = f"{call.caller.name} is an agent; it writes with the VergeOS key of {call.caller.owner}"
        raise Forbidden(told, next_step=f"{call.caller.owner} enrols it, with a key of his own.")


TOOLS = (enroll_key, forget_key)
