"""What a person is told while VergeOS cannot be seen: since when, what is held, what will not happen."""

import math
from datetime import UTC, datetime

DAY_SECONDS = 86_400


def outage_words(
    since: float,
    now: float,
    *,
    held: int,
    unbegun: int,
    expire_first: float | None = None,
    expire_last: float | None = None,
    gap_asks_after: float = math.inf,
) -> str:
    """Return one sentence about an outage that began at `since`; times are Unix seconds, told in UTC.

    `held` jobs are under way; `unbegun` ones have sent nothing yet and expire between the two moments. A job under
    way that stood still for `gap_asks_after` seconds asks before it goes on.
    """
    told = [f"site unreachable since {_clock(since, now, seconds=True)} UTC"]
    if held:
        asks = ", they ask before they go on" if now - since > gap_asks_after else ""
        told.append(f"{_jobs(held)} held, nothing will be forced{asks}")
    if unbegun and expire_first is not None and expire_last is not None:
        first, last = (_clock(max(at, now), now) for at in (expire_first, expire_last))
        when = f"at {first}" if first == last else f"between {first} and {last}"
        told.append(f"{unbegun} not yet begun {'expires' if unbegun == 1 else 'expire'} {when} and will not fire later")
    return "; ".join(told)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _clock(at: float, now: float, *, seconds: bool = False) -> str:
    """Return the time of day, with the date where it is not of the last day."""
    shown = "%H:%M:%S" if seconds else "%H:%M"
    return datetime.fromtimestamp(at, UTC).strftime(shown if abs(now - at) < DAY_SECONDS else f"%Y-%m-%d {shown}")
