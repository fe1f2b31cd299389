"""HTTP requests as bytes over a blocking socket, for what no client would send."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass

ANSWER_SECONDS = 20  # what takes longer hangs


@dataclass(frozen=True)
class Raw:
    """An answer: its status, 0 where the connection was closed without one, and its body as far as it was read."""

    status: int
    media: str
    body: bytes

    @property
    def message(self):
        """The JSON body, or the data of the first event; None where there is none."""
        if self.media == "text/event-stream":
            told = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
            return json.loads(told[0]) if told else None
        return json.loads(self.body) if self.media == "application/json" else None


def head_of(method, path, headers):
    """Return the first bytes of a request; `headers` are pairs of bytes."""
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return method + b" " + path + b" HTTP/1.1\r\n" + lines + b"\r\n"


def exchange(port, head, body=b""):
    """Send a request and return its answer; of an event stream only the first event. Raises `TimeoutError`."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as link:
        with suppress(ConnectionError):  # refused before it was read to its end
            link.sendall(head + body)
        return _answer(link)


def _answer(link):
    heard = b""
    with suppress(ConnectionError):
        while chunk := link.recv(1 << 16):
            heard += chunk
            if b"text/event-stream" in heard and (b"\ndata: " in heard or b"\n: ping" in heard):
                break
    top, _, body = heard.partition(b"\r\n\r\n")
    status, *lines = top.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(body.split(b"\r\n")[1::2]) if headers["content-type"] != "text/event-stream" else body
    return Raw(int(status.split()[1]) if heard else 0, headers.get("content-type", "").partition(";")[0], body)
