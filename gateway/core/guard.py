"""What may not be touched, and when: the freeze, protected objects, maintenance windows. Times are in Unix seconds.

Powering on and taking a snapshot disturb nobody: they are refused by a freeze alone.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from gateway.core.errors import Frozen, OutsideWindow, Protected
from gateway.core.wishes import NetworkAction, PowerOff, Reset, Resize, RestoreSnapshot, TenantAction, Wish

if TYPE_CHECKING:  # a job knows callers, whose rights know guards
    from gateway.core.job import Job, Target

DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
TAG = "tag:"
HARMLESS = frozenset({"power_on", "create_snapshot"})


def moment(at: float) -> str:
    """Return a time as people and programs read it, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def unix_time(moment: datetime | None) -> float | None:
    """Return a time in Unix seconds; one without a zone is UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Freeze(BaseModel):
    """All changes are stopped: by whom, why, since when, and until when (None: until somebody ends it)."""

    model_config = ConfigDict(frozen=True)

    by: str
    why: str
    at: float | None = None
    until: float | None = None

    def told(self) -> str:
        """Return the freeze in a sentence."""
        since = "" if self.at is None else f" since {moment(self.at)}"
        until = "" if self.until is None else f", until {moment(self.until)}"
        return f"all changes are frozen by {self.by}{since}: {self.why}{until}"

    def refusal(self) -> Frozen:
        """Return what a change is answered with."""
        return Frozen(self.told(), by=self.by, why=self.why, until=self.until)


READ_ONLY = Freeze(by="the setting READ_ONLY", why="this gateway only reads")


@dataclass(frozen=True)
class Selector:
    """Names objects by a glob on their name (any case), or VMs by a tag, written `tag:x`."""

    text: str

    @property
    def tag(self) -> str | None:
        """The tag, None for a glob."""
        return self.text.removeprefix(TAG) if self.text.startswith(TAG) else None

    def covers(self, name: str, tags: Collection[str]) -> bool:
        """Tell whether an object of this name, with these tags, is meant."""
        return fnmatchcase(name.lower(), self.text.lower()) if self.tag is None else self.tag in tags


@dataclass(frozen=True)
class Window:
    """When what the selector names may be changed: on these weekdays, from `begins` to `ends` in minutes of a UTC day.

    A window whose end is not after its beginning ends on the next day.
    """

    selector: Selector
    days: frozenset[int]
    begins: int
    ends: int

    def next_opening(self, at: float) -> float:
        """Return when the window opens next after `at`; `at` itself while it is open."""
        midnight = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        length = timedelta(minutes=(self.ends - self.begins - 1) % DAY_MINUTES + 1)
        for days in range(-1, 8):
            opens = midnight + timedelta(days=days, minutes=self.begins)
            if (midnight + timedelta(days=days)).weekday() in self.days and at < (opens + length).timestamp():
                return max(at, opens.timestamp())
        raise AssertionError("a window opens every week")


@dataclass(frozen=True)
class Guards:
    """What is protected. `never_force` objects may be asked to stop, never forced; `own` are uuids and names of VMs
    that the gateway itself runs on.
    """

    protected: tuple[Selector, ...] = ()
    never_force: tuple[Selector, ...] = ()
    windows: tuple[Window, ...] = ()
    own: frozenset[str] = field(default_factory=frozenset)

    @property
    def tags(self) -> frozenset[str]:
        """The tags that matter: whoever asks must know which of them an object carries."""
        selectors = (*self.protected, *self.never_force, *(window.selector for window in self.windows))
        return frozenset(selector.tag for selector in selectors if selector.tag is not None)

    def joined(self, other: "Guards") -> "Guards":
        """Return what one or the other protects."""
        return Guards(
            protected=self.protected + other.protected,
            never_force=self.never_force + other.never_force,
            windows=self.windows + other.windows,
            own=self.own | other.own,
        )

    def require(self, target: "Target", tags: Collection[str], wish: Wish, at: float) -> None:
        """Raise `Protected` or `OutsideWindow` where this wish may not be fulfilled on this object now."""
        if harmless(wish):
            return
        self.require_touchable(target, tags, force=forces(wish))
        openings = [window.next_opening(at) for window in self.windows if window.selector.covers(target.name, tags)]
        if openings and min(openings) > at:
            opens = min(openings)
            raise OutsideWindow(
                f"{target.name} is changed in its maintenance windows only; the next one opens at {moment(opens)}",
                opens_at=opens,
            )

    def require_touchable(self, target: "Target", tags: Collection[str], *, force: bool) -> None:
        """Raise `Protected` for an object that must not be changed, with `force` also for one that is never forced."""
        if target.kind == "vm" and {plain_uuid(target.uuid), target.name.lower()} & self.own:
            raise Protected(f"the gateway itself runs on {target.name}", rule="own")
        for selector in self.protected:
            if selector.covers(target.name, tags):
                raise Protected(f"{target.name} is protected ({selector.text})", rule=f"protected {selector.text}")
        if force and self.never_forced(target, tags):
            raise Protected(f"{target.name} is never forced", next_step="Ask its guest: power_off_vm without force.")

    def never_forced(self, target: "Target", tags: Collection[str]) -> bool:
        """Tell whether an object's power is never cut."""
        return any(selector.covers(target.name, tags) for selector in self.never_force)


