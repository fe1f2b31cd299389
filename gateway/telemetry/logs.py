"""Log lines: one JSON object a line, or readable text on a terminal; to stderr, never a secret."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

get_logger = structlog.stdlib.get_logger


def configure(level: str) -> None:
    """Send every log line of the process, the libraries' too, through one chain to stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = _for_people() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    out = logging.StreamHandler(sys.stderr)
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


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add these fields to every log line of the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield
