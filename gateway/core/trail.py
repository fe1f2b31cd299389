"""The requests to VergeOS that a job made, kept beside its record: what was asked and how it went, never a body."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class UpstreamCall(BaseModel):
    """One request to VergeOS; `at` is Redis' Unix seconds, `outcome` is "ok", "cancelled" or the failure's code."""

    model_config = ConfigDict(frozen=True)

    at: float
    method: str
    endpoint: str
    outcome: str
    ms: int


@dataclass(frozen=True)
class Sent:
    """One request as the client saw it; `began` is the process' monotonic clock."""

    began: float
    method: str
    endpoint: str
    outcome: str
    seconds: float

    def call(self, clock: float) -> UpstreamCall:
        """Return the request with its time, given Redis' time at zero of the monotonic clock."""
        return UpstreamCall(
            at=round(self.began + clock, 3),
            method=self.method,
            endpoint=self.endpoint,
            outcome=self.outcome,
            ms=round(self.seconds * 1000),
        )


_sent: ContextVar[list[Sent] | None] = ContextVar("sent", default=None)


@contextmanager
def kept() -> Iterator[list[Sent]]:
    """Yield the list to which every request is added that this block, and the tasks it starts, send to VergeOS."""
    sent: list[Sent] = []
    token = _sent.set(sent)
    try:
        yield sent
    finally:
        _sent.reset(token)


def note(sent: Sent) -> None:
    """Add a request to the list of the block around, where there is one."""
    if (kept_here := _sent.get()) is not None:
        kept_here.append(sent)
