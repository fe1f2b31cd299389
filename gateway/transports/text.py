"""What a model reads of an answer: a table, one short line, or a job in a sentence; the whole stands structured beside.

Tokens are counted as characters / 4, as no tokenizer ships with the gateway.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.calls import Answer
from gateway.core.answer import CursorPage, Page, Source
from gateway.core.errors import GatewayError
from gateway.core.job import JobState, JobView
from gateway.core.text import clean
from gateway.core.tool import Listing

CHARACTERS_A_TOKEN = 4
SENTENCE_CHARACTERS = 80 * CHARACTERS_A_TOKEN  # a job, an error
ANSWER_CHARACTERS = 1_900 * CHARACTERS_A_TOKEN  # rows of a list, an object; the last line comes on top
USUAL_COLUMNS = 6
CELL_CHARACTERS = 240
INNER_COLUMNS, INNER_ROWS = 8, 20  # of a list within an object
NOTHING = "-"  # in a cell
EXACT_BELOW = 1_000_000  # from there on, a moment or a count of bytes, digits behind the point say nothing

_PLAIN = re.compile(r"[\w./@+][\w ./:@%+()#-]*")
_LITERAL = re.compile(r"-?[\d.]+|true|false|null", re.IGNORECASE)


def text_of(answer: Answer) -> str:
    """Return what a model is given to read of a call's answer, at most 2,000 tokens."""
    value = answer.as_python()
    if answer.job is not None:
        more = answer.job.details
        return job_text(answer.job) + ("" if more is None else f"\n{_object_text(answer, more)}")
    if isinstance(answer.value, Page):
        return _page_text(answer, answer.value, value["items"])
    if isinstance(value, Mapping):
        return _object_text(answer, value)
    return _cut(answer.as_json().decode(), ANSWER_CHARACTERS)


def failure_text(error: GatewayError) -> str:
    """Return a failure with what to do next, in at most 80 tokens."""
    return _problem(error.code, error.detail, error.next_step)


def job_text(job: JobView) -> str:
    """Return how a job stands and what to do next, in at most 80 tokens; for a dry run what it would do."""
    target = f"{job.target.kind} {job.target.id} {_value(job.target.name)}"
    if job.plan is not None:
        plan = {name: member for name, member in job.plan.items() if name != "requests"}
        asked = f"{job.plan.get('requests')} requests"
        return _cut(f"dry run of {job.tool} on {target}, nothing done: {_members(plan)}; {asked}", ANSWER_CHARACTERS)
    at = f"{job.state} ({job.phase})" if job.phase else f"{job.state}"
    ended = isinstance(job.state, JobState) and job.state.final
    return _between(f"job {job.id} {job.tool} {target}: {at}", _said(job), "" if ended else "; next: get_job")


def _said(job: JobView) -> str:
    """Return what there is to say of a job beyond its state, the weightiest first."""
    if job.problem is not None:
        problem = _problem(job.problem.code, job.problem.detail, job.problem.next_step)
        return f", {problem}"
    parts = (
        job.question and f"asks: {job.question}",
        job.note,
        job.position and f"place {job.position} in line",
        job.detail,
        job.state is JobState.COMPLETED and job.result and _members(job.result),
    )
    return "".join(f", {part}" for part in parts if part)


