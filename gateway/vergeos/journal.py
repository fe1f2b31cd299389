"""The calls about the platform's log and its alarms, typed, and what their rows mean."""

from dataclasses import dataclass

from gateway.core.journal import Alarm, LogEntry
from gateway.core.text import clean
from gateway.vergeos.client import VergeClient
from gateway.vergeos.columns import WORD_LIMIT, Row, exact, flag, key, moment, name, number, required, text, word
from gateway.vergeos.filters import Filter, all_of, eq

MOST_ALARMS = 1_000  # of the newest; nobody reads more
LOG_FIELDS = "$key,timestamp,level,user,object_type,object_name,text"
ALARM_FIELDS = (
    "$key,level,status,alarm_type#name as type,alarm_type#description as type_description,owner,owner_type,"
    "owner#name as owner_name,resolvable,resolve_text,created,snooze"
)
_MICROSECONDS = 1_000_000  # the log counts these; every other time of VergeOS is in seconds


@dataclass(frozen=True)
class LogQuery:
    """Which lines of the log are wanted: at most `limit` of the newest; a text that is not given leaves all.

    `object` is what VergeOS calls `object_name`, matched exactly.
    """

    limit: int
    level: str | None = None
    object_type: str | None = None
    object: str | None = None

    @property
    def filter(self) -> Filter | None:
        """The condition in VergeOS' words; None for every line."""
        wanted = {"level": self.level, "object_type": self.object_type, "object_name": self.object}
        conditions = [eq(field, value) for field, value in wanted.items() if value is not None]
        return all_of(*conditions) if conditions else None


async def read_log(client: VergeClient, query: LogQuery) -> list[LogEntry]:
    """Return lines of the platform's log, newest first; one request, chosen by VergeOS (VergeOS API notes 3.15)."""
    found = await client.rows("logs", fields=LOG_FIELDS, filter=query.filter, sort="-timestamp", limit=query.limit)
    return [log_entry(row) for row in found]


async def list_alarms(client: VergeClient) -> list[Alarm]:
    """Return the alarms that are raised, snoozed ones too, the newest 1,000; one request (VergeOS API notes 3.16)."""
    found = await client.rows("alarms", fields=ALARM_FIELDS, sort="-created", limit=MOST_ALARMS)
    return [alarm(row) for row in found]


def log_entry(row: Row) -> LogEntry:
    """Return a line of the log, its time turned into seconds; raises VergeOSBadAnswer if the row has no key."""
    return LogEntry(
        id=required(row, "$key"),
        logged_at=(number(row, "timestamp") or 0) / _MICROSECONDS,
        level=word(row, "level"),
        object_type=word(row, "object_type"),
        object=name(row, "object_name") or "",
        user=name(row, "user") or "",
        text=text(row, "text"),
    )


def alarm(row: Row) -> Alarm:
    """Return an alarm; raises VergeOSBadAnswer if the row has no key.

    Its owner comes as `vms/12`, and the joined columns of the owner may be missing (VergeOS API notes 2.2, 2.3).
    """
    table, _, owner = clean(exact(row, "owner"), WORD_LIMIT).rpartition("/")
    return Alarm(
        id=required(row, "$key"),
        level=word(row, "level"),
        type=name(row, "type") or "",
        text=text(row, "status"),
        object_type=(word(row, "owner_type") or table).removesuffix("s"),
        object_id=key(owner),
        object=name(row, "owner_name"),
        raised_at=moment(row, "created"),
        snooze_ends_at=moment(row, "snooze"),
        resolvable=flag(row, "resolvable"),
        advice=text(row, "resolve_text"),
        description=text(row, "type_description"),
    )
