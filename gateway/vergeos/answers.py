"""What VergeOS' answers mean: statuses as failures, bodies as rows and receipts (VergeOS API notes 2.6 and 2.7)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.errors import (
    UpstreamError,
    VergeOSBadAnswer,
    VergeOSBusy,
    VergeOSConflict,
    VergeOSForbidden,
    VergeOSInvalid,
    VergeOSNotFound,
    VergeOSUnauthorized,
)
from gateway.core.text import clean
from gateway.vergeos.columns import key
from gateway.vergeos.exchange import REASON_LIMIT, Answer, Request
from gateway.vergeos.latch import REFUSED_STEP

LONGEST_RETRY_SECONDS = 60.0
_NO_ROWS = "$count"  # an empty list comes as {"$count": 0}

Redact = Callable[[str], str]


class CredentialsRefused(VergeOSUnauthorized):
    """VergeOS itself answered 401 just now; a VergeOSUnauthorized without this is the latch's."""

    next_step = REFUSED_STEP


_MEANING: dict[int, tuple[type[UpstreamError], str]] = {
    401: (CredentialsRefused, "VergeOS refuses the gateway's credentials"),
    403: (VergeOSForbidden, "VergeOS does not allow this to the gateway's user"),
    404: (VergeOSNotFound, "VergeOS has no such row, or one that it refers to is missing"),
    409: (VergeOSConflict, "VergeOS refuses because of the present state or of a duplicate"),
    429: (VergeOSBusy, "VergeOS has too much to do"),
    502: (VergeOSBusy, "VergeOS does not answer its proxy"),
    503: (VergeOSBusy, "VergeOS is not ready"),
    504: (VergeOSBusy, "VergeOS does not answer its proxy in time"),
}
_REFUSED = (VergeOSInvalid, "VergeOS refuses the request")
_BROKEN = (VergeOSBadAnswer, "VergeOS answers with an error of its own")


@dataclass(frozen=True)
class Receipt:
    """What a change gives back: the key of what was made, if anything was, and the table's own response."""

    key: int | str | None
    response: dict[str, Any] = field(default_factory=dict)


def content(request: Request, answer: Answer, redact: Redact) -> Any:
    """Return the JSON of a success, None for an empty body; raise the failure that the answer stands for.

    The text of VergeOS in a failure loses its secrets by `redact`, is cleaned and cut short.
    """
    found = _json(answer.body)
    if answer.status >= 300:
        raise _failure(request, answer, found, redact)
    if isinstance(found, _NotJson):
        raise VergeOSBadAnswer(f"{request}: VergeOS answers {found.shown}")
    if isinstance(found, dict) and found.get("err"):
        raise VergeOSInvalid(f"{request}: VergeOS refuses the request{_reason(found, redact)}")
    return found


def listed(request: Request, found: Any) -> list[dict[str, Any]]:
    """Return the rows of a list's content, of which the empty list has several forms."""
    if found is None or (isinstance(found, dict) and found.get(_NO_ROWS) == 0):
        return []
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    raise VergeOSBadAnswer(f"{request}: VergeOS answers something else than a list of rows")


def single(request: Request, found: Any) -> dict[str, Any]:
    """Return the one row of a content; some tables answer it as a list. Raises VergeOSNotFound for an empty list.

    An empty body is a bad answer instead: no object may be taken for deleted because a proxy said nothing.
    """
    if found is None:
        raise VergeOSBadAnswer(f"{request}: VergeOS answers nothing")
    rows = [found] if isinstance(found, dict) and _NO_ROWS not in found else listed(request, found)
    if not rows:
        raise VergeOSNotFound(f"{request}: VergeOS has no such row")
    if len(rows) > 1:
        raise VergeOSBadAnswer(f"{request}: VergeOS answers several rows where one was asked for")
    return rows[0]


def receipt(found: Any) -> Receipt:
    """Return the receipt in a change's content; actions may give none at all."""
    if not isinstance(found, dict):
        return Receipt(None)
    response = found.get("response")
    return Receipt(key(found.get("$key")), response if isinstance(response, dict) else {})


@dataclass(frozen=True)
class _NotJson:
    """A body that is not JSON: an error page, mostly of a proxy, or one that was cut off."""

    shown: str
    page: bool


def _json(body: bytes) -> Any:
    if not body.strip():
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        page = body.lstrip()[:1] == b"<"
        return _NotJson("a page, not JSON: is it VergeOS?" if page else "what is not, or not wholly, JSON", page)


def _failure(request: Request, answer: Answer, found: Any, redact: Redact) -> UpstreamError:
    error, meaning = _MEANING.get(answer.status, _BROKEN if answer.status >= 500 else _REFUSED)
    if answer.status < 400:
        error, meaning = VergeOSBadAnswer, "VergeOS sends us to another address: VERGEOS_HOST must name it itself"
    elif error is VergeOSNotFound and isinstance(found, _NotJson):
        # A proxy's page says nothing about the row, and a job must not take its VM for deleted.
        error, meaning = VergeOSBadAnswer, f"VergeOS answers {found.shown}"
    detail = f"{request}: {meaning} (HTTP {answer.status}){_reason(found, redact)}"
    return error(detail, retry_after=_retry_after(answer) if error is VergeOSBusy else None)


def _reason(found: Any, redact: Redact) -> str:
    """Return what VergeOS says, from the first of the places where its versions say it."""
    if not isinstance(found, dict):
        return ""
    said = (found.get(place) for place in ("err", "error", "message"))
    texts = (text.get("message") if isinstance(text, dict) else text for text in said)
    reason = next((text for text in texts if isinstance(text, str) and text), "")
    return f": {clean(redact(reason), REASON_LIMIT)}" if reason else ""


def _retry_after(answer: Answer) -> float | None:
    told = answer.retry_after or ""
    return min(float(told), LONGEST_RETRY_SECONDS) if told.isascii() and told.isdecimal() else None
