"""Plain JSON-RPC over one POST, without handshake, session or stream, for curl and scripts."""

import asyncio
from typing import Any

from aiohttp import web
from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.runner import serve_one

from gateway.transports.mcp_exchange import Exchange, as_error
from gateway.transports.mcp_wire import Message, RefusedError, Reply, RpcRequest, json_response, message_of, result

VERSION = "2025-03-26"  # the one revision in which a batch is legal
MAX_BATCH = 50


async def answer_plain(server: Server[Any], state: Any, request: web.Request, decoded: Any) -> web.Response:
    """Answer one message or a batch of them; raise `RefusedError` for a body that is neither.

    The members of a batch run side by side and are answered in their order; one that is no
    message is answered with its own error.
    """
    if not isinstance(decoded, list):
        reply = await _reply_to(server, state, request, message_of(decoded))
        return web.Response(status=202) if reply is None else json_response(reply)
    if not 0 < len(decoded) <= MAX_BATCH:
        raise RefusedError(400, f"A batch holds 1 to {MAX_BATCH} messages")
    answers = await asyncio.gather(*(_reply_to_member(server, state, request, member) for member in decoded))
    replies = [reply for reply in answers if reply is not None]
    return json_response(replies) if replies else web.Response(status=202)


async def _reply_to_member(server: Server[Any], state: Any, request: web.Request, decoded: Any) -> Reply | None:
    try:
        return await _reply_to(server, state, request, message_of(decoded))
    except RefusedError as refusal:
        return refusal.reply


async def _reply_to(server: Server[Any], state: Any, request: web.Request, message: Message) -> Reply | None:
    """Return the response to a request; None for a notification or a response, which find nobody here."""
    if not isinstance(message, RpcRequest):
        return None
    connection = Connection.from_envelope(VERSION, None, None)
    exchange = Exchange(request, message, streams=False)
    try:
        value = await serve_one(
            server, exchange, message.method, message.params, connection=connection, lifespan_state=state
        )
        return result(message.id, value)
    except Exception as exc:
        return as_error(message.id, exc)
