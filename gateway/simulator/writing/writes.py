"""POST, PUT and DELETE on tables: the checks that hold for all of them; rules of single tables are in `rules`."""

from collections.abc import Mapping
from typing import Any

from gateway.simulator.errors import ApiError, not_found
from gateway.simulator.model import Column, Database, Row, Table
from gateway.simulator.writing.rules import Rules

Values = dict[str, Any]


class Writes:
    """Creates, updates and deletes rows as the platform does (VergeOS API notes 2.6, 2.7)."""

    def __init__(self, db: Database, rules: Rules) -> None:
        self.db = db
        self.rules = rules

    def create(self, table: Table, body: Mapping[str, Any], user: str) -> tuple[Row, Values | None]:
        """Add a row; returns it and the receipt's `response`.

        Raises `ApiError`: 405 for a table that takes no rows, 404 for a missing reference, 409 for a duplicate,
        422 for a value that fails validation.
        """
        _require(table, "create")
        arguments = dict(body)
        values = self._checked(table, body, refuse_readonly=False)
        self._require_unique(table, values, None)
        return self.rules.create(table, values, arguments, user)

    def update(self, table: Table, row: Row, body: Mapping[str, Any], user: str) -> Values:
        """Change columns of a row and return those changed; unknown fields are ignored, read-only ones refused."""
        _require(table, "update")
        values = self._checked(table, body, refuse_readonly=True)
        self._require_unique(table, values, row)
        return self.rules.update(table, row, values, user)

    def delete(self, table: Table, row: Row, user: str) -> None:
        """Remove a row, or begin to; raises `ApiError` where the platform refuses."""
        _require(table, "delete")
        self.rules.delete(table, row, user)

    def _checked(self, table: Table, body: Mapping[str, Any], *, refuse_readonly: bool) -> Values:
        values: Values = {}
        for name, value in body.items():
            if name in ("$key", "key") and "key" not in table.schema.columns:
                _refuse_readonly("key", refuse_readonly)
                continue
            column = table.schema.columns.get(name)
            if column is None:
                continue
            if column.readonly:
                _refuse_readonly(name, refuse_readonly)
                continue
            values[name] = self._value(name, column, value)
        return values

    def _value(self, name: str, column: Column, value: Any) -> Any:
        if column.refers_to is not None:
            return self._reference(name, column.refers_to, value)
        if column.choices:
            if str(value) not in column.choices:
                raise ApiError(422, f"value '{value}' is not in list for field '{name}'")
            return str(value)
        if column.kind is bool:
            return value not in (False, 0, None, "", "0", "false")
        if column.kind is int:
            return _number(name, column, value)
        if column.kind is str:
            return _text(name, column, value)
        return value

    def _reference(self, name: str, target: str, value: Any) -> Any:
        if value in (None, "", 0):
            return None
        table, key = target, value
        if target == "*":
            table, _, key = str(value).partition("/")
        found = self.db.tables[table].get(key) if table in self.db.tables else None
        if found is None:
            raise ApiError(404, f"error setting field '{name}': No such file or directory")
        return value if target == "*" else found["$key"]

    def _require_unique(self, table: Table, values: Values, row: Row | None) -> None:
        unique = table.schema.unique
        if not unique or not any(column in values for column in unique):
            return
        wanted = {column: values.get(column, (row or {}).get(column)) for column in unique}
        for other in table.where(unique[-1], wanted[unique[-1]]):
            same = all(self.db.value(table, other, column) == wanted[column] for column in unique)
            if same and other is not row and not other.get("is_snapshot"):
                raise ApiError(409, "This name is already in use")


def find_row(table: Table, key: str) -> Row:
    """The row with this key from a path; raises `ApiError` 404."""
    row = table.get(key)
    if row is None:
        raise not_found(f"{table.name}/{key}")
    return row


def _require(table: Table, verb: str) -> None:
    if verb not in table.schema.writes:
        raise ApiError(405, f"{verb} is not allowed on {table.name}")


def _refuse_readonly(name: str, refuse: bool) -> None:
    if refuse:
        raise ApiError(422, f"field '{name}' is readonly")


def _invalid(name: str) -> ApiError:
    return ApiError(422, f"Validation error on field: '{name}' - 'fails validation test'")


def _number(name: str, column: Column, value: Any) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise _invalid(name) from exc
    if (
        abs(whole) >= 2**63
        or (column.low is not None and whole < column.low)
        or (column.high is not None and whole > column.high)
    ):
        raise _invalid(name)
    return whole


def _text(name: str, column: Column, value: Any) -> str:
    words = "" if value is None else str(value)
    if column.high is not None and len(words) > column.high:
        raise _invalid(name)
    return words
