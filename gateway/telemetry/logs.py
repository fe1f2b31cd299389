"""Log lines: one JSON object a line, or readable text on a terminal; to stderr, never a secret."""

import atexit
import logging
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
import structlog

from gateway.telemetry.lines import Lines

get_logger = structlog.stdlib.get_logger

_FIELDS: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})  # noqa: B039  replaced, never changed
_log = get_logger("gateway")
_root = logging.getLogger()
_lines: Lines | None = None
"""Where lines of calls go, if nobody reads along on a terminal."""


def configure(level: str) -> None:
    """Send every log line of the process, the libraries' too, through one chain to stderr."""
    global _lines
    flush()
    _lines = None if sys.stderr.isatty() else Lines(sys.stderr.fileno())
    shared: list[Any] = [
        _merge_fields,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = _for_people() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    out = _InTurn(sys.stderr)
    out.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(level)
    logging.getLogger("arq").setLevel(logging.WARNING)  # every Retry is an INFO line
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # malformed requests, answered by aiohttp itself


def _for_people() -> structlog.dev.ConsoleRenderer:
    """Return a renderer whose tracebacks show no variables: they hold arguments and settings."""
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _merge_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_FIELDS.get(), **event}


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add these fields to every log line of the block."""
    token = bind(fields)
    try:
        yield
    finally:
        unbind(token)


def bind(fields: Mapping[str, Any]) -> Token[Mapping[str, Any]]:
    """Add these fields to every log line until they are taken back by `unbind`."""
    return _FIELDS.set({**_FIELDS.get(), **fields})


def unbind(token: Token[Mapping[str, Any]]) -> None:
    """Take back what `bind` added."""
    _FIELDS.reset(token)


def line(level: int, event: str, **fields: Any) -> None:
    """Log what happens with every call: as the logger would, at a tenth of its cost where no person reads along."""
    if not _root.isEnabledFor(level):
        return
    if _lines is None:
        _log.log(level, event, **fields)
        return
    told = {**_FIELDS.get(), **fields, "event": event, "level": logging.getLevelName(level).lower()}
    told["timestamp"] = datetime.now(UTC)
    _lines.add(str, orjson.dumps(told, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE).decode())
    if level >= logging.WARNING:
        _lines.flush()


class UsualLine:
    """A line at the level INFO that comes again and again, of calls of `process`; what is the same is text already."""

    def __init__(self, event: str, process: str, **same: str) -> None:
        self._event, self._process, self._same = event, process, same
        self._text = orjson.dumps({"event": event, "level": "info", **same})[:-1].decode() + f',"call":"{process}-'

    def tell(self, call: int, seconds: float) -> None:
        """Log it of the process's call of this number."""
        if _lines is None or _FIELDS.get():
            line(logging.INFO, self._event, **self._same, call=f"{self._process}-{call:x}", seconds=round(seconds, 6))
        elif _root.isEnabledFor(logging.INFO):
            _lines.add(self._made, call, seconds, time.time())

    def _made(self, call: int, seconds: float, now: float) -> str:
        return f'{self._text}{call:x}","seconds":{seconds:.6f},"timestamp":"{_moment(int(now * 1000))}"}}\n'


@lru_cache(maxsize=2)
def _moment(milliseconds: int) -> str:
    """Return a moment, in milliseconds since 1970, as the other lines tell it; many lines are of the same one."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}000Z"


@atexit.register
def flush() -> None:
    """Write the lines that are held; nothing that is written by another way may come before them."""
    if _lines is not None:
        _lines.flush()


class _InTurn(logging.StreamHandler[Any]):
    """Writes after the lines that came before."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        flush()
        super().emit(record)
