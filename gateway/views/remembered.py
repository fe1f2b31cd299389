"""What readers work with, and what one remembers: rows, the moment they are of, the way to VergeOS under way."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

from gateway.core.answer import Source
from gateway.core.errors import UpstreamError, VergeOSBadAnswer, VergeOSCertificate, VergeOSUnauthorized
from gateway.core.pace import UNHURRIED, Pace
from gateway.store.rows import Head, ViewStore
from gateway.vergeos.client import VergeClient
from gateway.views.outage import Outage
from gateway.views.rows import Rows

T = TypeVar("T", bound=BaseModel)

STALE_SECONDS = 600.0  # older rows are not shown even while VergeOS cannot be asked, unless a setting says otherwise


def _nobody(*_: object) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Surroundings:
    """What readers work with.

    `clock` measures ages and never goes back; `wall` is Unix time, used only while Redis' time is not to be
    had. `owner` names this process where processes agree on who refills. `pace` makes lifetimes follow the budget.
    `outage` is shared by all readers; `shared` hears the kind of a view with each read that joins one under way,
    `changed` the name and generation of a view that a read of another one changed.
    """

    vergeos: VergeClient
    store: ViewStore
    owner: str
    clock: Callable[[], float]
    wall: Callable[[], float]
    pace: Pace = UNHURRIED
    stale_seconds: float = STALE_SECONDS
    outage: Outage = field(default_factory=Outage)
    shared: Callable[[str], None] = _nobody
    changed: Callable[[str, int], None] = _nobody


def cannot_be_asked(error: UpstreamError) -> bool:
    """Tell whether VergeOS is out of reach or talks nonsense, rather than having answered that it will not."""
    return error.retryable or isinstance(error, VergeOSUnauthorized | VergeOSCertificate | VergeOSBadAnswer)


@dataclass(frozen=True)
class Moment:
    """A head and the local time just before it was asked for, by which its times are known on our clock."""

    head: Head
    at: float

    @property
    def asked_at(self) -> float | None:
        """When VergeOS was asked for the stored rows, on our clock and rather too early than too late.

        None where there are none, or where Redis' clock went back: their age is unknown then.
        """
        if self.head.as_of is None or self.head.as_of > self.head.now:
            return None
        return self.at - (self.head.now - self.head.as_of)


@dataclass
class Memo(Generic[T]):
    """What this process remembers; `parsed` holds each row by its stored bytes, so that only changed ones are read."""

    rows: Rows[T]
    parsed: Mapping[bytes, T]
    asked_at: float
    outdated: bool = False  # changed since, by whichever process
    reads: int = 0  # since it was remembered
    renewing: bool = False


@dataclass(frozen=True)
class Flight(Generic[T]):
    """One way to VergeOS; it may come back with stored rows asked for after `not_before`."""

    task: asyncio.Task[Rows[T]]
    begun_at: float
    not_before: float

    def serves(self, not_before: float) -> bool:
        """Tell whether a caller who needs rows asked for after `not_before` may take what the flight brought."""
        if self.begun_at < not_before:
            return False
        failed = self.task.cancelled() or self.task.exception() is not None
        return failed or self.task.result().source is not Source.CACHE or self.not_before >= not_before
