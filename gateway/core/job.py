"""A job: its durable record, and what callers see of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.access import Permission, Standing
from gateway.core.network import NetworkLook
from gateway.core.tenant import TenantLook
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.vm import VmLook
from gateway.core.wishes import AnyWish

Live = VmLook | NetworkLook | TenantLook

RECORD_VERSION = 1  # to be raised by what an older worker must not carry out; a new kind or member of a wish need not
REASON_LIMIT = 200


class JobState(StrEnum):
    """Where a job stands, in MCP's words."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True when nothing will change any more."""
        return self in {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}


class Phase(StrEnum):
    """What a working job is at."""

    QUEUED = "queued"
    ASKED = "asked"
    WAITING = "waiting"
    CHANGING = "changing"
    STOPPING = "stopping"
    STARTING = "starting"
    UNDOING = "undoing"
    HELD = "held"  # VergeOS cannot be seen, or will not let us


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Target(_Frozen):
    """The object of a job as it was at submit, its name cleaned; all of it is checked again before each act."""

    kind: Literal["vm", "network", "tenant"] = "vm"
    key: int
    machine_key: int | None
    name: str
    uuid: str

    @property
    def ref(self) -> str:
        """The object's name in Redis keys."""
        return f"{self.kind}:{self.key}"

    @property
    def watched(self) -> str:
        """What the watcher looks at for it: a machine of the platform, or a tenant."""
        return f"tenant:{self.key}" if self.machine_key is None else f"machine:{self.machine_key}"

    def view(self) -> "TargetView":
        """Return what callers see of the object."""
        return TargetView(kind=self.kind, id=self.key, name=self.name)

    def fits(self, look: Live, *, named: bool = True) -> bool:
        """Tell whether the live object is still the one that was meant, with `named` by its name too."""
        name = clean(look.name, NAME_LIMIT) if named else self.name
        return (self.key, self.machine_key, self.name, self.uuid) == (look.key, look.machine, name, look.uuid)


class Act(_Frozen):
    """One request that changes VergeOS; the intent is saved before it is sent, the answer after.

    `label` tells apart acts of one job that use the same `action`. `patient_at` is the answer's time
    on the clock that stands still while VergeOS cannot be seen, `patient_intent` the intent's. `started_before`
    is when the object had been started by the intent, 0 for never. `refused` is VergeOS' own text, `made` the
    key of what the act created; `mends` marks what only brings the object back.
    """

    label: str
    action: str
    params: dict[str, Any] = Field(default_factory=dict)
    intended_at: float
    made: int | None = None
    answered_at: float | None = None
    patient_at: float | None = None
    patient_intent: float | None = None
    started_before: float | None = None
    refused: str | None = None
    mends: bool = False


class Condition(_Frozen):
    """How the object was when a job looked; cores and RAM are those of a VM, `size_bytes` that of a drive."""

    running: bool
    started_at: float | None
    cpu_cores: int | None = None
    ram_mb: int | None = None
    size_bytes: int | None = None


class Wished(_Frozen):
    """Something somebody asked of a running job: who, when, and why."""

    by: str
    at: float
    reason: str = ""


class Question(_Frozen):
    """What a job asks a person; no answer until `expires_at` means no."""

    text: str
    about: str
    asked_at: float
    expires_at: float
    answered_at: float | None = None
    yes: bool | None = None

    @property
    def key(self) -> str:
        """Which question of its job this is: an answer to an earlier one must not be taken for it."""
        return f"{self.about}-{round(self.asked_at * 1000)}"


class Problem(_Frozen):
    """Why a job failed or is held: a code for programs, words for people, what to do next."""

    code: str
    detail: str
    next_step: str


class Joiner(_Frozen):
    """A caller who asked for the same as an open job; what is not set an older version did not know of."""

    name: str
    at: float
    standing: Standing | None = None
    needs: tuple[Permission, ...] = ()
    agent: str | None = None
    writes_as: str = ""

    @property
    def takes_over(self) -> dict[str, Any]:
        """The members of a job that is his from now on."""
        own = self.model_fields_set - {"name", "at"}
        return {"owner": self.name, **{name: getattr(self, name) for name in own}}


