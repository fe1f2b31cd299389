"""The steps that move a job on: what is seen of its object, and what a decider says to do next."""

from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.core.drive import DriveLook
from gateway.core.job import Act, Live, Phase
from gateway.core.network import NetworkLook
from gateway.core.snapshot import SnapshotLook
from gateway.core.tenant import TenantLook
from gateway.core.vm import VmLook


@dataclass(frozen=True)
class Seen:
    """What is known of the object: the watcher's observation, or a live look at a VM, network or tenant.

    `at` is when the question was sent to VergeOS; `gone` is true where it has no such object any more.
    `asked_in_log` tells whether VergeOS' own log shows that the action of the look was asked for, None where
    that was not looked up. `room_mb` is the most RAM that one node could give, where that was asked (`rooms`)
    and VergeOS tells it. `part` is the drive or snapshot that was looked for (`sought`), None where there is none;
    with `partial` nothing else was looked at, and the rest is as it was before.
    """

    at: float
    running: bool
    status: str
    started_at: float | None = None
    vm: VmLook | None = None
    asked_in_log: bool | None = None
    rooms: bool = False
    room_mb: int | None = None
    network: NetworkLook | None = None
    tenant: TenantLook | None = None
    gone: bool = False
    sought: bool = False
    part: DriveLook | SnapshotLook | None = None
    partial: bool = False

    @classmethod
    def of(cls, look: Live, at: float) -> "Seen":
        """Return what a live look at `at` shows."""
        return cls(
            at=at,
            running=look.running,
            status=look.status,
            started_at=look.started_at,
            vm=look if isinstance(look, VmLook) else None,
            network=look if isinstance(look, NetworkLook) else None,
            tenant=look if isinstance(look, TenantLook) else None,
        )

    @property
    def look(self) -> Live | None:
        """The live look, None for an observation."""
        return self.vm or self.network or self.tenant

    @property
    def live(self) -> bool:
        """True when VergeOS was asked for this decision."""
        return self.look is not None or self.gone or self.partial


@dataclass(frozen=True)
class Moment:
    """Now, on two clocks: Redis' time, and the patient one that stands still while VergeOS cannot be seen."""

    at: float
    patient: float


@dataclass(frozen=True)
class Part:
    """A drive or VM snapshot: by its key, or by the id of the job that made it where the key is not known."""

    kind: Literal["drive", "snapshot"]
    key: int | None = None


@dataclass(frozen=True)
class Look:
    """Ask VergeOS for the live object, then decide again.

    With `rooms` also for the room on the nodes, with `log` for whether VergeOS' own log tells of this action, with
    `part` for a drive or snapshot of the VM, with `partial` for that alone.
    """

    rooms: bool = False
    log: str = ""
    part: Part | None = None
    partial: bool = False


@dataclass(frozen=True)
class Ask:
    """Send this to VergeOS, after the intent is saved; `mends` marks what only brings the object back."""

    action: str
    phase: Phase
    detail: str
    label: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    mends: bool = False

    @property
    def name(self) -> str:
        """The act's label; the action where it needs no other."""
        return self.label or self.action

    def act(self, now: Moment, seen: Seen | None) -> Act:
        """Return the act as it is intended now, on what was seen of its object."""
        return Act(
            label=self.name,
            action=self.action,
            params=self.params,
            intended_at=now.at,
            patient_intent=now.patient,
            started_before=None if seen is None else seen.started_at or 0.0,
            mends=self.mends,
        )


@dataclass(frozen=True)
class Confirm:
    """The answer of this act never came, but VergeOS shows its effect: count it as answered now."""

    label: str


@dataclass(frozen=True)
class Recall:
    """VergeOS' log tells of this request and the record does not: take it as sent and unanswered, for Redis forgot."""

    ask: Ask


@dataclass(frozen=True)
class Wait:
    """Nothing to do until `until` (Redis' time), or until the watcher sees the object `on` or `off`."""

    phase: Phase
    detail: str
    until: float
    wake_when: Literal["on", "off"] | None = None


@dataclass(frozen=True)
class Inquire:
    """Ask a person before going on; `about` names what a yes permits."""

    text: str
    about: str


@dataclass(frozen=True)
class Undo:
    """The wish is given up after acts were sent: from now on only what was before is brought back."""

    code: str
    detail: str
    next_step: str


@dataclass(frozen=True)
class Done:
    """The wish is fulfilled."""

    detail: str
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fail:
    """The wish cannot be fulfilled; `explain` adds the last lines of the machine's own log."""

    code: str
    detail: str
    next_step: str
    explain: bool = False
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stopped:
    """Cancelled, with what is left of it said in `detail`."""

    detail: str
    result: dict[str, Any] = field(default_factory=dict)


Step = Look | Ask | Confirm | Recall | Wait | Inquire | Undo | Done | Fail | Stopped
