"""One client's session, as one replica holds it; what other replicas must know goes through its mailbox."""

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web
from mcp import MCPError
from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions
from mcp_types import REQUEST_TIMEOUT, InitializeRequestParams

from gateway.core.errors import StoreError
from gateway.store.mailboxes import Mailboxes, Post
from gateway.transports.mcp_exchange import Channel, Say, as_error
from gateway.transports.mcp_followed import Followed
from gateway.transports.mcp_outbox import Outbox
from gateway.transports.mcp_wire import (
    RefusedError,
    Reply,
    RequestId,
    RpcNotification,
    RpcRequest,
    RpcResponse,
    error,
    message_of,
    notification,
    request_for_client,
    result,
)
from gateway.views.noticing import Noticing

REQUEST_CANCELLED = -32800  # ends the reply to a cancelled request, which these revisions leave no other end
MAX_IN_FLIGHT = 100  # requests of one session at once
UPDATED = "notifications/resources/updated"
ENDING_SECONDS = 2.0  # for requests that are cancelled when a session is let go

# What is left in a mailbox: of what is followed, of the session itself, and what other replicas were sent for this one.
FOLLOWS, UNFOLLOWS, LOG_FROM, OPENED, CLOSED = "follows", "unfollows", "log_from", "opened", "closed"
ANSWER, CANCEL, MESSAGE, RECEIVED = "answer", "cancel", "message", "received"


