"""The `fields=` language: text to a function that shapes one row."""

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from gateway.simulator.model import Database, Row, Table

# What is shaped into an answer; MISSING leaves the name out.
MISSING: Any = object()
Cell = Callable[[Row], Any]
Shape = Callable[[Row], dict[str, Any]]
_ALIAS = re.compile(r"^(?P<body>.+?)\s+as\s+(?P<alias>[^\s\])]+)$", re.DOTALL)
_CALL = re.compile(r"^(?P<name>[a-z0-9]+)\((?P<inside>.*)\)$", re.DOTALL)
_BOOLEAN = re.compile(r"\s(?P<operator>eq|ne|gt|ge|lt|le)\s+(?P<literal>'[^']*'|\S+)$")
_LITERALS = {"true": True, "false": False, "null": None}
_WORDS = ("most", "all", "summary", "dashboard")


def compile_fields(source: str | None, table: Table, db: Database) -> Shape:
    """Compile `fields=` for rows of `table` (VergeOS API notes 2.3); unknown names are dropped without a word."""
    parts = ["$default"] if source is None else split_top(source, ",")
    cells: list[tuple[str, Cell]] = []
    for part in parts:
        cells.extend(_entry(part, table, db))

    def shape(row: Row) -> dict[str, Any]:
        out = {}
        for alias, cell in cells:
            value = cell(row)
            if value is not MISSING:
                out[alias] = value
        return out

    return shape


def split_top(source: str, separator: str) -> list[str]:
    """Cut at separators that stand outside brackets and quotes; empty pieces vanish."""
    pieces, depth, start, quoted = [], 0, 0, False
    for position, character in enumerate(source):
        if character == "'":
            quoted = not quoted
        elif not quoted and character in "([":
            depth += 1
        elif not quoted and character in ")]":
            depth -= 1
        elif character == separator and depth == 0 and not quoted:
            pieces.append(source[start:position])
            start = position + 1
    pieces.append(source[start:])
    return [piece.strip() for piece in pieces if piece.strip()]


def _entry(part: str, table: Table, db: Database) -> list[tuple[str, Cell]]:
    if part in _WORDS or part == "$default":
        return _own_columns(part, table, db)
    match = _ALIAS.match(part)
    body, alias = (match["body"].strip(), match["alias"]) if match else (part, None)
    if (boolean := _BOOLEAN.search(body)) is not None:
        cell = _boolean(body[: boolean.start()], boolean["operator"], boolean["literal"], table, db)
    else:
        cell = _expression(body, table, db)
    if cell is None:
        return []
    return [(alias or re.sub(r"\[.*", "", body, flags=re.DOTALL), cell)]


def _own_columns(word: str, table: Table, db: Database) -> list[tuple[str, Cell]]:
    schema = table.schema
    if word == "$default":
        names = [name for name in ("$key", schema.display) if name == "$key" or name in schema.columns]
    elif word == "all":
        names = [*(["$key"] if schema.all_has_key else []), *schema.columns]
    else:
        names = ["$key", *(name for name, column in schema.columns.items() if column.in_most)]
    cells = [(name, cell) for name in names if (cell := column_cell(name, table, db)) is not None]
    if word == "dashboard" and "machine" in schema.columns:
        nested = _expression("machine[all,status[all],stats[all]]", table, db)
        cells = [(name, cell) for name, cell in cells if name != "machine"]
        if nested is not None:
            cells.append(("machine", nested))
    return cells


def _expression(body: str, table: Table, db: Database) -> Cell | None:
    """A column, a join `a#b`, a nested selection `a[b,c]`, `a#$display`, or a function of one of these."""
    steps = split_top(body, "#")
    if not steps:
        return None
    if len(steps) > 1:
        return _join(steps[0], "#".join(steps[1:]), table, db)
    step = steps[0]
    if step.endswith("]") and "[" in step:
        name, _, inside = step[:-1].partition("[")
        return _nested(name.strip(), inside, table, db)
    if (call := _CALL.match(step)) is not None:
        return _function(call["name"], call["inside"].strip(), table, db)
    if step == "$display":
        return lambda row: db.display(table, row)
    return column_cell(step, table, db)


def column_cell(name: str, table: Table, db: Database) -> Cell | None:
    """A function that reads one own column of a row, or None if the table has no such column."""
    if name in ("$key", "$row"):
        return lambda row: row["$key"]
    declared = table.schema.columns.get(name)
    if declared is None:
        return None
    if declared.computed is not None:
        compute = declared.computed
        return lambda row: compute(db, row)
    default = declared.default
    return lambda row: row.get(name, default)


def _join(first: str, rest: str, table: Table, db: Database) -> Cell | None:
    declared = table.schema.columns.get(first)
    if declared is None or declared.refers_to is None:
        return None
    if declared.refers_to == "*":
        return _polymorphic(first, rest, table, db)
    target = db.tables[declared.refers_to]
    inner = _expression(rest, target, db)
    key_of = column_cell(first, table, db)
    if inner is None or key_of is None:
        return None
    rows = target.rows

    def cell(row: Row) -> Any:
        pointed = rows.get(key_of(row))
        return None if pointed is None else inner(pointed)

    return cell