NOTHING = Guards()
"""Protects nothing."""


def harmless(wish: Wish) -> bool:
    """Tell whether a wish disturbs nobody who uses its object."""
    kind = getattr(wish, "kind", "")
    return kind in HARMLESS or (isinstance(wish, NetworkAction | TenantAction) and wish.action == "poweron")


def forces(wish: Wish) -> bool:
    """Tell whether a wish would stop its VM without its guest's consent."""
    if isinstance(wish, Reset):
        return wish.hard
    if isinstance(wish, PowerOff | Resize | RestoreSnapshot):
        return bool(wish.force)
    return getattr(wish, "kind", "") == "force_off"


def stops(wish: Wish) -> bool:
    """Tell whether a wish takes its VM, network or tenant down, if only for a moment."""
    if isinstance(wish, Resize | RestoreSnapshot):
        return wish.may_stop
    if isinstance(wish, NetworkAction | TenantAction):
        return wish.action in {"poweroff", "reset"}
    return getattr(wish, "kind", "") in {"power_off", "force_off", "reset"}


def plain_uuid(uuid: str) -> str:
    """Return a uuid as it is compared: firmware and VergeOS write it in either case, with hyphens or without."""
    return uuid.strip().lower().replace("-", "")


def own_names(written: Iterable[str]) -> frozenset[str]:
    """Return names and uuids of VMs as `Guards.own` holds them."""
    found = set()
    for text in written:
        plain = plain_uuid(text)
        found.add(plain if re.fullmatch(r"[0-9a-f]{32}", plain) else text.strip().lower())
    return frozenset(found)


def window(text: str) -> Window:
    """Return a window written as `SELECTOR DAYS HH:MM-HH:MM`, e.g. `tag:db sat,sun 22:00-04:00`; times are UTC.

    DAYS are weekdays in English by three letters, or `daily`. Raises ValueError that says what is wrong.
    """
    parts = text.rsplit(maxsplit=2)
    if len(parts) != 3:
        raise ValueError(f"a maintenance window is SELECTOR DAYS HH:MM-HH:MM, not {text!r}")
    selector, days, hours = parts
    names = DAY_NAMES if days.lower() == "daily" else tuple(days.lower().split(","))
    unknown = [name for name in names if name not in DAY_NAMES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no weekday: {', '.join(DAY_NAMES)}, or daily")
    span = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", hours)
    if span is None:
        raise ValueError(f"{hours!r} is not HH:MM-HH:MM")
    first_hour, first_minute, last_hour, last_minute = map(int, span.groups())
    numbers = frozenset(DAY_NAMES.index(name) for name in names)
    return Window(Selector(selector), numbers, first_hour * 60 + first_minute, last_hour * 60 + last_minute)


def carried(target: "Target", carriers: Mapping[str, frozenset[int]]) -> frozenset[str]:
    """Return which tags a job's object carries, given the VMs that carry each."""
    return frozenset(tag for tag, vms in carriers.items() if target.kind == "vm" and target.key in vms)


def brings_back(job: "Job") -> bool:
    """Tell whether a job has stopped a running VM, or asked it to stop, only to start it again when it is done."""
    return job.act("stop") is not None and job.before is not None and job.before.running
