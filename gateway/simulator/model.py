"""Columns, tables, rows and indexes: what the simulated VergeOS remembers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.simulator.clock import Clock

Row = dict[str, Any]
Computed = Callable[["Database", Row], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its default, what a write may put there, and whether `fields=most` shows it."""

    default: Any = None
    kind: type | None = None
    refers_to: str | None = None
    readonly: bool = False
    in_most: bool = True
    choices: Mapping[str, str] = field(default_factory=dict)
    low: int | None = None
    high: int | None = None
    computed: Computed | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows of another table that point here: `column` of `table` holds this row's key."""

    table: str
    column: str
    only: Callable[[Row], bool] | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A table's declaration.

    `writes` says which of `create`, `update`, `delete` the API allows; `unique` names the columns that together
    may occur once; `all_has_key` is false where `fields=all` leaves `$key` out (VergeOS API notes 2.3);
    `history` marks a time series (see `HistoryTable`).
    """

    name: str
    columns: Mapping[str, Column]
    relations: Mapping[str, Relation] = field(default_factory=dict)
    writes: frozenset[str] = frozenset()
    unique: tuple[str, ...] = ()
    first_key: int = 1
    display: str = "name"
    all_has_key: bool = True
    history: bool = False


def text(default: str = "", *, high: int | None = None, readonly: bool = False, in_most: bool = True) -> Column:
    """A text column; `high` is the greatest length."""
    return Column(default, str, readonly=readonly, in_most=in_most, high=high)


def number(
    default: float | None = 0,
    *,
    low: int | None = None,
    high: int | None = None,
    readonly: bool = False,
    in_most: bool = True,
) -> Column:
    """A number with its bounds."""
    return Column(default, int, readonly=readonly, in_most=in_most, low=low, high=high)


def flag(default: bool = False, *, readonly: bool = False) -> Column:
    """A boolean column."""
    return Column(default, bool, readonly=readonly)


def choice(options: str, *, default: str | None = None, readonly: bool = False) -> Column:
    """A column that holds one of the words in `options`; `-` stands for the empty word, the first is the default."""
    words = ["" if word == "-" else word for word in options.split()]
    display = {word: word.replace("_", " ").capitalize() for word in words}
    return Column(words[0] if default is None else default, str, readonly=readonly, choices=display)


def ref(table: str | None, *, readonly: bool = False, in_most: bool = True) -> Column:
    """A reference: a key of `table`, or with `None` a path such as `vms/12` to a row of any table."""
    return Column(None, refers_to=table or "*", readonly=readonly, in_most=in_most)


def computed(function: Computed, *, in_most: bool = True) -> Column:
    """A column worked out at each read."""
    return Column(None, readonly=True, computed=function, in_most=in_most)


class Table:
    """The rows of one table by key, with an index per column that is asked for by equality."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.name = schema.name
        self.rows: dict[Any, Row] = {}
        self._next_key = schema.first_key
        self._indexes: dict[str, dict[Any, dict[Any, Row]]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def get(self, key: Any) -> Row | None:
        """The row with this key, or None; an int key may come as text."""
        if not isinstance(key, int | str) or isinstance(key, bool):
            return None
        row = self.rows.get(key)
        if row is None and isinstance(key, str) and key.isdecimal():
            row = self.rows.get(int(key))
        return row

    def take_key(self) -> int:
        """The next free int key."""
        while self._next_key in self.rows:
            self._next_key += 1
        key = self._next_key
        self._next_key += 1
        return key

    def insert(self, row: Row) -> Row:
        """Add a row; without `$key` it gets the next one. Returns the row itself."""
        if "$key" not in row:
            row = {"$key": self.take_key(), **row}
        self.rows[row["$key"]] = row
        for column, index in self._indexes.items():
            index.setdefault(self._own(row, column), {})[row["$key"]] = row
        return row

    def change(self, row: Row, changes: Mapping[str, Any]) -> None:
        """Write columns of a row, keeping the indexes right."""
        for column, index in self._indexes.items():
            if column in changes:
                index.get(self._own(row, column), {}).pop(row["$key"], None)
                index.setdefault(changes[column], {})[row["$key"]] = row
        row.update(changes)

    def remove(self, key: Any) -> Row | None:
        """Take a row out; None if there was none."""
        row = self.rows.pop(key, None)
        if row is not None:
            for column, index in self._indexes.items():
                index.get(self._own(row, column), {}).pop(key, None)
        return row

    def where(self, column: str, value: Any) -> list[Row]:
        """The rows whose own column has this value, by an index that is built when first needed."""
        index = self._indexes.get(column)
        if index is None:
            index = self._indexes[column] = {}
            for row in self.rows.values():
                index.setdefault(self._own(row, column), {})[row["$key"]] = row
        return list(index.get(value, {}).values())

    def first(self, column: str, value: Any) -> Row | None:
        """The first of `where`, or None."""
        found = self.where(column, value)
        return found[0] if found else None

    def _own(self, row: Row, column: str) -> Any:
        value = row.get(column, _MISSING)
        return self.schema.columns[column].default if value is _MISSING else value


class HistoryTable(Table):
    """Points of a time series per owner, made when asked for by the owner's key; without that there are none.

    Real systems hold very many; made up front they would cost more than all else.
    """

    points = 72
    step_seconds = 300

    def __init__(self, schema: Schema, clock: Clock) -> None:
        super().__init__(schema)
        self.clock = clock

    def where(self, column: str, value: Any) -> list[Row]:
        """The points of one owner, newest last."""
        newest = int(self.clock.now()) // self.step_seconds * self.step_seconds
        return [
            {"$key": newest - age * self.step_seconds, column: value, "timestamp": newest - age * self.step_seconds}
            for age in reversed(range(self.points))
        ]


_MISSING = object()


class Database:
    """All tables and the clock; computed columns see both."""

    def __init__(self, schemas: Iterable[Schema], clock: Clock, seed: int = 0) -> None:
        self.clock = clock
        self.seed = seed
        self.started_at = clock.now()
        self.tables = {
            schema.name: HistoryTable(schema, clock) if schema.history else Table(schema) for schema in schemas
        }

    def __getitem__(self, table: str) -> Table:
        return self.tables[table]

    def now(self) -> float:
        """The moment in Unix seconds."""
        return self.clock.now()

    def value(self, table: Table, row: Row, column: str) -> Any:
        """One column of one row: what was written, else computed, else the default."""
        declared = table.schema.columns.get(column)
        if declared is None:
            return row.get(column)
        if declared.computed is not None:
            return declared.computed(self, row)
        return row.get(column, declared.default)

    def display(self, table: Table, row: Row) -> Any:
        """What `$display` shows of a row: its name, or its key."""
        return row.get(table.schema.display, row["$key"])

    def follow(self, table: Table, row: Row, column: str) -> tuple[Table, Row] | None:
        """The row that a reference column points at, or None; paths such as `vms/12` are followed too."""
        declared = table.schema.columns.get(column)
        if declared is None or declared.refers_to is None:
            return None
        value = self.value(table, row, column)
        target = declared.refers_to
        if target == "*":
            target, _, value = str(value or "").partition("/")
        found = self.tables.get(target)
        pointed = None if found is None or value is None else found.get(value)
        return None if found is None or pointed is None else (found, pointed)

    def related(self, table: Table, row: Row, relation: str) -> tuple[Table, list[Row]] | None:
        """The rows that point at this one by a named relation, or None if the table has no such relation."""
        declared = table.schema.relations.get(relation)
        if declared is None:
            return None
        other = self.tables[declared.table]
        rows = other.where(declared.column, row["$key"])
        return other, rows if declared.only is None else [each for each in rows if declared.only(each)]
