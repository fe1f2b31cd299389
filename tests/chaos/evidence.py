"""What a run leaves behind, as the judge reads it: VergeOS' own list of actions, the records, their events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.events import JobEvent
from gateway.core.job import Job

MARK_HEADER = "X-Chaos-Mark"
PERSON = "person"  # who acts in VergeOS' own UI
POWER = {"vm_actions": "vm", "vnet_actions": "network", "tenant_actions": "tenant"}  # table -> kind of object
LEADS_TO = {"poweroff": False, "kill": False, "poweron": True, "reset": True}  # whether it runs when that landed


@dataclass(frozen=True)
class Action:
    """One write as VergeOS lists it; `user` is a job and the label of its act, or a person. Times are Unix seconds."""

    at: float
    table: str
    key: int | str | None
    name: str
    action: str
    params: Mapping[str, Any] = field(default_factory=dict)
    user: str = ""
    ok: bool = True
    effect_at: float | None = None
    error: str = ""

    @property
    def job(self) -> str | None:
        """The job it was sent for, None for what people do."""
        job, slash, _ = self.user.partition("/")
        return job if slash else None

    @property
    def label(self) -> str:
        """The label of the job's act."""
        return self.user.partition("/")[2]

    @property
    def ref(self) -> str | None:
        """The object that it switches, as `Target.ref` names it; None for what switches nothing."""
        return f"{POWER[self.table]}:{self.key}" if self.table in POWER else None


@dataclass(frozen=True)
class Accepted:
    """An answer that named a job: the caller may rely on it from then on."""

    call: str
    job: str
    at: float
    key: str | None = None
    misused: bool = False


@dataclass(frozen=True)
class GoneBack:
    """Redis lost what it was told between `copied_at` and `back_at`: an old copy took the place of its data."""

    copied_at: float
    back_at: float

    def touched(self, job: Job) -> bool:
        """Tell whether a job lived then, so that a part of its story may be lost."""
        return job.created_at <= self.back_at and (job.ended_at is None or job.ended_at >= self.copied_at - 0.5)


@dataclass(frozen=True)
class Evidence:
    """All of it. `ran`: what ran at the begin; `runs`: what does at the end; `replaced`: VMs that were made anew.

    `audited`: how often the audit tells of each act, by job and label; None where it was not kept; `answered`: how
    often it tells that VergeOS did it.
    """

    actions: tuple[Action, ...]
    records: Mapping[str, Job]
    events: Mapping[str, tuple[JobEvent, ...]]
    accepted: tuple[Accepted, ...]
    told: Mapping[str, str] = field(default_factory=dict)
    gone_back: tuple[GoneBack, ...] = ()
    ran: Mapping[str, bool] = field(default_factory=dict)
    runs: Mapping[str, bool] = field(default_factory=dict)
    replaced: tuple[tuple[str, float], ...] = ()
    step_seconds: float = 3.0
    audited: Mapping[tuple[str, str], int] | None = None
    answered: Mapping[tuple[str, str], int] = field(default_factory=dict)
    audit_faults: tuple[str, ...] = ()

    def lost(self, since: float, until: float) -> bool:
        """Tell whether Redis may have lost what was written at some moment between these two."""
        return any(since <= gap.back_at and gap.copied_at - 0.5 <= until for gap in self.gone_back)

    def touched(self, job: Job) -> bool:
        """Tell whether a part of this job's story may be lost."""
        return any(gap.touched(job) for gap in self.gone_back)

    def of(self, job_id: str) -> list[Action]:
        """Return what was carried out for a job, refused or not, in VergeOS' order."""
        return [action for action in self.actions if action.job == job_id]

    def power(self, ref: str) -> list[tuple[float, bool, str]]:
        """Return when an object went on or off in fact, and for whom: moment, whether it runs, user."""
        landed = [
            (action.effect_at, LEADS_TO[action.action], action.user)
            for action in self.actions
            if action.ref == ref and action.ok and action.effect_at is not None and action.action in LEADS_TO
        ]
        anew = [(at, False, PERSON) for replaced, at in self.replaced if replaced == ref]
        return sorted((*landed, *anew))

    def mended(self, action: Action) -> bool:
        """Tell whether somebody else undid between this act and the same one before it what that had done."""
        if action.effect_at is None:
            return False
        if action.action == "create":
            first = min(other.at for other in self.of(action.job or "") if other.label == action.label)
            return any(
                (other.table, other.name, other.action) == (action.table, action.name, "delete")
                and other.job != action.job
                and first < other.at < action.at
                for other in self.actions
            )
        users = [] if action.ref is None else [user for at, _, user in self.power(action.ref) if at < action.effect_at]
        same = [number for number, user in enumerate(users) if user == action.user]
        return bool(same) and any(user.partition("/")[0] != action.job for user in users[same[-1] :])

    def was(self, ref: str, running: bool, since: float, until: float) -> bool:
        """Tell whether an object was on (or off) at some moment between these two; what is not known counts as yes."""
        state = self.ran.get(ref)
        for moment, runs, _ in self.power(ref):
            if moment > until:
                break
            if moment > since and state in {None, running}:
                return True
            state = runs
        return state in {None, running}
