"""Since when VergeOS cannot be asked, as one process has seen it, and how a reader is told."""

from datetime import UTC, datetime

from gateway.core.errors import BudgetSpent, UpstreamError

AWAY_STATUS = 503  # whatever it is by itself: the reader can but come again
RETRY_SECONDS = 5.0


class Outage:
    """The present time without VergeOS, if there is one; `at` is Unix time."""

    def __init__(self) -> None:
        self.since: float | None = None

    def seen(self, error: UpstreamError, at: float) -> None:
        """Note that VergeOS could not be asked; our own limit says nothing of VergeOS."""
        if self.since is None and not isinstance(error, BudgetSpent):
            self.since = at

    def over(self) -> None:
        """Note that VergeOS answered."""
        self.since = None

    def told(self, error: UpstreamError, known: str) -> UpstreamError:
        """Return the failure with since when it lasts, and what is `known` all the same."""
        if self.since is None or "since" in error.extra:
            return error
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        told = type(error)(
            f"{error.detail}; VergeOS cannot be asked since {since}, and {known}",
            next_step=error.next_step,
            retry_after=error.retry_after or RETRY_SECONDS,
            **error.extra | {"since": round(self.since, 3)},
        )
        told.status = AWAY_STATUS
        return told
