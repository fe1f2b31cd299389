"""One HTTP exchange with VergeOS, in full: connections, TLS, limits of time and size, and what each break means."""

import asyncio
import errno
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from yarl import URL

from gateway import __version__
from gateway.core.errors import (
    VergeOSBadAnswer,
    VergeOSCertificate,
    VergeOSDropped,
    VergeOSTimeout,
    VergeOSUnreachable,
)
from gateway.core.text import clean
from gateway.settings import Settings
from gateway.telemetry import traces

REASON_LIMIT = 300
MEGABYTE = 1 << 20
CHUNK_BYTES = 1 << 16
CONNECT_SECONDS = 5.0
CONNECT_SHARE = 0.8  # of the whole time: the rest tells a slow answer from a connection that never came
IDLE_SECONDS = 4.0  # below the idle limit of common servers, so that a request seldom meets a closing connection
FINGERPRINT_SECONDS = 1.0
_HEADERS = {"Accept": "application/json", "User-Agent": f"vergeos-gateway/{__version__}"}


@dataclass(frozen=True)
class Request:
    """What is sent: `path` follows the base URL, `body` is JSON. `endpoint` and `row` name it in errors and metrics."""

    method: str
    path: str
    endpoint: str
    row: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint}{'/' if self.row else ''}{self.row}"


@dataclass(frozen=True)
class Answer:
    """What came back: the status and the whole body."""

    status: int
    body: bytes
    retry_after: str | None


class CutOff(VergeOSBadAnswer):
    """The connection broke in the middle of an answer; a read may be repeated like one that was dropped before it."""

    retryable = True


class _Cut(ClientError):
    """The connection broke before an answer. Of a class of its own, for aiohttp would silently send again."""


