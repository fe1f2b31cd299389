"""A client that speaks stdio only, bridged to a remote gateway: JSON-RPC is relayed as it is, whatever its methods.

So a new tool needs no new bridge. It imports little: a client starts it anew each time.
"""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from gateway.core.errors import GatewayError
from gateway.transports.bridge_messages import (
    PARSE_ERROR,
    Message,
    Mirrors,
    events_of,
    failure,
    is_request,
    learn_mirrors,
    message_of,
    stateless_headers,
    version_of,
)
from gateway.transports.pipes import LineReader, LineWriter, moved

URL, TOKEN, CA_BUNDLE = "VERGEOS_MCP_URL", "VERGEOS_MCP_TOKEN", "VERGEOS_MCP_CA_BUNDLE"
SESSION = "Mcp-Session-Id"
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0  # the gateway pings every 15 s
RETRY_SECONDS = 8.0  # for requests that surely were not sent: a gateway that restarts is back by then
FIRST_PAUSE, LAST_PAUSE = 0.2, 10.0
LAST_ANSWERS_SECONDS = 5.0
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class CannotBridge(GatewayError):
    """The environment does not say where to, or names a CA that cannot be read."""

    code = "cannot_bridge"


@dataclass(frozen=True)
class Remote:
    """The gateway to talk to."""

    url: str
    tls: ssl.SSLContext | bool = True

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Remote":
        """Return the gateway that the environment names; raise `CannotBridge`."""
        base = environment.get(URL, "").strip().rstrip("/").removesuffix("/mcp")
        if not base.startswith(("http://", "https://")):
            raise CannotBridge(f"{URL} is not set to a URL", next_step=f"Set {URL}, e.g. https://vergeos.example.com.")
        if "@" in base:
            raise CannotBridge(f"{URL} must not hold a user or a password", next_step=f"{TOKEN} holds the key.")
        bundle = environment.get(CA_BUNDLE)
        if not bundle:
            return cls(f"{base}/mcp")
        try:
            return cls(f"{base}/mcp", ssl.create_default_context(cafile=bundle))
        except (OSError, ssl.SSLError) as exc:
            raise CannotBridge(f"{CA_BUNDLE}: {exc}", next_step="Name a file with the CA's certificate.") from None


async def run_bridge(environment: Mapping[str, str] = os.environ) -> None:
    """Relay between stdin and stdout and the gateway until stdin ends. Raises `CannotBridge`.

    The token is read from the environment at each request. Meanwhile a stray print cannot touch the wire.
    """
    remote = Remote.of(environment)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    with moved(0, os.open(os.devnull, os.O_RDONLY)) as stdin, moved(1, os.dup(2)) as stdout:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            reader, writer = LineReader(stdin), LineWriter(stdout)
            await Bridge(remote, http, writer.write, lambda: environment.get(TOKEN)).run(_lines(reader))


async def _lines(reader: LineReader) -> AsyncIterator[bytes]:
    while (line := await reader.line()) is not None:
        if line.strip():
            yield line


class _SessionGone(Exception):
    """The gateway does not know the session any more; the request was not run."""


