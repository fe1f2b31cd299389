"""What goes over the wire of the MCP endpoints: checks of a request, JSON-RPC messages, event-stream frames."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson
from aiohttp import ClientPayloadError, web
from mcp_types import INVALID_REQUEST, PARSE_ERROR

from gateway.transports.hosts import host_allowed, origin_allowed

MAX_BODY_BYTES = 1 << 20
MAX_DEPTH = 64  # of nested arrays and objects
BODY_SECONDS = 30.0  # a body that is not there by then is given up

RequestId = int | str
Reply = dict[str, Any]

STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would hold the events back
}
PING = b": ping\r\n\r\n"


class RefusedError(Exception):
    """A request that is answered before any handler sees it."""

    def __init__(self, status: int, message: str, *, code: int = INVALID_REQUEST, id: RequestId | None = None) -> None:
        super().__init__(message)
        self.status, self.reply = status, error(id, code, message)

    def response(self) -> web.Response:
        """Return the answer; 405 names the one method there is."""
        return json_response(self.reply, self.status, {"Allow": "POST"} if self.status == 405 else None)


@dataclass(frozen=True)
class RpcRequest:
    """A JSON-RPC message that wants an answer."""

    id: RequestId
    method: str
    params: dict[str, Any] | None


@dataclass(frozen=True)
class RpcNotification:
    """A JSON-RPC message that wants none."""

    method: str
    params: dict[str, Any] | None
    id: None = None


@dataclass(frozen=True)
class RpcResponse:
    """The client's answer to a request of ours: `content` has the member `result` or `error`."""

    answers: RequestId | None
    content: dict[str, Any]
    id: None = None  # it wants no answer itself


Message = RpcRequest | RpcNotification | RpcResponse


def message_of(decoded: Any) -> Message:
    """Return the decoded JSON as a message; raise `RefusedError` where it is none, a batch included."""
    if not isinstance(decoded, dict) or decoded.get("jsonrpc") != "2.0":
        raise RefusedError(400, "Body must be a single JSON-RPC 2.0 message")
    if "method" not in decoded and ("result" in decoded or "error" in decoded):
        return _response(decoded)
    request_id = _id_of(decoded)
    method, params = decoded.get("method"), decoded.get("params")
    if not isinstance(method, str):
        raise RefusedError(400, "A message's method must be a string", id=request_id)
    if params is not None and not isinstance(params, dict):
        raise RefusedError(400, "A message's params must be an object", id=request_id)
    return RpcNotification(method, params) if request_id is None else RpcRequest(request_id, method, params)


def _response(decoded: dict[str, Any]) -> RpcResponse:
    kind = "result" if isinstance(decoded.get("result"), dict) else "error"
    content = decoded.get(kind)
    if not isinstance(content, dict) or (kind == "error" and not _is_error(content)):
        raise RefusedError(400, "A response needs an object as result, or an error with code and message")
    return RpcResponse(decoded.get("id") if _is_id(decoded.get("id")) else None, {kind: content})


def _is_error(content: dict[str, Any]) -> bool:
    return isinstance(content.get("code"), int) and isinstance(content.get("message"), str)


def _is_id(value: object) -> TypeGuard[RequestId]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _id_of(decoded: dict[str, Any]) -> RequestId | None:
    """Return the id, or None where there is none at all."""
    if "id" not in decoded:
        return None
    request_id = decoded["id"]
    if _is_id(request_id):
        return request_id
    raise RefusedError(400, "A request's id must be a string or an integer")


def result(id: RequestId | None, value: Mapping[str, Any] | orjson.Fragment) -> Reply:
    """Return the JSON-RPC response to a request that succeeded."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: RequestId | None, code: int, message: str, data: Any = None) -> Reply:
    """Return the JSON-RPC response to a request that failed; `id` is None where it could not be read."""
    what = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": id, "error": what}


def request_for_client(id: RequestId, method: str, params: Mapping[str, Any] | None) -> Reply:
    """Return a JSON-RPC request of ours to the client."""
    return {"jsonrpc": "2.0", "id": id, "method": method} | ({} if params is None else {"params": params})


def notification(method: str, params: Mapping[str, Any] | None) -> Reply:
    """Return a JSON-RPC notification."""
    return {"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params})


def frame(message: Reply) -> bytes:
    """Return a message as one event of an event stream."""
    return b"event: message\r\ndata: %b\r\n\r\n" % orjson.dumps(message)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a message, or a batch of them, as a whole HTTP response."""
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


async def read_json(request: web.Request) -> Any:
    """Return the decoded body; raise `RefusedError` for one that is too large or too slow, and as `decode`."""
    if request.content_type != "application/json":
        raise RefusedError(415, "Content-Type must be application/json")
    return decode(await _read(request))


def decode(body: bytes) -> Any:
    """Return decoded JSON; raise `RefusedError` for what is none, or is nested too deep."""
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError(400, "Parse error", code=PARSE_ERROR) from None
    # Counting brackets is cheap and decides nearly every body without a walk.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(decoded, MAX_DEPTH):
        raise RefusedError(400, f"JSON is nested deeper than {MAX_DEPTH} levels", code=PARSE_ERROR)
    return decoded


async def _read(request: web.Request) -> bytes:
    """Return the body; the limit counts what is unpacked, so that a packed body cannot grow past it."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise RefusedError(413, f"Body is larger than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise RefusedError(408, "The body did not arrive in time") from None
    except (web.RequestPayloadError, ClientPayloadError):
        raise RefusedError(400, "The body cannot be read", code=PARSE_ERROR) from None
    return bytes(body)


def _deeper_than(decoded: Any, limit: int) -> bool:
    level = [decoded]
    for _ in range(limit + 1):
        inner = (value for outer in level for value in (outer.values() if isinstance(outer, dict) else outer))
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def require_known_host(request: web.Request, allowed_hosts: Collection[str], pages: Collection[str]) -> None:
    """Raise `RefusedError` unless Host, and Origin where it is sent and none of `pages`, are loopback or allowed."""
    if not host_allowed(request.headers.get("Host"), allowed_hosts):
        raise RefusedError(421, "This Host is not served here; ALLOWED_HOSTS names those that are")
    if not origin_allowed(request.headers.get("Origin"), allowed_hosts, pages):
        raise RefusedError(403, "This Origin may not call; ALLOWED_HOSTS names those that may")


def require_accept(request: web.Request, *wanted: str) -> None:
    """Raise `RefusedError` unless the client takes each of these media types; no Accept header takes any."""
    accepted = {part.partition(";")[0].strip().lower() for part in request.headers.get("Accept", "*/*").split(",")}
    for media_type in wanted:
        if not accepted & {"*/*", media_type, f"{media_type.partition('/')[0]}/*"}:
            raise RefusedError(406, f"Client must accept {' and '.join(wanted)}")
