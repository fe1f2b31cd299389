"""One call or step, observed: its span, its figures and its log line, in one place."""

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.core.access import Caller
from gateway.core.errors import GatewayError
from gateway.telemetry import logs, traces
from gateway.telemetry.metrics import Metrics

SERVER_FAULTS = 500  # from this HTTP status on it is not the caller who was wrong


class Outcome:
    """How a call ended, for label and line; a call that ends in no other way has failed."""

    def __init__(self) -> None:
        self.label = "internal"
        self.level = logging.ERROR
        self.job: str | None = None

    def ok(self, *, job: str | None = None) -> None:
        """The call was answered as it was asked, with this job where it made or asked for one."""
        self.label, self.level, self.job = "ok", logging.INFO, job

    def left(self) -> None:
        """The caller went away, or took the call back, before it was answered."""
        self.label, self.level = "left", logging.INFO

    def failed(self, error: GatewayError) -> None:
        """The call ended with an error that its caller was told."""
        self.label = error.code
        self.level = logging.WARNING if error.status >= SERVER_FAULTS else logging.INFO


@contextmanager
def observed_call(
    metrics: Metrics, *, site: str, tool: str, face: str, caller: Caller, traceparent: str, tells: bool = True
) -> Iterator[Outcome]:
    """Observe one call of a tool; everything logged in the block carries its id. `traceparent` is its caller's.

    Without `tells` one that went well has no line of its own.
    """
    outcome, began = Outcome(), time.perf_counter()
    with (
        traces.span(f"call {tool}", parent=traceparent, kind="server", tool=tool, face=face, caller=caller.name),
        logs.bound(site=site, call=secrets.token_hex(6), caller=caller.name, tool=tool, face=face),
    ):
        try:
            yield outcome
        except GatewayError as exc:
            outcome.failed(exc)
            raise
        except asyncio.CancelledError:
            outcome.left()
            raise
        finally:
            seconds = time.perf_counter() - began
            metrics.called(tool, face, caller, outcome.label, seconds)
            if tells or outcome.label != "ok":
                told = {} if outcome.job is None else {"job": outcome.job}
                logs.line(outcome.level, "call", outcome=outcome.label, seconds=round(seconds, 6), **told)
