"""Lines on their way to a file, several at once: a write for each would cost a call more than its line does."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

MOST_HELD: Final = 64  # lines, of some 250 bytes each
HELD_SECONDS: Final = 0.05  # what a process that is killed may owe


class Lines:
    """Writes lines in the order in which they came, each after `HELD_SECONDS` at the latest; without a loop at once.

    Who writes to the same file by another way flushes before. Any thread may do either.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._held: deque[tuple[Callable[..., str], tuple[Any, ...]]] = deque()
        self._writing = threading.Lock()
        self._due_in: asyncio.AbstractEventLoop | None = None

    def add(self, made: Callable[..., str], *values: Any) -> None:
        """Take one whole line, which is made of these values when it is written: many at once are made faster."""
        held = self._held
        held.append((made, values))
        if len(held) == 1:  # for the first of several only: to look for the loop costs more than to take a line
            self._have_flushed_soon()
        elif len(held) >= MOST_HELD:
            self.flush()

    def _have_flushed_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due_in is not loop:  # one at a time: each would cut a later lot of lines in two
            self._due_in = loop
            loop.call_later(HELD_SECONDS, self._due)

    def _due(self) -> None:
        self._due_in = None
        self.flush()

    def flush(self) -> None:
        """Write what is held; a file that takes nothing loses it, and harms nobody."""
        held = self._held
        if not held:
            return
        with self._writing:
            lines = [held.popleft() for _ in range(len(held))]
            whole = "".join([made(*values) for made, values in lines]).encode()
            with suppress(OSError):
                while whole:
                    whole = whole[os.write(self._file, whole) :]
