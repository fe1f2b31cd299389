"""Reads over HTTP whose bytes are made once: later ones of them differ in date and age only."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from aiohttp.web_request import BaseRequest

OWN_HEADERS = {"X-Content-Type-Options": "nosniff", hdrs.SERVER: "vergeos-gateway"}
"""Of every answer; the libraries' versions are nobody's business."""

JSON = "application/json"
REPEATED_BYTES = 256 * 1024  # a greater body is joined to its headers each time: to keep both would cost its size again


@dataclass(frozen=True)
class Ready:
    """The body of a read with its headers, but for those that change with time; `as_of` in Unix seconds."""

    body: bytes
    headers: Mapping[str, str]
    as_of: float | None = None
    tag: str = field(init=False)
    _heads: Mapping[int, bytes] = field(init=False)
    _latest: dict[int, tuple[int, int, "_Sent"]] = field(init=False, default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        tag = f'"{hashlib.sha256(self.body).hexdigest()[:24]}"'
        told = {**self.headers, hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "private, no-cache"}
        whole = told | {hdrs.CONTENT_TYPE: JSON, hdrs.CONTENT_LENGTH: str(len(self.body))}
        object.__setattr__(self, "headers", told)
        object.__setattr__(self, "tag", tag)
        object.__setattr__(self, "_heads", {200: _head("200 OK", whole), 304: _head("304 Not Modified", told)})

    def response(self, request: web.Request) -> web.StreamResponse:
        """Answer the read, or 304 where the client has these very bytes. What tells the age stands in headers for that.

        What most clients send is answered with bytes that are ready; aiohttp makes the rest of the responses.
        """
        now = time.time()
        age = None if self.as_of is None else max(int(now - self.as_of), 0)
        status = 304 if self._is_known_to(request) else 200
        if is_plain(request):
            return self._sent(status, int(now), -1 if age is None else age)
        headers = dict(self.headers)
        if age is not None:
            headers[hdrs.AGE] = str(age)
        if status == 304:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, headers=headers, content_type=JSON)

    def _sent(self, status: int, second: int, age: int) -> "_Sent":
        """Return the whole answer of this second; it is made anew when the date or the age changes."""
        latest = self._latest.get(status)
        if latest is not None and latest[0] == second and latest[1] == age:
            return latest[2]
        told = b"" if age < 0 else b"Age: %d\r\n" % age
        body = self.body if status == 200 else b""
        sent = _Sent(status, b"".join((self._heads[status], told, _date(second), body)))
        if len(body) <= REPEATED_BYTES:
            self._latest[status] = second, age, sent
        return sent

    def _is_known_to(self, request: web.Request) -> bool:
        named = request.headers.get(hdrs.IF_NONE_MATCH)
        if named is None or named == self.tag:
            return named is not None
        return any(known.value in {self.tag[1:-1], "*"} for known in request.if_none_match or ())


class _Sent(web.StreamResponse):
    """A response that is nothing but bytes, to one request or to many; it carries `OWN_HEADERS` already."""

    def __init__(self, status: int, whole: bytes) -> None:
        super().__init__(status=status)
        self._whole = whole

    @property
    def keep_alive(self) -> bool:
        """Tell that the connection stays: only such requests are answered so."""
        return True

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Send everything, and wait for a client that reads more slowly than it asks."""
        writer = request.writer
        await writer.write(self._whole)
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything was sent."""


def is_plain(request: web.Request) -> bool:
    """Tell whether bytes that are ready answer a request: as most clients send it, on a connection that stays."""
    usual = request.method == hdrs.METH_GET and request.version == HttpVersion11 and request.keep_alive
    return usual and hdrs.ORIGIN not in request.headers  # to a page of another site more is said


def _head(status: str, headers: Mapping[str, str]) -> bytes:
    lines = (f"{name}: {value}\r\n" for name, value in {**OWN_HEADERS, **headers}.items())
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}".encode()


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    """Return the header that tells the time, and the end of the headers."""
    return f"Date: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
