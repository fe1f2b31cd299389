"""Who spends: bound once where a call, a step or a tick begins; what they start, a flight for instance, inherits it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gateway.core.spender import GATEWAY, Spender

_spender: ContextVar[Spender] = ContextVar("spender", default=GATEWAY)
_view: ContextVar[str] = ContextVar("view", default="")


@contextmanager
def bound(spender: Spender) -> Iterator[None]:
    """Let every request to VergeOS within the block be this one's."""
    token = _spender.set(spender)
    try:
        yield
    finally:
        _spender.reset(token)


@contextmanager
def refilling(view: str) -> Iterator[None]:
    """Let every request to VergeOS within the block be a refill of this view."""
    token = _view.set(view)
    try:
        yield
    finally:
        _view.reset(token)


def spender() -> Spender:
    """Return who spends here."""
    return _spender.get()


def view() -> str:
    """Return which view is refilled here, empty where none is."""
    return _view.get()
