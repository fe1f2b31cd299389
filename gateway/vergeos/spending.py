"""Who spends: bound once where a call, a step or a tick begins; what they start, a flight for instance, inherits it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from gateway.core.spender import GATEWAY, Spender


@dataclass
class Refill:
    """A view that is refilled: how long its rows will be served, in seconds, and the requests it took so far."""

    view: str
    lifetime: float
    requests: int = 0


_spender: ContextVar[Spender] = ContextVar("spender", default=GATEWAY)
_refill: ContextVar[Refill | None] = ContextVar("refill", default=None)


@contextmanager
def bound(spender: Spender) -> Iterator[None]:
    """Let every request to VergeOS within the block be this one's."""
    token = _spender.set(spender)
    try:
        yield
    finally:
        _spender.reset(token)


@contextmanager
def refilling(view: str, lifetime: float) -> Iterator[None]:
    """Let every request to VergeOS within the block be part of a refill of this view."""
    token = _refill.set(Refill(view, lifetime))
    try:
        yield
    finally:
        _refill.reset(token)


def spender() -> Spender:
    """Return who spends here."""
    return _spender.get()


def refill() -> Refill | None:
    """Return which view is refilled here, None where none is."""
    return _refill.get()
