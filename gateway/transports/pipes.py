"""Lines over the standard descriptors, which every system can read and write in threads only."""

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Iterator

MAX_LINE_BYTES = 1 << 20
UNREAD_LINES = 16
CHUNK_BYTES = 1 << 16


class LineReader:
    """Reads lines in a daemon thread: the one way to wait for stdin that works everywhere and delays no exit."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(UNREAD_LINES)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    async def line(self) -> bytes | None:
        """Return the next line, or None when the conversation is over."""
        line = await self._inbox.get()
        self._room.release()
        return line

    def end(self) -> None:
        """Let the conversation be over, whatever the client still sends."""
        self._inbox.put_nowait(None)

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            for line in _lines(self._fd):
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, line)
            self._loop.call_soon_threadsafe(self.end)


class LineWriter:
    """Writes whole lines in a thread of its own; a daemon, so that a client that reads nothing delays no exit."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def write(self, line: bytes) -> None:
        """Return when the line is written; raise `OSError` when nobody can read it."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._lines.put((line, written))
        await written

    def _run(self) -> None:
        while True:
            line, written = self._lines.get()
            failure: OSError | None = None
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError as exc:
                failure = exc
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(_settle, written, failure)


def _settle(written: asyncio.Future[None], failure: OSError | None) -> None:
    if written.done():
        return
    if failure is None:
        written.set_result(None)
    else:
        written.set_exception(failure)


def _lines(fd: int) -> Iterator[bytes]:
    """Yield the lines of a descriptor; one longer than any message may be ends them."""
    rest = b""
    with contextlib.suppress(OSError):
        while len(rest) <= MAX_LINE_BYTES and (chunk := os.read(fd, CHUNK_BYTES)):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if 0 < len(rest) <= MAX_LINE_BYTES:
            yield rest


@contextlib.contextmanager
def moved(fd: int, stand_in: int) -> Iterator[int]:
    """Yield a private copy of a descriptor, with `stand_in` (closed here) in its place until the end of the block.

    The copy is left open: a thread may still wait on it.
    """
    private = os.dup(fd)
    os.dup2(stand_in, fd)
    os.close(stand_in)
    try:
        yield private
    finally:
        os.dup2(private, fd)