def _problem(code: str, detail: str, next_step: str) -> str:
    stop = "" if detail.endswith((".", "!", "?")) else "."
    room = SENTENCE_CHARACTERS - len(f"{code}: {stop} Next: ")
    detail = _cut(detail, max(room - len(next_step), room // 2))
    return f"{code}: {detail}{stop} Next: {_cut(next_step, room - len(detail))}"


def _page_text(answer: Answer, page: Page[Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table, as many as fit, and where to go on."""
    columns = _columns(answer, rows)
    lines = _fitting(_table(columns, rows), ANSWER_CHARACTERS) if columns else [_value(row) for row in rows]
    shown = len(lines) - bool(columns)
    told = {"total": page.total, "next": page.next, "as_of": _value(page.as_of)}
    if isinstance(page, CursorPage):
        told["note"] = page.note
    if shown < len(rows):
        told |= _going_on(answer, rows, shown)
    if page.source is Source.STALE:
        told["source"] = "stale, VergeOS does not answer"
    last = ", ".join(f"{name} {member}" for name, member in told.items() if member is not None)
    return "\n".join([*(lines if rows else []), last])


def _going_on(answer: Answer, rows: Sequence[Mapping[str, Any]], shown: int) -> dict[str, Any]:
    """Return how to see the rows that did not fit."""
    offset, more = getattr(answer.arguments, "offset", None), {}
    if isinstance(answer.value, CursorPage):
        more = {"next": rows[shown - 1]["id"]}
    elif isinstance(offset, int):
        more = {"next": offset + shown}
    return {**more, "shown": f"{shown} of {len(rows)} rows, as many as fit; the rest needs a smaller limit or filter"}


def _columns(answer: Answer, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the usual columns of the rows' shape, and those that the caller wants besides."""
    row, arguments = answer.tool.row, answer.arguments
    if row is None:
        return tuple(rows[0])[:USUAL_COLUMNS] if rows and isinstance(rows[0], Mapping) else ()
    usual: tuple[str, ...] = getattr(row, "columns", tuple(row.model_fields)[:USUAL_COLUMNS])
    more = arguments.more_columns if isinstance(arguments, Listing) else ()
    return tuple(dict.fromkeys((*usual, *more)))


def _object_text(answer: Answer, value: Mapping[str, Any]) -> str:
    """Return one object on one line, and each list of objects within it as a table below."""
    lists = dict(_inner_lists(value))
    line = _members(value, but=lists)
    if answer.as_of is not None:
        stale = ", source: stale" if answer.source is Source.STALE else ""
        line = f"{line}, as_of: {_value(answer.as_of)}{stale}"
    tables = (f"\n{name}:\n{_inner_table(rows)}" for name, rows in lists.items())
    return _cut(line + "".join(tables), ANSWER_CHARACTERS)


def _inner_lists(value: Mapping[str, Any]) -> Iterable[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Yield the lists of objects in an object, and in the objects that it holds."""
    for name, member in value.items():
        if isinstance(member, Mapping):
            yield from _inner_lists(member)
        elif isinstance(member, list) and member and all(isinstance(row, Mapping) for row in member):
            yield name, member


def _inner_table(rows: Sequence[Mapping[str, Any]]) -> str:
    telling = dict.fromkeys(name for row in rows for name, member in row.items() if not _blank(member))
    lines = _table(tuple(telling)[:INNER_COLUMNS], rows[:INNER_ROWS])
    if len(rows) > INNER_ROWS:
        lines.append(f"… and {len(rows) - INNER_ROWS} more")
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return ["\t".join(columns), *("\t".join(_cell(row.get(column)) for column in columns) for row in rows)]


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """Return the first lines that fit into `room` characters; one row at least, so that who pages gets on."""
    fitting = list(lines[:2])
    room -= sum(len(line) + 1 for line in fitting)
    for line in lines[2:]:
        room -= len(line) + 1
        if room < 0:
            break
        fitting.append(line)
    return fitting


def _cell(value: Any) -> str:
    """Return a value for a cell of a table, on one line and without the tabs that part the cells."""
    if _blank(value):
        return NOTHING
    if isinstance(value, Mapping):
        return " ".join(_cell(member) for member in value.values())
    if isinstance(value, list):
        return ",".join(_cell(member) for member in value)
    return clean(value, CELL_CHARACTERS) if isinstance(value, str) else _value(value)


def _members(value: Mapping[str, Any], but: Iterable[str] = ()) -> str:
    """Return `name: value, …` of the members that say something, without those named in `but`, at any depth."""
    told = ((name, _value(member, but)) for name, member in value.items() if name not in but and not _blank(member))
    return ", ".join(f"{name}: {member}" for name, member in told if member != "{}")


def _value(value: Any, but: Iterable[str] = ()) -> str:
    """Return a value in short: text is quoted where it could be taken for something else."""
    if isinstance(value, Mapping):
        return f"{{{_members(value, but)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(member, but) for member in value)}]"
    if isinstance(value, float):
        return str(round(value)) if abs(value) >= EXACT_BELOW else f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and ": " not in value and not _LITERAL.fullmatch(value)
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), default=str)


def _blank(value: Any) -> bool:
    """Tell whether a value says nothing; zero and false say something."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _between(head: str, middle: str, tail: str) -> str:
    """Return the three in at most 80 tokens; the middle gives way."""
    room = max(SENTENCE_CHARACTERS - len(head) - len(tail), 0)
    return f"{_cut(head, SENTENCE_CHARACTERS - len(tail))}{_cut(middle, room)}{tail}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…" if room else ""
