"""Reading single columns of VergeOS' rows, whatever type they come as.

Types drift between versions and tables (VergeOS API notes 6.1): keys and numbers may be strings, flags and
joined columns may be missing. A text that goes out is cleaned.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from gateway.core.errors import VergeOSBadAnswer
from gateway.core.text import NAME_LIMIT, clean

Row = Mapping[str, Any]

WORD_LIMIT = 64
TEXT_LIMIT = 2_048
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # more digits are a hexadecimal name without a letter in it
_TURNED_ON = frozenset({"true", "1", "yes"})


def running(row: Row) -> bool | None:
    """Whether it runs; where the column is missing the two plain states tell it, else it is unknown."""
    if row.get("running") is not None:
        return flag(row, "running")
    return {"running": True, "stopped": False}.get(word(row, "status"))


def required(row: Row, field: str) -> int:
    """Return a whole number that a row cannot do without; raises VergeOSBadAnswer."""
    value = number(row, field)
    if value is None:
        raise VergeOSBadAnswer(f"a row of VergeOS lacks the number `{field}`")
    return value


def key(value: object) -> int | str | None:
    """Return a key as VergeOS means it: a number where it is one ("36" and 36 are the same), else its text."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) and value != "" else None


def number(row: Row, field: str) -> int | None:
    """Return a whole number, also where it comes as text or with a decimal point; None where there is none."""
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = decimal(row, field)
    return None if found is None else int(found)


def decimal(row: Row, field: str) -> float | None:
    """Return a number, also where it comes as text; None where there is none."""
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def moment(row: Row, field: str) -> int | None:
    """Return a time in Unix seconds; None where it is missing or 0, with which VergeOS says "never"."""
    return number(row, field) or None


def flag(row: Row, field: str, *, missing: bool = False) -> bool:
    """Return a flag, also where it comes as 1 or "true"; `missing` where the row has none."""
    value = row.get(field)
    if value is None:
        return missing
    return str(value).strip().lower() in _TURNED_ON


def exact(row: Row, field: str) -> str:
    """Return a text as VergeOS has it, for comparing only."""
    value = row.get(field)
    return value if isinstance(value, str) else "" if value is None else str(value)


def name(row: Row, field: str) -> str | None:
    """Return a cleaned name of at most 128 characters, or None where there is none."""
    return clean(exact(row, field), NAME_LIMIT) or None


def word(row: Row, field: str) -> str:
    """Return a cleaned short text of at most 64 characters; empty where there is none."""
    return clean(exact(row, field), WORD_LIMIT)


def text(row: Row, field: str) -> str:
    """Return a cleaned text of at most 2,048 characters; empty where there is none."""
    return clean(exact(row, field), TEXT_LIMIT)
