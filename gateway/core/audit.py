"""The audit trail: what an entry holds, and the chain that shows whether one was changed or left out. Pure.

Every writing process has a chain of its own: each entry carries the writer's name, its number from 1, the hash of the
entry before it, and its own hash over all the rest.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gateway.core.text import clean

Entry = dict[str, Any]

MOST_ARGUMENTS = 30
VALUE_LIMIT = 300
HIDDEN = "***"
SECRET_NAME = re.compile(r"pass|secret|token|credential|authorization|(^|_)key$", re.IGNORECASE)


class Chain:
    """The entries of one writer, linked as they come."""

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self._number, self._last = 0, ""

    def link(self, at: float, event: str, members: Mapping[str, Any]) -> Entry:
        """Return the next entry: the members that say something, `at` in Unix seconds, and its place in the chain."""
        self._number += 1
        told = {name: value for name, value in members.items() if value not in (None, "", {}, [], ())}
        entry = {"at": round(at, 3), "event": event, **told, "writer": self.writer, "seq": self._number}
        entry["prev"] = self._last
        entry["hash"] = self._last = digest(entry)
        return entry


def digest(entry: Mapping[str, Any]) -> str:
    """Return the hash over all of an entry but its own hash."""
    said = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(written(said).encode()).hexdigest()


def written(entry: Mapping[str, Any]) -> str:
    """Return an entry as the one line of JSON that is hashed and archived."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def faults(entries: Iterable[Mapping[str, Any]], *, whole: bool) -> Iterator[str]:
    """Yield what is wrong with entries in the order of each writer; where `whole`, each chain must begin with 1."""
    last: dict[str, tuple[int, str]] = {}
    for entry in entries:
        writer, number, before = str(entry.get("writer")), entry.get("seq"), entry.get("prev")
        if entry.get("hash") != digest(entry):
            yield f"{writer} {number}: was changed: its hash does not fit"
        known = last.get(writer)
        if known is None:
            if whole and (number, before) != (1, ""):
                yield f"{writer} {number}: the entries before it are missing"
        elif number != known[0] + 1:
            yield f"{writer} {number}: follows {known[0]}: entries are missing or out of order"
        elif before != known[1]:
            yield f"{writer} {number}: does not follow the entry before it"
        last[writer] = (number if isinstance(number, int) else 0, str(entry.get("hash")))


def shown_arguments(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as they may be kept: capped, without control characters, secrets by their name hidden."""
    return {clean(str(name), 60): _shown(str(name), value) for name, value in list(raw.items())[:MOST_ARGUMENTS]}


def _shown(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean(value if isinstance(value, str) else json.dumps(value, default=str), VALUE_LIMIT)


Accepted = Callable[[str, str], None]
"""Hears of the job that stands for the call at hand, and what its caller is told beside it."""

_at_hand: ContextVar[Accepted | None] = ContextVar("audited", default=None)


@contextmanager
def listening(call: Accepted) -> Iterator[None]:
    """Let `call` hear of the job that is made in this block."""
    token = _at_hand.set(call)
    try:
        yield
    finally:
        _at_hand.reset(token)


def accepted(job_id: str, note: str) -> None:
    """Tell the audit of the job that stands for the call at hand, and what its caller is told beside it."""
    if (call := _at_hand.get()) is not None:
        call(job_id, note)


_rule: ContextVar[str] = ContextVar("rule", default="")


@contextmanager
def judged() -> Iterator[Callable[[], str]]:
    """Yield what tells the rule that has decided last about an object in this block; empty where none has."""
    token = _rule.set("")
    try:
        yield _rule.get
    finally:
        _rule.reset(token)


def decided_by(rule: str) -> None:
    """Tell the audit which rule has decided about the object of the call at hand."""
    _rule.set(rule)
