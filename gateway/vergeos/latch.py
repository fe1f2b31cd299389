"""Refused credentials stay refused: no process tries them again, or VergeOS locks the user and all its keys."""

import time
from datetime import UTC, datetime

from gateway.core.errors import StoreError, VergeOSUnauthorized
from gateway.store.credentials import SharedCredentials

REFUSED_STEP = (
    "Give the gateway other VergeOS credentials; if these are good again (a user unlocked, a password set back), "
    "let them be tried once with `vergeos-gateway doctor --try-credentials`."
)


class Latch:
    """The refusal as Redis tells it to all processes, and as this process remembers it while Redis is away."""

    def __init__(self, shared: SharedCredentials, fingerprint: str) -> None:
        self._shared = shared
        self._fingerprint = fingerprint
        self._refused_at: float | None = None
        self._told = True  # whether Redis knows what this process knows
        self._met_at = 0.0  # when this process was refused last, on its monotonic clock
        self.changes = 0  # made here; what Redis told before one of them is out of date

    async def hear(self, refused_at: float | None, changes: int) -> None:
        """Take what Redis told while this process had made so many `changes`, or tell Redis what it missed."""
        if not self._told:
            await self._tell()
        elif changes == self.changes:
            self._refused_at = refused_at

    def check(self) -> None:
        """Raise VergeOSUnauthorized while the credentials are refused."""
        if self._refused_at is not None:
            raise VergeOSUnauthorized(
                f"VergeOS has refused the gateway's credentials since {_written(self._refused_at)}; "
                "they are not tried again until they change",
                next_step=REFUSED_STEP,
            )

    async def close(self) -> None:
        """Note the refusal for all processes, or for this one until Redis is back."""
        self._met_at = time.monotonic()
        await self._tell()

    async def _tell(self) -> None:
        """Tell Redis of the refusal; one from before somebody let the credentials be tried again is forgotten."""
        self.changes += 1
        try:
            self._refused_at = await self._shared.refuse(self._fingerprint, ago=time.monotonic() - self._met_at)
            self._told = True
        except StoreError:
            self._refused_at = time.time() if self._refused_at is None else self._refused_at
            self._told = False

    async def open(self) -> None:
        """Let the credentials be tried again, by every process. Raises StoreError."""
        await self._shared.forget_refusal(self._fingerprint)
        self.changes += 1
        self._refused_at, self._told = None, True


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