async def _never_twice(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    try:
        return await handler(request)
    except (ConnectionTimeoutError, ClientConnectorError):
        raise
    except (ClientOSError, ServerDisconnectedError) as exc:
        raise _Cut(str(exc)) from exc


class Exchange:
    """The connections to one VergeOS."""

    def __init__(self, base_url: str, kept: ClientSession, fresh: ClientSession, max_answer_bytes: int) -> None:
        self._base_url = base_url
        self._kept = kept
        self._fresh = fresh
        self._max_answer_bytes = max_answer_bytes

    async def send(self, request: Request, headers: Mapping[str, str], seconds: float) -> Answer:
        """Send once and return the whole answer, whatever its status; redirects are not followed.

        A POST gets a fresh connection: on a kept one that VergeOS is just closing, nobody could tell
        whether it was done. `seconds` bounds all of it. Raises VergeOSUnreachable and VergeOSCertificate if nothing
        was sent, else VergeOSDropped, VergeOSTimeout or VergeOSBadAnswer.
        """
        try:
            with traces.span(f"VergeOS {request.method} {request.endpoint}", kind="client"):
                return await self._sent(request, headers, seconds)
        except ClientConnectorCertificateError as exc:
            raise await self._mistrusted(request, exc) from exc
        except ConnectionTimeoutError as exc:
            raise VergeOSUnreachable(f"{request}: no connection to {self._base_url} in time") from exc
        except ClientConnectorError as exc:
            raise VergeOSUnreachable(f"{request}: no connection to {self._base_url}: {_why(exc.os_error)}") from exc
        except TimeoutError as exc:
            raise VergeOSTimeout(f"{request}: no whole answer within {seconds:g} s") from exc
        except (_Cut, OSError) as exc:
            raise VergeOSDropped(f"{request}: the connection broke before an answer") from exc
        except ClientPayloadError as exc:
            raise CutOff(f"{request}: the answer is cut off") from exc
        except ClientError as exc:
            raise VergeOSBadAnswer(f"{request}: the answer is not HTTP") from exc

    async def _sent(self, request: Request, headers: Mapping[str, str], seconds: float) -> Answer:
        session = self._fresh if request.method == "POST" else self._kept
        content = {} if request.body is None else {"Content-Type": "application/json"}
        timeout = ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, seconds * CONNECT_SHARE))
        async with session.request(
            request.method,
            self.url(request),
            headers={**headers, **content},
            data=request.body,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            body = await self._body(request, response)
            return Answer(response.status, body, response.headers.get("Retry-After"))

    def url(self, request: Request) -> URL:
        """Return the request's URL; every character that could be misread is encoded."""
        query = urlencode(request.query, quote_via=quote, safe=",$")
        return URL(f"{self._base_url}{request.path}{'?' if query else ''}{query}", encoded=True)

    async def _body(self, request: Request, response: ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_answer_bytes:
                limit = self._max_answer_bytes // MEGABYTE
                raise VergeOSBadAnswer(f"{request}: the answer is larger than {limit} MB (VERGEOS_MAX_ANSWER_MB)")
        return bytes(body)

    async def _mistrusted(self, request: Request, exc: ClientConnectorCertificateError) -> VergeOSCertificate:
        reason = getattr(exc.certificate_error, "verify_message", "") or "it cannot be verified"
        shown = await _certificate_fingerprint(exc.host, exc.port or 443)
        return VergeOSCertificate(
            f"{request}: the certificate of {self._base_url} is not trusted: {reason}. Its SHA-256 fingerprint is "
            f"{shown}. If it is the right one: VERGEOS_CA_BUNDLE names a file with the CA that signed it (or with "
            "the certificate itself), VERGEOS_VERIFY_SSL=false trusts any.",
            fingerprint=shown,
        )


def _why(error: OSError) -> str:
    """Return the reason in plain words; asyncio hides a refusal behind the name of its own call."""
    number = error.errno or 0
    if number in errno.errorcode and not isinstance(error, ssl.SSLError):
        return os.strerror(number)
    return clean(error.strerror or type(error).__name__, REASON_LIMIT)


async def _certificate_fingerprint(host: str, port: int) -> str:
    """Fetch the certificate that was refused, for the reader to compare; nothing else is sent."""
    try:
        async with asyncio.timeout(FINGERPRINT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=_trusting_all())
            try:
                presented: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
    except OSError:
        return "unknown (it could not be fetched)"
    return hashlib.sha256(presented).digest().hex(":").upper()


def _trusting_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _tls(base_url: str, settings: Settings) -> ssl.SSLContext | bool:
    if not base_url.startswith("https:"):
        return True  # unused; to load the system's authorities would take longer than all the rest
    if not settings.vergeos_verify_ssl:
        return _trusting_all()
    if settings.vergeos_ca_bundle is None:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=settings.vergeos_ca_bundle)
    except OSError as exc:
        raise VergeOSCertificate(
            f"VERGEOS_CA_BUNDLE: {settings.vergeos_ca_bundle} cannot be read as certificates in PEM form"
        ) from exc
    # Certificates that an appliance made for itself often lack what newer Pythons demand of a CA's.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@asynccontextmanager
async def open_exchange(settings: Settings) -> AsyncIterator[Exchange]:
    """Open the connections to VergeOS; nothing is sent yet.

    Raises VergeOSUnreachable for an unusable VERGEOS_HOST, VergeOSCertificate for an unreadable VERGEOS_CA_BUNDLE.
    """
    base_url = _checked(settings.base_url)
    tls = await asyncio.to_thread(_tls, base_url, settings)
    async with (
        _session(TCPConnector(ssl=tls, limit=0, keepalive_timeout=IDLE_SECONDS)) as kept,
        _session(TCPConnector(ssl=tls, limit=0, force_close=True)) as fresh,
    ):
        yield Exchange(base_url, kept, fresh, settings.vergeos_max_answer_mb * MEGABYTE)


def _session(connector: TCPConnector) -> ClientSession:
    """Proxies of the environment and cookies are left out: both could change who asks whom."""
    return ClientSession(
        connector=connector, headers=_HEADERS, cookie_jar=DummyCookieJar(), middlewares=(_never_twice,)
    )


def _checked(base_url: str) -> str:
    wrong = _wrong_with(base_url)
    if wrong:
        raise VergeOSUnreachable(
            f"VERGEOS_HOST {wrong}", next_step="Set VERGEOS_HOST to VergeOS' host, host:port or https URL."
        )
    return str(URL(base_url)).rstrip("/")


def _wrong_with(base_url: str) -> str:
    if not base_url:
        return "is not set"
    try:
        url = URL(base_url)
    except ValueError:
        return "is not an address"
    if url.scheme not in {"http", "https"} or not url.host:
        return "is not an http or https address"
    if url.user or url.password:
        return "must not hold a user or a password: VERGEOS_USER and VERGEOS_PASS do"
    return "must not hold a query" if url.query_string or url.fragment else ""