class Bridge:
    """One client's conversation. `write` takes whole lines, `token` is asked at each request."""

    def __init__(
        self,
        remote: Remote,
        http: aiohttp.ClientSession,
        write: Callable[[bytes], Awaitable[None]],
        token: Callable[[], str | None],
    ) -> None:
        self._remote, self._http, self._write, self._token = remote, http, write, token
        self._mirrors: Mirrors = {}
        self._relaying: dict[Any, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()
        self._handshake: Message | None = None
        self._session: str | None = None
        self._version: str | None = None
        self._beginning = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Relay until there are no more lines; then give what is unanswered a moment, and end the session."""
        async for line in lines:
            message = message_of(line)
            if message is None:
                await self._say(failure(None, "Not a JSON-RPC 2.0 message", code=PARSE_ERROR))
            elif message.get("method") == "initialize":
                self._handshake = message
                await self._relay(message)
            else:
                self._take(message)
        if self._relaying:
            await asyncio.wait(self._relaying.values(), timeout=LAST_ANSWERS_SECONDS)
        await self._end()

    def _take(self, message: Message) -> None:
        if is_request(message):
            task = self._start(self._relay(message))
            self._relaying[message["id"]] = task
            task.add_done_callback(lambda _: self._relaying.pop(message["id"], None))
            return
        if message.get("method") == "notifications/cancelled" and self._session is None:
            relaying = self._relaying.get((message.get("params") or {}).get("requestId"))
            if relaying is not None:
                relaying.cancel()  # closing the connection is how a stateless request is cancelled
            return
        self._start(self._tell(message))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task

    async def _end(self) -> None:
        for task in tuple(self._others):
            task.cancel()
        if self._session is not None:
            with suppress(*BROKEN):
                async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                    await self._http.delete(self._remote.url, headers=self._headers(None), ssl=self._remote.tls)

    async def _say(self, message: Message | bytes) -> None:
        await self._write((message if isinstance(message, bytes) else orjson.dumps(message)) + b"\n")

    # one request

    async def _relay(self, message: Message) -> None:
        """Send a request and copy what comes back; its answer is always written, if only to say what went wrong."""
        try:
            answered = await self._once_more_after(message)
            words = "the gateway ended the answer before it was complete" if not answered else None
        except NOT_SENT as exc:
            words = _unreachable(exc, self._remote)
        except aiohttp.ClientHttpProxyError as exc:
            words = f"the proxy that HTTPS_PROXY names answered {exc.status}; nothing was sent"
        except _SessionGone:
            words = "the session is over and could not be begun anew; restart the client's server"
        except BROKEN as exc:
            words = f"the connection was lost ({type(exc).__name__}) after the request was sent"
        if words is not None:
            await self._say(failure(message["id"], f"{words}. {_advice(message)}", data={"code": "gateway_lost"}))

    async def _once_more_after(self, message: Message) -> bool:
        """Send a request, once more after the session was begun anew; return whether its answer was written."""
        session = self._session
        try:
            return await self._send(message)
        except _SessionGone:
            await self._begin_anew(session)
            return await self._send(message)

    async def _send(self, message: Message) -> bool:
        """POST a message, trying again for some seconds while the gateway takes no connections."""
        pause, last = FIRST_PAUSE, asyncio.get_running_loop().time() + RETRY_SECONDS
        while True:
            try:
                async with self._posted(message) as reply:
                    return await self._copy(reply, message)
            except aiohttp.ClientConnectorCertificateError:
                raise
            except NOT_SENT:
                if asyncio.get_running_loop().time() + pause > last:
                    raise
                await asyncio.sleep(pause)
                pause *= 2

    def _posted(self, message: Message) -> Any:
        return self._http.post(
            self._remote.url, data=orjson.dumps(message), headers=self._headers(message), ssl=self._remote.tls
        )

    def _headers(self, message: Message | None) -> dict[str, str]:
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        version = None if message is None else version_of(message)
        if message is not None and version is not None:
            return headers | stateless_headers(message, version, self._mirrors)
        if self._session is not None and (message is None or message.get("method") != "initialize"):
            headers[SESSION] = self._session
            headers |= {"MCP-Protocol-Version": self._version} if self._version else {}
        return headers

    async def _copy(self, reply: aiohttp.ClientResponse, message: Message) -> bool:
        """Write what a reply holds; return whether it held the answer."""
        if reply.status == 404 and SESSION in reply.request_info.headers:
            raise _SessionGone
        if reply.content_type == "text/event-stream":
            return await self._copy_stream(reply, message)
        body = message_of(await reply.read())
        if body is None or "method" in body:
            await self._say(failure(message["id"], _refusal(reply.status), data={"code": "gateway_refused"}))
        else:
            await self._answer(reply, message, body | {"id": message["id"]})
        return True

    async def _copy_stream(self, reply: aiohttp.ClientResponse, message: Message) -> bool:
        async for event in events_of(reply.content.iter_any()):
            told = message_of(event)
            if told is None:
                continue
            if "method" not in told and told.get("id") == message["id"]:
                await self._answer(reply, message, told)
                return True
            await self._say(event)
        return False

    async def _answer(self, reply: aiohttp.ClientResponse, message: Message, answer: Message) -> None:
        if message["method"] == "initialize" and "result" in answer:
            self._session = reply.headers.get(SESSION)
            self._version = (answer.get("result") or {}).get("protocolVersion")
        elif message["method"] == "tools/list":
            learn_mirrors(answer, self._mirrors)
        await self._say(answer)

    # what wants no answer

    async def _tell(self, message: Message) -> None:
        """Send a notification, or the client's answer to a question; one that cannot be sent is lost."""
        try:
            async with self._posted(message) as reply:
                await reply.read()
        except BROKEN as exc:
            _complain(f"a {message.get('method', 'response')} was lost: {type(exc).__name__}")
        if message.get("method") == "notifications/initialized" and self._session is not None:
            self._listen()

    def _listen(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._listening = self._start(self._listen_for_ever())

    async def _listen_for_ever(self) -> None:
        """Copy the session's own stream, opened again whenever it ends."""
        pause = FIRST_PAUSE
        while True:
            session = self._session
            with suppress(*BROKEN, _SessionGone):
                async with self._http.get(self._remote.url, headers=self._headers(None), ssl=self._remote.tls) as reply:
                    if reply.status == 405:
                        return
                    if reply.status == 404:
                        await self._begin_anew(session)
                    elif reply.status == 200:
                        pause = FIRST_PAUSE
                        async for event in events_of(reply.content.iter_any()):
                            await self._say(event)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    async def _begin_anew(self, lost: str | None) -> None:
        """Shake hands again in the client's name, once for all requests that met the same lost session."""
        async with self._beginning:
            if self._session != lost or self._handshake is None:
                return
            async with self._posted(self._handshake) as reply:
                await reply.read()
                if SESSION not in reply.headers:
                    raise _SessionGone
                self._session = reply.headers[SESSION]
            async with self._posted({"jsonrpc": "2.0", "method": "notifications/initialized"}) as reply:
                await reply.read()


def _unreachable(exc: Exception, remote: Remote) -> str:
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {remote.url} cannot be verified; {CA_BUNDLE} names the file of your own CA"
    return f"no connection to {remote.url} for {RETRY_SECONDS:g} s; nothing was sent"


def _refusal(status: int) -> str:
    if status in {401, 403}:
        return f"the gateway answered {status}: set {TOKEN} to a valid token"
    return f"the gateway, or a proxy before it, answered {status}. Check {URL} and call again"


def _advice(message: Message) -> str:
    if message["method"] == "tools/call":
        return "Make the same call again: what was accepted meanwhile is answered with its own job, not done twice"
    return "Ask again"


def _complain(words: str) -> None:
    sys.stderr.write(f"vergeos-gateway bridge: {words}\n")
