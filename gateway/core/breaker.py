"""When nobody asks VergeOS: a pause after it showed that it is pressed, a break after it failed again and again."""

from dataclasses import dataclass, replace

OPENS_AFTER = 5  # failures in a row, over all processes
PAUSE_FIRST_SECONDS = 0.1
PAUSE_LAST_SECONDS = 2.0
PAUSE_MOST_SECONDS = 60.0  # however long VergeOS, or a proxy, says in Retry-After


@dataclass(frozen=True)
class Rests:
    """How long the break lasts before one request tries again, in seconds; it doubles with each failure."""

    first: float
    last: float


@dataclass(frozen=True)
class News:
    """What one process met since it told the others: whether VergeOS answered, and the failures since then.

    `pressed` is whether one of these was a dropped connection or a busy answer; `pause` what it asked for, in seconds.
    """

    answered: bool = False
    failures: int = 0
    pressed: bool = False
    pause: float = 0.0
    why: str = ""

    def then(self, later: "News") -> "News":
        """Return both in one: an answer makes up for the failures before it."""
        if later.answered:
            return later
        failures, why = self.failures + later.failures, later.why or self.why
        return News(self.answered, failures, self.pressed or later.pressed, max(self.pause, later.pause), why)


ANSWERED = News(answered=True)


@dataclass(frozen=True)
class Health:
    """How VergeOS does, as all processes know it; times are Redis'.

    `open_since` is since when nobody asks it, None while it is asked; from `try_at` on one request may try.
    """

    failures: int = 0
    pause_until: float = 0.0
    open_since: float | None = None
    try_at: float = 0.0
    why: str = ""

    def after(self, news: News, now: float, rests: Rests) -> "Health":
        """Return the health with what a process met."""
        if news.answered and not news.failures:
            return Health(pause_until=self.pause_until) if self.failures else self
        if not news.failures:
            return self
        failures = news.failures + (0 if news.answered else self.failures)
        pause = max(news.pause, backoff_seconds(failures)) if news.pressed else 0.0
        paused = replace(
            self,
            failures=failures,
            pause_until=max(self.pause_until, now + min(pause, PAUSE_MOST_SECONDS)),
            open_since=None if news.answered else self.open_since,
            why=news.why,
        )
        if failures < OPENS_AFTER:
            return paused
        rest = min(rests.first * 2 ** min(failures - OPENS_AFTER, 20), rests.last)
        since, try_at = now if paused.open_since is None else paused.open_since, max(now + rest, paused.pause_until)
        return replace(paused, open_since=since, try_at=try_at)

    def trying(self, now: float, seconds: float) -> "Health | None":
        """Return the health once somebody tries, for which he has so long; None where nobody may yet."""
        return None if self.open_since is None or now < self.try_at else replace(self, try_at=now + seconds)


def backoff_seconds(failures: int) -> float:
    """Return the pause of all after so many failures in a row."""
    return min(PAUSE_FIRST_SECONDS * 2.0 ** min(failures - 1, 20), PAUSE_LAST_SECONDS)
