"""The `filter=` grammar: text to a predicate over rows, with a shortcut where an index can answer."""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gateway.simulator.errors import ApiError
from gateway.simulator.model import Database, Row, Table

Predicate = Callable[[Row], bool]
Reader = Callable[[Row], Any]
INVALID = "Invalid argument"
COMPARISONS = ("eq", "ne", "gt", "ge", "lt", "le", "bw", "ew", "cs", "ct", "rx", "re")
_TOKEN = re.compile(r"\s*(?:([()])|'|(\{)|([^\s()'{]+))")
_NAME = re.compile(r"\$?[A-Za-z_][A-Za-z0-9_]*$")
_NUMBER = re.compile(r"-?\d+(\.\d+)?$")
_POSIX_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a filter: `word`, `text` (was quoted), `mark` (a parenthesis) or `macro`."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled filter: `accepts(row)`, and `candidates()` = the only rows worth asking, or None for all of them.

    `among` is set where the filter says no more than that an indexed column holds one of some keys.
    """

    accepts: Predicate
    candidates: Callable[[], Iterable[Row] | None]
    among: tuple[str, frozenset[int]] | None = None


def compile_filter(source: str, table: Table, db: Database) -> Condition:
    """Compile a filter (VergeOS API notes 2.4).

    `and` and `or` are taken strictly from left to right. Raises `ApiError` 422 for anything outside the grammar,
    for unknown columns and for joined ones (the last two are inferred).
    """
    parser = _Parser(tokenize(source), table, db)
    condition = parser.chain()
    if parser.peek() is not None:
        raise ApiError(422, INVALID)
    return condition


def tokenize(source: str) -> list[Token]:
    """Cut a filter into tokens; raises `ApiError` 422 where a quote or brace is left open."""
    tokens: list[Token] = []
    position = 0
    while position < len(source.rstrip()):
        match = _TOKEN.match(source, position)
        if match is None:
            raise ApiError(422, INVALID)
        mark, brace, word = match.groups()
        if mark:
            tokens.append(Token("mark", mark))
        elif word:
            tokens.append(Token("word", word))
        elif brace:
            body, position = _braced(source, match.end())
            tokens.append(Token("macro", body))
            continue
        else:
            body, position = _quoted(source, match.end())
            tokens.append(Token("text", body))
            continue
        position = match.end()
    return tokens


def _quoted(source: str, position: int) -> tuple[str, int]:
    """The text up to the closing quote and where it ends; an unescaped `{…}` inside vanishes silently."""
    out: list[str] = []
    while position < len(source):
        character = source[position]
        if character == "\\" and position + 1 < len(source):
            out.append(source[position + 1])
            position += 2
        elif character == "'":
            return "".join(out), position + 1
        elif character == "{":
            _, position = _braced(source, position + 1)
        else:
            out.append(character)
            position += 1
    raise ApiError(422, INVALID)


def _braced(source: str, position: int) -> tuple[str, int]:
    """What stands between balanced braces, and the position behind them."""
    depth, start = 1, position
    while position < len(source):
        depth += {"{": 1, "}": -1}.get(source[position], 0)
        position += 1
        if depth == 0:
            return source[start : position - 1], position
    raise ApiError(422, INVALID)


class _Parser:
    def __init__(self, tokens: list[Token], table: Table, db: Database) -> None:
        self.tokens = tokens
        self.position = 0
        self.table = table
        self.db = db

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise ApiError(422, INVALID)
        self.position += 1
        return token

    def chain(self) -> Condition:
        """Conditions joined by `and`/`or`, each joined to all that stands left of it."""
        left = self.condition()
        while (token := self.peek()) is not None and token.kind == "word" and token.text in ("and", "or"):
            self.position += 1
            left = self.joined(token.text, left, self.condition())
        return left

    def joined(self, word: str, left: Condition, right: Condition) -> Condition:
        """Two conditions as one; a chain of `machine eq 1 or machine eq 2 …` becomes one look into a set."""
        if word == "or" and left.among is not None and right.among is not None and left.among[0] == right.among[0]:
            return self.among(left.among[0], left.among[1] | right.among[1])
        return _joined(word, left, right)

    def among(self, column: str, keys: frozenset[int]) -> Condition:
        """The condition that a reference column holds one of some keys."""
        read = reader(self.table, column, self.db)
        return Condition(
            lambda row: read(row) in keys,
            lambda: [row for key in keys for row in self.table.where(column, key)],
            (column, keys),
        )

    def condition(self) -> Condition:
        token = self.take()
        if token == Token("mark", "("):
            inner = self.chain()
            if self.take() != Token("mark", ")"):
                raise ApiError(422, INVALID)
            return inner
        if token.kind != "word":
            raise ApiError(422, INVALID)
        return self.comparison(token.text)

    def comparison(self, column: str) -> Condition:
        operator = self.take()
        if operator.kind != "word" or operator.text not in COMPARISONS:
            raise ApiError(422, INVALID)
        wanted = self.literal(self.take())
        read = reader(self.table, column, self.db)
        accepts = _comparison(operator.text, read, wanted)
        declared = self.table.schema.columns.get(column)
        if (
            operator.text == "eq"
            and type(wanted) is int
            and declared is not None
            and declared.refers_to not in (None, "*")
        ):
            return self.among(column, frozenset((wanted,)))
        if operator.text == "eq":
            return Condition(accepts, lambda: _indexed(self.table, column, wanted))
        return Condition(accepts, _everything)

    def literal(self, token: Token) -> Any:
        if token.kind == "text":
            return token.text
        if token.kind == "macro":
            return macro_value(token.text, self.db.now())
        if token.text in _CONSTANTS:
            return _CONSTANTS[token.text]
        if token.kind == "word" and _NUMBER.match(token.text):
            return float(token.text) if "." in token.text else int(token.text)
        raise ApiError(422, INVALID)


_CONSTANTS = {"true": True, "false": False, "null": None}


def macro_value(body: str, now: float) -> int:
    """The value of `{$now}` or `{$add({$now},-3600)}` in whole Unix seconds; `ApiError` 422 for any other macro."""
    body = body.strip()
    if body == "$now":
        return int(now)
    match = re.fullmatch(r"\$add\(\s*(.+?)\s*,\s*(-?\d+)\s*\)", body)
    if match is None:
        raise ApiError(422, INVALID)
    first = match.group(1)
    if first.startswith("{") and first.endswith("}"):
        return macro_value(first[1:-1], now) + int(match.group(2))
    if _NUMBER.match(first):
        return int(first) + int(match.group(2))
    raise ApiError(422, INVALID)


def reader(table: Table, column: str, db: Database) -> Reader:
    """A function that reads one own column of a row; `key` means `$key` where the table has no column of that name."""
    columns = table.schema.columns
    if column == "$key" or (column == "key" and "key" not in columns):
        return lambda row: row["$key"]
    declared = columns.get(column)
    if declared is None or not _NAME.match(column):
        raise ApiError(422, INVALID)
    if declared.computed is not None:
        compute = declared.computed
        return lambda row: compute(db, row)
    default = declared.default
    return lambda row: row.get(column, default)


def _joined(word: str, left: Condition, right: Condition) -> Condition:
    if word == "and":
        return Condition(
            lambda row: left.accepts(row) and right.accepts(row),
            lambda: _first_known(left.candidates(), right.candidates),
        )
    return Condition(
        lambda row: left.accepts(row) or right.accepts(row),
        lambda: _both_known(left.candidates(), right.candidates()),
    )


def _first_known(rows: Iterable[Row] | None, other: Callable[[], Iterable[Row] | None]) -> Iterable[Row] | None:
    return other() if rows is None else rows


def _both_known(left: Iterable[Row] | None, right: Iterable[Row] | None) -> Iterable[Row] | None:
    if left is None or right is None:
        return None
    return {row["$key"]: row for rows in (left, right) for row in rows}.values()


def _everything() -> None:
    return None


def _indexed(table: Table, column: str, wanted: Any) -> Iterable[Row] | None:
    if column == "$key" or (column == "key" and "key" not in table.schema.columns):
        row = table.get(wanted)
        return [] if row is None else [row]
    declared = table.schema.columns[column]
    if declared.computed is not None or (declared.refers_to is None and column not in ("name", "key")):
        return None
    if declared.refers_to not in (None, "*") and isinstance(wanted, str) and wanted.isdecimal():
        wanted = int(wanted)
    return table.where(column, wanted)


def _comparison(operator: str, read: Reader, wanted: Any) -> Predicate:
    if operator == "eq":
        return lambda row: _same(read(row), wanted)
    if operator == "ne":
        return lambda row: not _same(read(row), wanted)
    if operator in _ORDERINGS:
        ordered = _ORDERINGS[operator]
        return lambda row: ordered(read(row), wanted)
    if operator == "re":
        return lambda _row: False
    text = "" if wanted is None else str(wanted)
    if operator == "rx":
        pattern = _posix_pattern(text)
        return lambda row: pattern is not None and pattern.search(_as_text(read(row))) is not None
    if operator == "ct":
        folded = text.casefold()
        return lambda row: folded in _as_text(read(row)).casefold()
    matches: Callable[[str, str], bool] = {"bw": str.startswith, "ew": str.endswith, "cs": str.__contains__}[operator]
    return lambda row: matches(_as_text(read(row)), text)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) != isinstance(value, str) and value is not None and wanted is not None:
        return _as_text(value) == _as_text(wanted)
    return bool(value == wanted)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, wanted: Any) -> bool:
        try:
            return compare(value, wanted)
        except TypeError:
            return False

    return holds


_ORDERINGS = {
    "gt": _ordered(lambda value, wanted: value > wanted),
    "ge": _ordered(lambda value, wanted: value >= wanted),
    "lt": _ordered(lambda value, wanted: value < wanted),
    "le": _ordered(lambda value, wanted: value <= wanted),
}


def _posix_pattern(source: str) -> re.Pattern[str] | None:
    """A POSIX extended expression as Python's; None where the platform silently matches nothing (`\\d`, `(?i)`)."""
    if "(?" in source or re.search(r"\\[A-Za-z]", source):
        return None
    for name, characters in _POSIX_CLASSES.items():
        source = source.replace(f"[:{name}:]", characters)
    try:
        with warnings.catch_warnings():  # what Python warns of is plain POSIX
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(source)
    except re.error as exc:
        raise ApiError(422, INVALID) from exc