class Job(_Frozen):
    """The durable record of one long-running action; times are Redis' Unix seconds.

    `cancel`, `joiners` and the answer of `question` are written by callers beside the record and
    merged in when it is read; everything else is written by the step that holds the fence. `touched`
    names the views that its read-backs patched, with their generation since; `note` is said to one
    caller and never stored. `before` is the last look before the first act, `at_end` the last one of all. Members
    that a newer version added are kept when an older one saves the record. `agent` is the agent that asked, and whose,
    `standing` is by what its owner had his right, and `needs` what it takes on the object: asked again before acts; all
    of these are his to whom the job was handed over.
    `traceparent` the span of the call, `writes_as` the person whose VergeOS key its acts show (empty: the gateway's).
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    version: int = RECORD_VERSION
    site: str
    tool: str
    arguments: dict[str, Any]
    wish: AnyWish
    target: Target
    owner: str
    face: str
    client: str = ""
    reason: str = ""
    agent: str | None = None
    writes_as: str = ""
    may_ask: bool = False
    state: JobState = JobState.WORKING
    phase: Phase = Phase.QUEUED
    detail: str = ""
    created_at: float
    begun_at: float | None = None
    progress_at: float
    updated_at: float
    ended_at: float | None = None
    seq: int = 0
    failures: int = 0
    acts: tuple[Act, ...] = ()
    before: Condition | None = None
    at_end: Condition | None = None
    question: Question | None = None
    trouble: Problem | None = None
    undoing: Problem | None = None
    result: dict[str, Any] | None = None
    overtakes: str | None = None
    after: str | None = None
    traceparent: str = ""
    standing: Standing | None = None
    needs: tuple[Permission, ...] = ()
    cancel: Wished | None = None
    joiners: tuple[Joiner, ...] = ()
    touched: dict[str, int] = Field(default_factory=dict)
    note: str | None = None

    def act(self, label: str) -> Act | None:
        """Return the act of this label, or None where it was never intended."""
        return next((act for act in self.acts if act.label == label), None)

    def with_act(self, act: Act) -> Self:
        """Return the job with this act, in place of an earlier one of the same label."""
        others = tuple(known for known in self.acts if known.label != act.label)
        return self.model_copy(update={"acts": (*others, act)})

    def without_act(self, label: str) -> Self:
        """Return the job without this act: it surely never reached VergeOS."""
        return self.model_copy(update={"acts": tuple(act for act in self.acts if act.label != label)})

    @property
    def open_act(self) -> Act | None:
        """The act whose answer has not come, if there is one."""
        return next((act for act in self.acts if act.answered_at is None), None)

    @property
    def asks(self) -> Question | None:
        """The question that waits for an answer now."""
        question = self.question
        return question if self.state is JobState.INPUT_REQUIRED and question and question.yes is None else None

    def belongs_to(self, caller: str) -> bool:
        """Tell whether this caller made the job or joined it."""
        return caller == self.owner or any(caller == joiner.name for joiner in self.joiners)

    def view(self, place: "Place | None" = None) -> "JobView":
        """Return what callers see of the job; `place` tells how it stands among the others."""
        first = None if place is None else place.first
        return JobView(
            id=self.id,
            tool=self.tool,
            target=self.target.view(),
            state=self.state,
            phase=None if self.state.final else self.phase,
            detail=self.detail if first is None else f"waits for {first.owner}'s {first.tool}, job {first.id}",
            owner=self.owner,
            reason=self.reason or None,
            created_at=round(self.created_at, 3),
            ended_at=None if self.ended_at is None else round(self.ended_at, 3),
            result=self.result,
            problem=self.trouble,
            question=self.asks.text if self.asks else None,
            joiners=tuple(joiner.name for joiner in self.joiners) or None,
            waits_for=None if place is None else place.waits_for,
            position=None if place is None else place.position,
            expected_end_at=None if place is None else place.expected_end_at,
            note=self.note,
        )


@dataclass(frozen=True)
class Place:
    """How an open job stands: for which job it waits, its own position, and that job where its record is understood.

    `expected_end_at` is Redis' Unix seconds, by the usual time of its kind and of those before it; None: not known.
    """

    waits_for: str | None = None
    position: int | None = None
    first: Job | None = None
    expected_end_at: int | None = None


class Plan(_Frozen):
    """What a call would do; nothing was done. `requests` is what it would cost VergeOS, without the waiting."""

    target: Target
    current: dict[str, Any]
    wanted: dict[str, Any]
    warnings: tuple[str, ...] = ()
    requests: int

    def view(self, tool: str, owner: str, at: float) -> "JobView":
        """Return what callers see of a dry run: a job that is none."""
        return JobView(
            tool=tool,
            target=self.target.view(),
            state="planned",
            detail="dry run; nothing was done",
            owner=owner,
            created_at=round(at, 3),
            plan=self.model_dump(exclude={"target"}),
        )


Ordered = Job | Plan
"""What a tool that changes something returns: the job, or for a dry run its plan."""


class TargetView(_Frozen):
    """The object of a job, as callers know it."""

    kind: str
    id: int
    name: str


class JobView(_Frozen):
    """A job as callers see it; members that say nothing are left out. Times are Unix seconds."""

    columns: ClassVar[tuple[str, ...]] = ("id", "tool", "target", "state", "phase", "detail")

    id: str | None = Field(None, description="follow it with get_job")
    tool: str
    target: TargetView
    state: JobState | Literal["planned"]
    phase: Phase | None = None
    detail: str = ""
    owner: str
    reason: str | None = None
    created_at: float
    ended_at: float | None = None
    result: dict[str, Any] | None = None
    problem: Problem | None = None
    question: str | None = None
    joiners: tuple[str, ...] | None = None
    waits_for: str | None = Field(None, description="id of the job that goes first on this object")
    position: int | None = Field(None, description="place in the line of this object; it waits since created_at")
    expected_end_at: int | None = Field(None, description="by the usual time of such jobs")
    note: str | None = None
    plan: dict[str, Any] | None = None
    details: dict[str, Any] | None = None

    @property
    def open(self) -> bool:
        """True while something may still happen; a dry run's plan is not open."""
        return isinstance(self.state, JobState) and not self.state.final
