"""Reading whole lists: filter, sort, page, shape."""

from collections.abc import Callable
from typing import Any

from gateway.simulator.errors import ApiError
from gateway.simulator.fields import Cell, column_cell, compile_fields, split_top
from gateway.simulator.filters import compile_filter
from gateway.simulator.model import Database, Row, Table


def read_list(
    table: Table, query: dict[str, str], db: Database, sees: Callable[[Row], bool] | None = None
) -> list[dict[str, Any]] | dict[str, int]:
    """Answer a list: filter, sort, page, shape; `{"$count":0}` for no rows (VergeOS API notes 2.4-2.6).

    Unknown parameters are ignored. `sees` hides rows from a limited user. Raises `ApiError` 422 for a bad filter.
    """
    rows = _selected(table, query.get("filter"), db)
    if sees is not None:
        rows = [row for row in rows if sees(row)]
    fields = query.get("fields")
    if fields is not None and not split_top(fields, ","):
        return [{"$count": len(rows)}]
    rows = _sorted(table, rows, query.get("sort"), db)
    offset, limit = _whole(query.get("offset")), _whole(query.get("limit"))
    rows = rows[offset : offset + limit] if limit else rows[offset:]
    shape = compile_fields(fields, table, db)
    return [shape(row) for row in rows] or {"$count": 0}


def _selected(table: Table, source: str | None, db: Database) -> list[Row]:
    if source is None or not source.strip():
        return list(table.rows.values())
    condition = compile_filter(source, table, db)
    candidates = condition.candidates()
    if candidates is None:
        return [row for row in table.rows.values() if condition.accepts(row)]
    found = [row for row in candidates if condition.accepts(row)]
    return sorted(found, key=lambda row: _sort_key(row["$key"]))


def _sorted(table: Table, rows: list[Row], source: str | None, db: Database) -> list[Row]:
    for part in reversed(split_top(source or "", ",")):
        cell = column_cell(part.lstrip("+- "), table, db)
        if cell is not None:
            rows = sorted(rows, key=_row_key(cell), reverse=part.startswith("-"))
    return rows


def _row_key(cell: Cell) -> Callable[[Row], tuple[int, Any]]:
    return lambda row: _sort_key(cell(row))


def _sort_key(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, int | float):
        return (1, value)
    return (2, str(value))


def _whole(source: str | None) -> int:
    if source is None or not source.strip():
        return 0
    try:
        return max(0, int(source))
    except ValueError as exc:
        raise ApiError(422, "Invalid argument") from exc