class Session:
    """A session: its negotiated facts, its requests in flight here, its open questions, its own stream if it is here.

    `token` is what the client knows it by, `key` names its mailbox.
    """

    def __init__(self, server: Server[Any], state: Any, mailboxes: Mailboxes, *, key: str, owner: str) -> None:
        self.key, self.owner, self.token = key, owner, ""
        self.used_at = time.monotonic()
        self.closed = False
        self.followed = Followed()
        self.log_level: str | None = None  # from which on the client wants log messages
        self._missed: set[str] = set()  # what is followed and changed before any stream was open
        self._mailboxes = mailboxes
        self._connection = Connection.for_loop(self)
        self._runner = ServerRunner(server, self._connection, state)
        self._in_flight: dict[RequestId, asyncio.Task[Reply]] = {}
        self._questions: dict[RequestId, asyncio.Future[dict[str, Any]]] = {}
        self._outbox: Outbox | None = None
        self._stream: web.Request | None = None  # of HTTP+SSE: what comes from elsewhere is run as its
        self._receiving: set[asyncio.Task[None]] = set()
        self._read_to, self._opened_at = "0-0", "0-0"
        self._had_stream = False  # here or elsewhere
        self._collecting = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """True while a request is in flight here or the session's own stream is open here."""
        return self.listening or bool(self._in_flight)

    @property
    def listening(self) -> bool:
        """True while the session's own stream is open here."""
        return self._outbox is not None

    @property
    def version(self) -> str | None:
        """The version that is spoken; None before the handshake."""
        return self._connection.protocol_version if self._connection.initialize_accepted else None

    @property
    def agreed(self) -> InitializeRequestParams | None:
        """What the handshake agreed on: the client's parameters, with the version that is spoken; None before it."""
        known = self._connection.client_params
        return known and known.model_copy(update={"protocol_version": self._connection.protocol_version})

    def carry_on(self, agreed: InitializeRequestParams) -> None:
        """Take up a session whose handshake another process went through."""
        self._connection.client_params = agreed
        self._connection.protocol_version = agreed.protocol_version
        self._connection.initialized.set()

    # what the client sends

    async def reply_to(self, channel: Channel, message: RpcRequest) -> Reply:
        """Answer one request; it runs in a task of its own, for a lost connection does not cancel it here."""
        if message.id in self._in_flight:
            raise RefusedError(400, "A request with this id is in flight", id=message.id)
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            raise RefusedError(429, "Too many requests of this session are in flight", id=message.id)
        task = asyncio.create_task(self._run(channel, message))
        self._in_flight[message.id] = task
        task.add_done_callback(lambda _: self._in_flight.pop(message.id, None))
        await asyncio.wait({task})
        return error(message.id, REQUEST_CANCELLED, "Request cancelled") if task.cancelled() else task.result()

    async def _run(self, channel: Channel, message: RpcRequest) -> Reply:
        try:
            return result(message.id, await self._runner.on_request(channel, message.method, message.params))
        except Exception as exc:
            return as_error(message.id, exc)

    async def take_notification(self, channel: Channel, message: RpcNotification) -> None:
        """Take a notification; `notifications/cancelled` stops the request it names, here or elsewhere, never a job."""
        if message.method != "notifications/cancelled":
            await self._runner.on_notify(channel, message.method, message.params)
            return
        named = (message.params or {}).get("requestId")
        if isinstance(named, int | str) and not self._cancel(named):
            await self._mailboxes.post(self.key, CANCEL, named)

    async def take_answer(self, message: RpcResponse) -> None:
        """Take the client's answer to a question that was asked here or elsewhere."""
        if not self._answer(message.answers, message.content):
            await self._mailboxes.post(self.key, ANSWER, {"id": message.answers, "content": message.content})

    async def receive(self, message: Any) -> None:
        """Take a message of HTTP+SSE, whose answer goes on the session's own stream; without a stream it is lost."""
        if self._stream is None:
            return
        if isinstance(message, RpcResponse):
            await self.take_answer(message)
            return
        channel = _OnStream(self._stream, message, self)
        if isinstance(message, RpcNotification):
            await self.take_notification(channel, message)
        else:
            task = asyncio.create_task(self._answer_on_stream(channel, message))
            self._receiving.add(task)
            task.add_done_callback(self._receiving.discard)

    async def _answer_on_stream(self, channel: Channel, message: RpcRequest) -> None:
        try:
            reply = await self.reply_to(channel, message)
        except RefusedError as refusal:
            reply = refusal.reply
        await self.tell(reply)

    # what the server sends unasked

    async def tell(self, message: Reply) -> None:
        """Send a message on the session's own stream, wherever that is open; else it waits in the mailbox."""
        if self._outbox is not None:
            self._outbox.put(message)
        elif not self.closed:
            await self._mailboxes.post(self.key, MESSAGE, message)

    async def notify(self, method: str, params: Mapping[str, Any] | None, _opts: CallOptions | None = None) -> None:
        """Send a notification that belongs to no request; news is no promise, so it is lost while Redis is out."""
        with suppress(StoreError):
            await self.tell(notification(method, params))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client something on the session's own stream; raises as `ask`."""
        return await self.ask(self.tell, method, params, opts)

    async def ask(
        self, say: Say, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None
    ) -> dict[str, Any]:
        """Ask the client by `say` and return its result; a question that is given up is taken back.

        Raises `MCPError` with the client's own error, or when it did not answer in time.
        """
        question = secrets.token_hex(8)
        answer = self._questions[question] = asyncio.get_running_loop().create_future()
        try:
            await say(request_for_client(question, method, params))
            async with asyncio.timeout((opts or {}).get("timeout")):
                content = await answer
        except TimeoutError:
            raise MCPError(REQUEST_TIMEOUT, "The client did not answer in time") from None
        finally:
            del self._questions[question]
            if not answer.done() or answer.cancelled():
                with suppress(StoreError):
                    await say(notification("notifications/cancelled", {"requestId": question, "reason": "settled"}))
        if "error" in content:
            refused = content["error"]
            raise MCPError(refused["code"], refused["message"], refused.get("data"))
        told: dict[str, Any] = content["result"]
        return told

    async def log_from(self, level: str) -> None:
        """Send log messages from this level on; while Redis is out only this replica knows."""
        self.log_level = level
        with suppress(StoreError):
            await self._mailboxes.post(self.key, LOG_FROM, level)

    # what is followed

    async def follow(self, uri: str, changes: frozenset[str]) -> None:
        """Announce changes of a resource on the session's own stream from now on. Raises `StoreError`."""
        await self._mailboxes.post(self.key, FOLLOWS, {"uri": uri, "changes": sorted(changes)})
        await self.followed.add(uri, changes)

    async def unfollow(self, uri: str) -> None:
        """Announce its changes no more. Raises `StoreError`."""
        await self._mailboxes.post(self.key, UNFOLLOWS, uri)
        self.followed.remove(uri)

    async def announce(self, changed: Collection[str] | None) -> None:
        """Tell what is followed and changed, where the stream is open here; else keep it for a stream that comes."""
        for uri in await self.followed.concerned(changed):
            if self._outbox is None:
                self._missed.add(uri)
            else:
                self._outbox.put(notification(UPDATED, {"uri": uri}))

    # the session's own stream

    async def open_stream(self, stream: web.Request | None = None, *, noticing: Noticing | None = None) -> Outbox:
        """Have the session's own stream here from now on; one that is open elsewhere, or was before, ends.

        `stream` is the request of HTTP+SSE, as whose every message is run; `noticing` tells what its client hears of.
        What waited stands in the outbox; after an earlier stream, or for who sees a part, also news of all that is
        followed, for nobody knows what the client has missed.
        """
        self.end_stream()
        outbox = self._outbox = Outbox()
        self._stream = stream
        with suppress(StoreError):  # then it is a stream without what other replicas leave
            self._opened_at = await self._mailboxes.post(self.key, OPENED, outbox.name)
            self._read_to = "0-0"  # what could not be told before is told now
            await self.collect()
        await self.followed.heard_by(noticing)
        for uri in self.followed if self._had_stream or self.followed.in_part else self._missed:
            outbox.put(notification(UPDATED, {"uri": uri}))
        self._missed.clear()
        self._had_stream = True
        return outbox

    def leave_stream(self, outbox: Outbox) -> None:
        """The client has left this stream; nothing happens where a newer one has taken its place."""
        if self._outbox is outbox:
            self._outbox = None
        self.used_at = time.monotonic()

    def end_stream(self) -> None:
        """End the session's own stream, so that it holds up no shutdown."""
        if self._outbox is not None:
            self._outbox.put(None)
            self._outbox = None

    async def collect(self) -> None:
        """See to what was left in the mailbox since it was last read. Raises `StoreError`."""
        async with self._collecting:
            done = []
            for post in await self._mailboxes.read(self.key, self._read_to):
                self._read_to = post.id
                if await self._take(post):
                    done.append(post.id)
            await self._mailboxes.remove(self.key, *done)

    async def _take(self, post: Post) -> bool:
        """See to one thing that was left; return whether that was ours to do, and it may be taken out."""
        content = post.content
        match post.kind:
            case "follows":
                await self.followed.add(content["uri"], frozenset(content["changes"]), ask=False)
            case "unfollows":
                self.followed.remove(content)
            case "log_from":
                self.log_level = content
            case "opened":
                return self._give_way(post)
            case "closed":
                self.closed = True
            case "cancel":
                return self._cancel(content)
            case "answer":
                return self._answer(content["id"], content["content"])
            case "message" if self._outbox is not None:
                self._outbox.put(content)
                return True
            case "received" if self._stream is not None:
                await self.receive(message_of(content))
                return True
        return False

    def _give_way(self, opened: Post) -> bool:
        """End the stream here where a newer one was opened elsewhere; return whether it is the other that is older."""
        if self._outbox is not None and opened.content == self._outbox.name:
            return False
        self._had_stream = True
        if self._outbox is None:
            return False
        if opened.place > Post(self._opened_at, OPENED, None).place:
            self.end_stream()
            return False
        return True

    def _cancel(self, request_id: RequestId) -> bool:
        task = self._in_flight.get(request_id)
        return task is not None and task.cancel()

    def _answer(self, question: RequestId | None, content: dict[str, Any]) -> bool:
        answer = None if question is None else self._questions.get(question)
        if answer is None or answer.done():
            return False
        answer.set_result(content)
        return True

    async def let_go(self) -> None:
        """End what it does in this process; the session itself may be carried on elsewhere, and jobs go on."""
        self.end_stream()
        ending = {*self._in_flight.values(), *self._receiving} - {asyncio.current_task()}
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=ENDING_SECONDS)  # what they ask of Redis is over when it is closed
        await aclose_shielded(self._connection)


class _OnStream(Channel):
    """A message of HTTP+SSE: all that belongs to it goes on the session's own stream."""

    def __init__(self, stream: web.Request, message: RpcRequest | RpcNotification, session: Session) -> None:
        super().__init__(stream, message, session, "sse")
        self._session = session

    async def say(self, message: Reply) -> None:
        """Send one message on the session's own stream."""
        await self._session.tell(message)
