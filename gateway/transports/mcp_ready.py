"""Calls over `/mcp` whose replies are ready: what the SDK's kernel made of an answer once, is sent while that stands.

Only what the kernel took before, to the byte, is answered so: nothing of its checks is repeated here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from gateway.calls import Answer, Call, Face, kept_answer
from gateway.core.access import Caller
from gateway.core.answer import Source
from gateway.core.tool import Arguments, Tool
from gateway.services import Services
from gateway.telemetry import traces
from gateway.transports.mcp_door import META, choice
from gateway.transports.mcp_wire import Message, Reply, RpcRequest, result

AGE = f"{META}/age_ms"
CALLS_KNOWN = 4_096
LONGEST_CALL = 4_096  # bytes; longer ones are rare, and would fill the memory

ANSWER = web.RequestKey("mcp_answer", Answer)
"""What this request's call brought: left by whoever made the call."""


@dataclass(frozen=True)
class Wire:
    """A result as it goes over the wire, but for its age: JSON objects without their last brace."""

    content: bytes
    meta: bytes

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Wire":
        """Return a result that the kernel made, with the place for its age left open."""
        meta = {name: told for name, told in value.get("_meta", {}).items() if name != AGE}
        rest = {name: told for name, told in value.items() if name != "_meta"}
        return cls(orjson.dumps(rest)[:-1], orjson.dumps(meta)[:-1])

    def aged(self, milliseconds: int) -> orjson.Fragment:
        """Return the whole result, of this age."""
        return orjson.Fragment(b'%b,"_meta":%b,"%b":%d}}' % (self.content, self.meta, AGE.encode(), milliseconds))


class ReadyReplies:
    """The calls that were answered before, as they came, and what they asked for."""

    def __init__(self, services: Services, caller_of: Callable[[web.Request], Caller]) -> None:
        self._services, self._caller_of = services, caller_of
        self._known: dict[bytes, tuple[Tool, Arguments]] = {}

    def reply(self, request: web.Request, message: Message, version: str | None) -> Reply | None:
        """Return the reply to a call whose answer still stands, None for every other message."""
        asked = _asked(request, message, version)
        known = None if asked is None or traces.traced() else self._known.get(asked)
        if known is None or not isinstance(message, RpcRequest):
            return None
        tool, arguments = known
        answer = kept_answer(tool, arguments, Call(self._services, self._caller_of(request), Face.MCP))
        if answer is None:
            return None
        request[ANSWER] = answer
        wire: Wire | None = answer.rendered.get(f"mcp {version}")
        return None if wire is None else result(message.id, wire.aged(answer.age_ms(time.time())))

    def learn(self, request: web.Request, message: Message, version: str | None, reply: Reply) -> None:
        """Keep what the kernel replied to a call of a tool that is made of views alone."""
        answer, value = request.get(ANSWER), reply.get("result")
        if answer is None or value is None or not answer.tool.of_views or answer.source is not Source.CACHE:
            return
        asked, arguments = _asked(request, message, version), answer.arguments
        if asked is None or arguments is None:
            return
        if len(self._known) >= CALLS_KNOWN:
            self._known.clear()
        self._known[asked] = answer.tool, arguments
        answer.made(f"mcp {version}", lambda: Wire.of(value))


def _asked(request: web.Request, message: Message, version: str | None) -> bytes | None:
    """Return what tells a call from others, whatever its id and progress token; None where it is no call."""
    if version is None or not isinstance(message, RpcRequest) or message.method != "tools/call":
        return None
    params = message.params or {}
    meta = params.get("_meta")
    if isinstance(meta, dict) and isinstance(meta.get("progressToken"), int | str):
        kept = {name: told for name, told in meta.items() if name != "progressToken"}
        params = {name: told for name, told in params.items() if name != "_meta"} | ({"_meta": kept} if kept else {})
    asked = orjson.dumps((version, choice(request), params))
    return asked if len(asked) <= LONGEST_CALL else None
