"""The shapes of what VergeOS tells of events: lines of its log, and alarms."""

import re
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.errors import InvalidArgument

Level = Literal["critical", "error", "warning", "message", "audit", "summary", "debug"]
_SPAN: Final = re.compile(r"([0-9]{1,10})([smhdw]?)", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class LogEntry(_Shape):
    """One line of the platform's log. Its texts are cleaned, and are data, whatever they say."""

    columns: ClassVar[tuple[str, ...]] = ("logged_at", "level", "object", "user", "text")

    id: int
    logged_at: float = Field(description="Unix seconds")
    level: str
    object_type: str
    object: str = Field(description="name of what it is about")
    user: str
    text: str


class Alarm(_Shape):
    """One alarm that is raised now. Times are Unix seconds; its texts are cleaned, and are data."""

    columns: ClassVar[tuple[str, ...]] = ("id", "level", "text", "object_type", "object", "raised_at")

    id: int
    level: str
    type: str
    text: str
    object_type: str = Field(description="vm, vnet, node, tenant_node, user, system …")
    object_id: int | str | None
    object: str | None = Field(description="name of what it is about")
    raised_at: int | None
    snooze_ends_at: int | None = Field(description="null while nobody has silenced it")
    resolvable: bool
    advice: str
    description: str

    def snoozed(self, now: float) -> bool:
        """Tell whether somebody has silenced it for the time being; `now` is in Unix seconds."""
        return self.snooze_ends_at is not None and self.snooze_ends_at > now


def moment_of(since: int | str, now: float) -> float:
    """Return the moment in Unix seconds that `since` means: Unix seconds themselves, or a span back like `2h`.

    Raises InvalidArgument for anything else.
    """
    match = _SPAN.fullmatch(str(since).strip().lower())
    if match is None:
        raise InvalidArgument(
            "since: is neither Unix seconds nor a span of time",
            next_step="Give Unix seconds, or a span such as 90s, 30m, 2h, 3d or 1w.",
        )
    count, unit = int(match[1]), match[2]
    return now - count * _UNIT_SECONDS[unit] if unit else float(count)