def _polymorphic(first: str, rest: str, table: Table, db: Database) -> Cell:
    """A join over a path such as `vms/12`; where it leads nowhere the name is missing from the row."""

    def cell(row: Row) -> Any:
        found = db.follow(table, row, first)
        if found is None:
            return MISSING
        inner = _expression(rest, found[0], db)
        return MISSING if inner is None else inner(found[1])

    return cell


def _nested(name: str, inside: str, table: Table, db: Database) -> Cell | None:
    relation = table.schema.relations.get(name)
    if relation is not None:
        return _related(name, inside, db.tables[relation.table], table, db)
    declared = table.schema.columns.get(name)
    if declared is None or declared.refers_to is None:
        return None
    if declared.refers_to == "*":
        return _polymorphic_object(name, inside, table, db)
    shape = compile_fields(inside, db.tables[declared.refers_to], db)

    def cell(row: Row) -> Any:
        found = db.follow(table, row, name)
        return None if found is None else shape(found[1])

    return cell


def _polymorphic_object(name: str, inside: str, table: Table, db: Database) -> Cell:
    def cell(row: Row) -> Any:
        found = db.follow(table, row, name)
        return MISSING if found is None else compile_fields(inside, found[0], db)(found[1])

    return cell


def _related(name: str, inside: str, other: Table, table: Table, db: Database) -> Cell:
    """Rows that point here: a list of objects, or one object of sums where only aggregates are asked for."""
    parts = split_top(inside, ",")
    calls = [_CALL.match(part) for part in parts]
    if parts and all(call is not None and call["name"] in _AGGREGATES for call in calls):
        totals = [(call["inside"].strip(), _AGGREGATES[call["name"]]) for call in calls if call is not None]
        columns = [(column, total, column_cell(column, other, db)) for column, total in totals]

        def aggregated(row: Row) -> Any:
            rows = (db.related(table, row, name) or (other, []))[1]
            return {column: total([cell(each) for each in rows]) for column, total, cell in columns if cell is not None}

        return aggregated
    shape = compile_fields(inside, other, db)

    def listed(row: Row) -> Any:
        found = db.related(table, row, name)
        return [] if found is None else [shape(each) for each in found[1]]

    return listed


def _numbers(values: Iterable[Any]) -> list[float]:
    return [value for value in values if isinstance(value, int | float)]


_AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "sum": lambda values: sum(_numbers(values)),
    "avg": lambda values: sum(_numbers(values)) / max(1, len(_numbers(values))),
    "min": lambda values: min(_numbers(values), default=None),
    "max": lambda values: max(_numbers(values), default=None),
}


def _function(name: str, inside: str, table: Table, db: Database) -> Cell | None:
    if name == "display":
        return _displayed(inside, table, db)
    if name in _AGGREGATES:
        return _aggregate(name, inside, table, db)
    convert = _FUNCTIONS.get(name)
    cell = None if convert is None else _expression(inside, table, db)
    if convert is None or cell is None:
        return None
    return lambda row: None if (value := cell(row)) is None else convert(value)


def _aggregate(name: str, inside: str, table: Table, db: Database) -> Cell | None:
    """`count(drives)`, `sum(drives#disksize)`: over the rows of a relation."""
    relation, _, column = inside.partition("#")
    declared = table.schema.relations.get(relation)
    if declared is None:
        return None
    other = db.tables[declared.table]
    cell = column_cell(column or "$key", other, db)
    if cell is None:
        return None
    total = _AGGREGATES[name]
    return lambda row: total([cell(each) for each in (db.related(table, row, relation) or (other, []))[1]])


def _displayed(column: str, table: Table, db: Database) -> Cell | None:
    """The human text of an enum, or the display name of a referenced row."""
    declared = table.schema.columns.get(column)
    cell = column_cell(column, table, db)
    if declared is None or cell is None:
        return None
    if declared.refers_to is not None:
        return lambda row: None if (found := db.follow(table, row, column)) is None else db.display(*found)
    words = declared.choices
    return lambda row: words.get(cell(row), cell(row))


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "hex": lambda value: f"{int(value):x}",
    "sha1": lambda value: hashlib.sha1(str(value).encode(), usedforsecurity=False).hexdigest(),
    "datetime": lambda value: datetime.fromtimestamp(float(value), UTC).strftime("%Y-%m-%d %H:%M:%S"),
    "diskspace": lambda value: f"{float(value) / 2**30:.2f} GB",
    "collapse": lambda value: value,
}


def _boolean(body: str, operator: str, literal: str, table: Table, db: Database) -> Cell | None:
    """A computed yes or no, such as `status#status eq 'running'`."""
    cell = _expression(body.strip(), table, db)
    if cell is None:
        return None
    wanted: Any = _LITERALS.get(literal, literal.strip("'"))
    if literal.lstrip("-").isdecimal():
        wanted = int(literal)
    if operator == "eq":
        return lambda row: cell(row) == wanted
    if operator == "ne":
        return lambda row: cell(row) != wanted
    compare: Callable[[Any, Any], bool] = {
        "gt": lambda value, limit: value > limit,
        "ge": lambda value, limit: value >= limit,
        "lt": lambda value, limit: value < limit,
        "le": lambda value, limit: value <= limit,
    }[operator]
    return lambda row: (value := cell(row)) is not None and compare(value, wanted)
