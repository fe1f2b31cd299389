"""The views of the platform's log and of its alarms, newest first."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.core.journal import Alarm, LogEntry
from gateway.vergeos import journal
from gateway.vergeos.client import VergeClient
from gateway.vergeos.journal import LogQuery
from gateway.views.declared import View
from gateway.views.rows import Rows

JOURNAL_SECONDS = 15.0
_SIZES: Final = (50, 200, 1_000)  # so that readers who want 20 and 30 lines share a view


def _id(row: LogEntry | Alarm) -> int:
    return row.id


def _newest_line(row: LogEntry) -> tuple[float, float]:
    return -row.logged_at, -row.id


def _newest_alarm(row: Alarm) -> tuple[float, float]:
    return -(row.raised_at or 0), -row.id


ALARMS: View[Alarm] = View(
    "alarms", "alarms", Alarm, journal.list_alarms, _id, lambda row: row.type, JOURNAL_SECONDS, place=_newest_alarm
)


def log_view(query: LogQuery) -> View[LogEntry]:
    """Return the view of the newest lines that `query` wants: at least its limit of them, or all there are."""
    sized = replace(query, limit=next((size for size in _SIZES if size >= query.limit), query.limit))

    async def read(vergeos: VergeClient) -> Sequence[LogEntry]:
        return await journal.read_log(vergeos, sized)

    name = hashlib.sha256(repr(sized).encode()).hexdigest()[:16]  # an object's name may be anything
    return View(f"log:{name}", "log", LogEntry, read, _id, lambda row: row.object, JOURNAL_SECONDS, place=_newest_line)


def active_alarms(rows: Rows[Alarm]) -> tuple[Alarm, ...]:
    """Return the alarms that nobody had snoozed when VergeOS was asked, newest first."""
    return tuple(row for row in rows.rows if not row.snoozed(rows.as_of))
