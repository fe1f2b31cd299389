"""Filters of VergeOS' lists, put together so that no value can become part of the condition (VergeOS API notes 2.4)."""

from typing import NewType

Filter = NewType("Filter", str)
Value = str | int | bool | None

_ESCAPES = str.maketrans({"\\": r"\\", "'": r"\'", "{": r"\{"})  # an unescaped brace would start a macro


def eq(field: str, value: Value) -> Filter:
    """Return the condition that `field` is exactly `value`; upper and lower case differ."""
    return Filter(f"{field} eq {_literal(value)}")


def at_least(field: str, value: int) -> Filter:
    """Return the condition that `field` is `value` or more."""
    return Filter(f"{field} ge {_literal(value)}")


def at_most(field: str, value: int) -> Filter:
    """Return the condition that `field` is `value` or less."""
    return Filter(f"{field} le {_literal(value)}")


def contains(field: str, text: str) -> Filter:
    """Return the condition that `field` holds `text` somewhere; upper and lower case are the same."""
    return Filter(f"{field} ct {_literal(text)}")


def all_of(*conditions: Filter) -> Filter:
    """Return the condition that all of one or more `conditions` hold."""
    return _joined(" and ", conditions)


def any_of(*conditions: Filter) -> Filter:
    """Return the condition that at least one of one or more `conditions` holds."""
    return _joined(" or ", conditions)


def _joined(operator: str, conditions: tuple[Filter, ...]) -> Filter:
    """VergeOS knows no precedence and evaluates from left to right, so each group stands in parentheses."""
    if not conditions:
        raise ValueError("an empty group would match everything or nothing")
    return conditions[0] if len(conditions) == 1 else Filter(f"({operator.join(conditions)})")


def _literal(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f"'{value.translate(_ESCAPES)}'"
