"""The frame for rules of single tables: what a write does beyond the row itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.simulator.model import Database, Row, Table

Values = dict[str, Any]
Created = tuple[Row, Values | None]


@dataclass(frozen=True, slots=True)
class TableRules:
    """Rules of one table; None means that the row itself is all.

    `create(values, whole body, user)` inserts and returns the row and the receipt's `response`;
    `update(row, values, user)` returns the values to write; `delete(row, user)` removes.
    """

    create: Callable[[Values, Values, str], Created] | None = None
    update: Callable[[Row, Values, str], Values] | None = None
    delete: Callable[[Row, str], None] | None = None


NO_RULES = TableRules()


class Rules:
    """All rules by table."""

    def __init__(self, db: Database, tables: Mapping[str, TableRules]) -> None:
        self.db = db
        self.tables = tables

    def create(self, table: Table, values: Values, arguments: Values, user: str) -> Created:
        """Create a row from checked values; `arguments` is the whole body, with what is no column."""
        stamped = self._stamped(table, values, "created", "modified")
        special = self.tables.get(table.name, NO_RULES).create
        return (table.insert(stamped), None) if special is None else special(stamped, arguments, user)

    def update(self, table: Table, row: Row, values: Values, user: str) -> Values:
        """Change a row by checked values; returns what was written."""
        special = self.tables.get(table.name, NO_RULES).update
        if special is not None:
            values = special(row, values, user)
        if values:
            table.change(row, self._stamped(table, values, "modified"))
        return values

    def delete(self, table: Table, row: Row, user: str) -> None:
        """Remove a row and what belongs to it."""
        special = self.tables.get(table.name, NO_RULES).delete
        if special is None:
            table.remove(row["$key"])
        else:
            special(row, user)

    def _stamped(self, table: Table, values: Values, *columns: str) -> Values:
        now = int(self.db.now())
        return {**values, **{column: now for column in columns if column in table.schema.columns}}
