"""The archive of the audit: lines of JSON to a file or to stdout, each written whole and at once."""

import os
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.core.errors import AuditUnavailable
from gateway.telemetry.logs import get_logger

STDOUT = "-"
MOST_PENDING = 10_000

log = get_logger(__name__)


class Archive:
    """Appends to one open file; what cannot be written is kept, in order, and tried again with the next line.

    Where `path` is moved away, as log rotation does, the lines that follow go to a new file of this name.
    """

    def __init__(self, file: int | None, path: Path | None = None) -> None:
        self._file, self._path = file, path
        self._pending: deque[bytes] = deque(maxlen=MOST_PENDING)

    @property
    def present(self) -> bool:
        """True where there is an archive at all."""
        return self._file is not None

    @property
    def unwritten(self) -> int:
        """How many lines wait to be written."""
        return len(self._pending)

    def write(self, line: str) -> None:
        """Append a line; one that cannot be written now is kept for later."""
        if self._file is None:
            return
        if self._path is not None and not self._pending:
            self._follow(self._file, self._path)
        self._pending.append(f"{line}\n".encode())
        self._drain(self._file)

    def _follow(self, file: int, path: Path) -> None:
        """Go on in a new file where the one that is open has another name by now."""
        with suppress(OSError):
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file)):
                return
            anew = _opened(path)
            os.dup2(anew, file)
            os.close(anew)

    def _drain(self, file: int) -> None:
        try:
            while self._pending:
                written = os.write(file, self._pending[0])
                if written < len(self._pending[0]):  # a full disk takes a part: the rest follows when there is room
                    self._pending[0] = self._pending[0][written:]
                else:
                    self._pending.popleft()
        except OSError as exc:
            log.warning("audit cannot be written", error=exc.strerror, waiting=len(self._pending))

    def require(self) -> None:
        """Raise `AuditUnavailable` while the archive takes nothing: what cannot be kept must not happen."""
        if self._file is not None and self._pending:
            self._drain(self._file)
        if self._pending:
            raise AuditUnavailable(f"the audit cannot be written: {len(self._pending)} entries wait")


@contextmanager
def open_archive(where: str) -> Iterator[Archive]:
    """Open the archive at a path, `-` for stdout, empty for none. Raises `AuditUnavailable`."""
    if where in ("", STDOUT):
        yield Archive(None if not where else sys.stdout.fileno())
        return
    try:
        file = _opened(Path(where))
    except OSError as exc:
        told = f"AUDIT_LOG: {where} cannot be opened: {exc.strerror}"
        raise AuditUnavailable(told, next_step="Set AUDIT_LOG to a file that can be written, or to `-`.") from None
    try:
        yield Archive(file, Path(where))
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    """Return a file to append to; a line that its last writer did not end, for it died or the disk was full, ends."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with suppress(OSError):  # one that may be written alone
        if stat.S_ISREG(os.fstat(file).st_mode) and _last_byte(path) not in (b"", b"\n"):
            os.write(file, b"\n")
    return file


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read(1)
