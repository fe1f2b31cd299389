"""MCP over stdin and stdout, for one client on the same machine; stdout carries JSON-RPC only."""

import asyncio
import contextlib
import os
import sys
from typing import Any

import anyio
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import Server
from mcp.shared.message import SessionMessage
from mcp_types import (
    PROTOCOL_VERSION_META_KEY,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from gateway.core.tool import Catalog
from gateway.services import Services
from gateway.transports.mcp import build_server
from gateway.transports.mcp_wire import (
    Message,
    RefusedError,
    RequestId,
    RpcNotification,
    RpcRequest,
    RpcResponse,
    decode,
    message_of,
)
from gateway.transports.pipes import LineReader, LineWriter, moved
from gateway.transports.selection import select

LAST_ANSWERS_SECONDS = 5.0  # what is still being read of VergeOS at the end gets this long


async def serve_stdio(services: Services, catalog: Catalog) -> None:
    """Serve one client over stdin and stdout until stdin ends or `services.closing` is set.

    The setting TOOLS bounds the catalog; raises `InvalidArgument` where it names what there is not.

    Calls that wait for a job are answered at once then; the jobs go on. Meanwhile descriptor 0 reads
    nothing and descriptor 1 leads to stderr, so that neither a child nor a stray print touches the wire.
    """
    with moved(0, os.open(os.devnull, os.O_RDONLY)) as stdin, moved(1, os.dup(2)) as stdout:
        try:
            await serve_pipes(services, catalog, stdin, stdout)
        finally:
            sys.stdout.flush()  # what was printed meanwhile must not reach the wire at exit


async def serve_pipes(services: Services, catalog: Catalog, read_fd: int, write_fd: int) -> None:
    """Serve one client over two file descriptors; see `serve_stdio`."""
    catalog = select(catalog, services.settings.tools)
    reader = LineReader(read_fd)
    ending = asyncio.create_task(_end_on(services.closing, reader))
    try:
        await _Conversation(
            build_server(catalog, lambda: services), reader, LineWriter(write_fd), services.closing
        ).run()
    finally:
        ending.cancel()


class _Conversation:
    """Pumps lines between the descriptors and the SDK's loop, and knows which requests are unanswered."""

    def __init__(self, server: Server[Any], reader: "LineReader", writer: "LineWriter", closing: asyncio.Event) -> None:
        self._server, self._reader, self._writer, self._closing = server, reader, writer, closing
        self._unanswered: set[RequestId] = set()
        self._all_answered = asyncio.Event()
        self._begun = False

    async def run(self) -> None:
        """Serve until the reader has no more; then end every wait, and give what is unanswered a moment."""
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception]()
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage]()
        options = self._server.create_initialization_options()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self._server.run(from_client, to_client, options))
            writing = tasks.create_task(self._pump_out(from_server))
            async with to_server:
                await self._pump_in(to_server)
                self._closing.set()  # every wait ends, and is answered, now
                await self._last_answers()
            _, late = await asyncio.wait({serving, writing}, timeout=1)
            for task in late:
                task.cancel()

    async def _last_answers(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                while self._unanswered:
                    self._all_answered.clear()
                    await self._all_answered.wait()

    async def _pump_in(self, to_server: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        while (line := await self._reader.line()) is not None:
            try:
                message = message_of(decode(line)) if line.strip() else None
            except RefusedError as refusal:
                await self._write(orjson.dumps(refusal.reply))
                continue
            if isinstance(message, RpcRequest):
                await self._take_request(message, to_server)
            elif isinstance(message, RpcNotification):
                await self._take_notification(message, to_server)
            elif message is not None:
                await to_server.send(_session_message(message))

    async def _take_request(
        self, message: RpcRequest, to_server: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        if not self._begun and message.method != "ping":
            self._begun = True
            if _skips_handshake(message):
                await to_server.send(_session_message(RpcNotification("notifications/initialized", None)))
        self._unanswered.add(message.id)
        await to_server.send(_session_message(message))

    async def _take_notification(
        self, message: RpcNotification, to_server: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        await to_server.send(_session_message(message))
        if message.method == "notifications/cancelled":
            self._answered((message.params or {}).get("requestId"))  # such a request gets no answer

    async def _pump_out(self, from_server: MemoryObjectReceiveStream[SessionMessage]) -> None:
        async with from_server:
            async for envelope in from_server:
                message = envelope.message
                await self._write(message.model_dump_json(by_alias=True, exclude_unset=True).encode())
                if isinstance(message, JSONRPCResponse | JSONRPCError):
                    self._answered(message.id)

    async def _write(self, line: bytes) -> None:
        try:
            await self._writer.write(line + b"\n")
        except OSError:  # the client reads no more: the same as its end
            self._unanswered.clear()
            self._all_answered.set()
            self._closing.set()

    def _answered(self, request_id: object) -> None:
        if isinstance(request_id, int | str):
            self._unanswered.discard(request_id)
        if not self._unanswered:
            self._all_answered.set()


async def _end_on(closing: asyncio.Event, reader: LineReader) -> None:
    await closing.wait()
    reader.end()


def _session_message(message: Message) -> SessionMessage:
    if isinstance(message, RpcResponse):
        response = {"jsonrpc": "2.0", "id": message.answers, **message.content}
        return SessionMessage(jsonrpc_message_adapter.validate_python(response, by_name=False))
    if isinstance(message, RpcRequest):
        return SessionMessage(
            JSONRPCRequest(jsonrpc="2.0", id=message.id, method=message.method, params=message.params)
        )
    return SessionMessage(JSONRPCNotification(jsonrpc="2.0", method=message.method, params=message.params))


def _skips_handshake(message: RpcRequest) -> bool:
    """Tell whether a client asks straight away, as `echo '…tools/list…' | vergeos-gateway stdio` does."""
    if message.method == "initialize":
        return False
    meta = (message.params or {}).get("_meta")
    return not (isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta)
