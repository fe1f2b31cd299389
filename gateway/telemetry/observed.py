"""One call or step, observed: its span, its figures and its log line, in one place."""

import asyncio
import itertools
import logging
import secrets
import time
from functools import lru_cache
from types import TracebackType

from gateway.core.access import Caller
from gateway.core.errors import GatewayError
from gateway.telemetry import logs, traces
from gateway.telemetry.metrics import Metrics

PROCESS = secrets.token_hex(4)  # with a number it is a call's id: unlike any other's, and cheap
CALLS = itertools.count(1)
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


@lru_cache(maxsize=1024)
def _usual(site: str, tool: str, face: str, caller: str) -> logs.UsualLine:
    return logs.UsualLine("call", PROCESS, site=site, caller=caller, tool=tool, face=face, outcome="ok")


def note_answered(
    metrics: Metrics, *, site: str, tool: str, face: str, caller: Caller, seconds: float, tells: bool = True
) -> None:
    """Observe a call that went well before anybody had to wait for it: as `observed_call` does, but for the span."""
    metrics.called(tool, face, caller, "ok", seconds)
    if tells:
        _usual(site, tool, face, caller.name).tell(next(CALLS), seconds)


class observed_call:  # noqa: N801  used as a context manager function; a generator would cost the half of it again
    """Observe one call of a tool; everything logged in the block carries its id. `traceparent` is its caller's.

    Without `tells` one that went well has no line of its own.
    """

    def __init__(
        self, metrics: Metrics, *, site: str, tool: str, face: str, caller: Caller, traceparent: str, tells: bool = True
    ) -> None:
        self._metrics, self._tells = metrics, tells
        self._tool, self._face, self._caller = tool, face, caller
        self._span = traces.span(
            f"call {tool}", parent=traceparent, kind="server", tool=tool, face=face, caller=caller.name
        )
        self._fields = {
            "site": site,
            "call": f"{PROCESS}-{next(CALLS):x}",
            "caller": caller.name,
            "tool": tool,
            "face": face,
        }
        self._outcome = Outcome()

    def __enter__(self) -> Outcome:
        self._began = time.perf_counter()
        self._span.__enter__()
        self._token = logs.bind(self._fields)
        return self._outcome

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = self._outcome
        if isinstance(error, GatewayError):
            outcome.failed(error)
        elif isinstance(error, asyncio.CancelledError):
            outcome.left()
        seconds = time.perf_counter() - self._began
        self._metrics.called(self._tool, self._face, self._caller, outcome.label, seconds)
        if self._tells or outcome.label != "ok":
            told = {} if outcome.job is None else {"job": outcome.job}
            logs.line(outcome.level, "call", outcome=outcome.label, seconds=round(seconds, 6), **told)
        logs.unbind(self._token)
        self._span.__exit__(kind, error, trace)
