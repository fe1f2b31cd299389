"""What happened: the platform's own log rows, and the simulator's list of actions that tests read."""

from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.simulator.model import Database

MAX_LOG_ROWS = 25_000  # what the platform keeps (VergeOS API notes 3.15)


@dataclass(slots=True)
class Action:
    """One write that reached the simulator.

    `at` is when it was asked, `effect_at` when what was asked for stood (None: not yet, or never); both in Unix
    seconds. `table` is the table that was posted to, such as `vm_actions`; `key` and `name` are those of the object
    acted on, such as the VM. `ok` is False for a refusal, whose text is in `error`.
    """

    at: float
    table: str
    key: int | str | None
    name: str
    action: str
    params: dict[str, Any] = field(default_factory=dict)
    user: str = ""
    ok: bool = True
    effect_at: float | None = None
    error: str = ""

    def lands(self, moment: float) -> None:
        """Note that what was asked for stands since `moment` (Unix seconds)."""
        self.effect_at = moment

    def as_dict(self) -> dict[str, Any]:
        """The action as JSON."""
        return asdict(self)


class Journal:
    """Writes `logs` and `machine_logs` rows and keeps the actions, oldest first."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.actions: list[Action] = []
        self._last_timestamp = 0

    def log(
        self,
        text: str,
        *,
        object_type: str,
        object_name: str,
        user: str = "",
        level: str = "message",
        machine: int | None = None,
        at: float | None = None,
    ) -> None:
        """Add a line to `logs`, and with `machine` to `machine_logs` too; `at` (Unix seconds) is now by default."""
        common = {"level": level, "text": text, "user": user, "timestamp": self._timestamp_us(at)}
        self._append("logs", {**common, "object_type": object_type, "object_name": object_name})
        if machine is not None:
            self._append("machine_logs", {**common, "machine": machine})

    def machine_log(self, machine: int, text: str, *, level: str = "message", user: str = "") -> None:
        """Add a line to `machine_logs` only: where VergeOS tells why a start failed (VergeOS API notes 4.1)."""
        line = {"level": level, "text": text, "user": user, "timestamp": self._timestamp_us(), "machine": machine}
        self._append("machine_logs", line)

    def _append(self, table: str, line: dict[str, Any]) -> None:
        rows = self.db[table]
        rows.insert(line)
        if len(rows) > MAX_LOG_ROWS:
            rows.remove(next(iter(rows.rows)))

    def _timestamp_us(self, at: float | None = None) -> int:
        """The moment in microseconds, never twice the same, so that sorting by time keeps the order of events."""
        moment = self.db.now() if at is None else at
        self._last_timestamp = max(self._last_timestamp + 1, int(moment * 1_000_000))
        return self._last_timestamp
