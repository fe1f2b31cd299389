"""Requests of the stateless revision 2026-07-28: each POST carries all there is to know of its client."""

from typing import Any

from aiohttp import web
from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.runner import serve_one
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
    decode_header_value,
    unsupported_protocol_version_rejection,
    validate_mcp_param_headers,
)
from mcp_types import HEADER_MISMATCH

from gateway.transports.mcp_exchange import Exchange, as_error
from gateway.transports.mcp_ready import ReadyReplies
from gateway.transports.mcp_wire import Reply, RequestId, RpcRequest, error, json_response, result

TASK_METHODS = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})


async def answer_modern(
    server: Server[Any], state: Any, exchange: Exchange, message: RpcRequest, ready: ReadyReplies
) -> web.StreamResponse:
    """Answer one request; a client that closes the connection cancels it, which ends its wait and no job."""
    verdict = _verdict(server, exchange.request, message)
    if isinstance(verdict, InboundLadderRejection):
        return _rejected(verdict, message.id)
    version = verdict.protocol_version
    reply = ready.reply(exchange.request, message, version)
    if reply is not None:
        return await exchange.finish(reply)
    connection = Connection.from_envelope(version, verdict.client_info, verdict.client_capabilities)
    try:
        value = await serve_one(
            server, exchange, message.method, message.params, connection=connection, lifespan_state=state
        )
        reply = result(message.id, value)
        ready.learn(exchange.request, message, version, reply)
    except Exception as exc:
        reply = as_error(message.id, exc)
    return await exchange.finish(reply, _status(reply))


def take_modern_notification(request: web.Request) -> web.Response:
    """Acknowledge a notification; this revision has none for us: closing the connection cancels."""
    unsupported = unsupported_protocol_version_rejection(request.headers.get(MCP_PROTOCOL_VERSION_HEADER, ""))
    return web.Response(status=202) if unsupported is None else _rejected(unsupported, None)


def _verdict(
    server: Server[Any], request: web.Request, message: RpcRequest
) -> InboundModernRoute | InboundLadderRejection:
    """Hold the headers against the body, and the version against those served."""
    body = {"method": message.method, "params": message.params}
    verdict = classify_inbound_request(body, headers=request.headers)
    if isinstance(verdict, InboundLadderRejection):
        return verdict
    params = message.params or {}
    if message.method in TASK_METHODS:
        return _task_rejection(request, params) or verdict
    if message.method == "tools/call":
        return _mirror_rejection(server, request, params) or verdict
    return verdict


def _task_rejection(request: web.Request, params: dict[str, Any]) -> InboundLadderRejection | None:
    """Hold `Mcp-Name` against the task's id, which the SDK does not know of."""
    task_id = params.get("taskId")
    if not isinstance(task_id, str) or decode_header_value(request.headers.get(MCP_NAME_HEADER)) == task_id:
        return None
    return InboundLadderRejection(HEADER_MISMATCH, f"{MCP_NAME_HEADER} must be the task's id")


def _mirror_rejection(
    server: Server[Any], request: web.Request, params: dict[str, Any]
) -> InboundLadderRejection | None:
    """Hold `Mcp-Param-*` headers against the arguments, for tools whose schema declares any."""
    name, arguments = params.get("name"), params.get("arguments") or {}
    if server.get_tool_input_schema is None or not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    schema = server.get_tool_input_schema(name)
    return None if schema is None else validate_mcp_param_headers(schema, arguments, request.headers)


def _rejected(rejection: InboundLadderRejection, id: RequestId | None) -> web.Response:
    reply = error(id, rejection.code, rejection.message, rejection.data)
    return json_response(reply, _status(reply))


def _status(reply: Reply) -> int:
    return ERROR_CODE_HTTP_STATUS.get(reply["error"]["code"], 200) if "error" in reply else 200
