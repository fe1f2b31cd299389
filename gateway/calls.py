"""The one path of every call: authorize, validate, run, wait, record. No face has another way in."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel

from gateway.audited import audited
from gateway.core.access import Caller, CallerKind, Permission
from gateway.core.answer import Page, Reading, Source
from gateway.core.errors import InvalidArgument, NeedsPerson, StoreError, TooManyWaits
from gateway.core.job import Job, JobView, Plan
from gateway.core.spender import Spender
from gateway.core.tool import Arguments, Effect, Order, Read, Tool
from gateway.services import Services
from gateway.telemetry import traces
from gateway.telemetry.observed import Outcome, note_answered, observed_call
from gateway.vergeos import spending
from gateway.views.reads import CallReads
from gateway.views.sight import Sight

Rendered = TypeVar("Rendered")

ORDER = Order()  # nothing was said about the job
RENDERINGS_KEPT = 8  # of one answer: a few faces, each with its ways to ask


class Face(StrEnum):
    """The door a call came through."""

    REST = "rest"
    MCP = "mcp"
    PLAIN = "plain"  # one JSON-RPC message at POST /message
    STDIO = "stdio"


@dataclass(frozen=True)
class Call:
    """One use of a tool: who calls, through which door, and how he wants to be answered.

    `wait_seconds` is how long a job may be waited for before its present state is the answer;
    `report` hears of the job's progress meanwhile. `may_ask` is true when a person can be asked. `order` is
    what the caller said about the job that he makes, `max_age` how old what he reads may be, `traceparent` the
    span that his side calls from. `needs` are the permissions that the call takes on its object.
    """

    services: Services
    caller: Caller
    face: Face
    client: str = ""
    address: str = ""
    idempotency_key: str | None = None
    wait_seconds: float = 0.0
    may_ask: bool = False
    report: Callable[[JobView], Awaitable[None]] | None = None
    order: Order = ORDER
    max_age: float | None = None
    traceparent: str = ""
    needs: frozenset[Permission] = frozenset()

    def who(self) -> dict[str, Any]:
        """Return who calls and from where, as the audit tells it."""
        return {**named(self.caller), "address": self.address, "face": self.face.value, "client": self.client}

    @property
    def sight(self) -> Sight | None:
        """What the caller may see of VergeOS; None = all of it."""
        right = self.caller.right
        return None if right is None or right.sees_all else Sight(right, self.services.keys.site)

    @property
    def seen_as(self) -> str | None:
        """What tells what the caller may see from what others may; None = all of it."""
        right = self.caller.right
        return None if right is None or right.sees_all else right.token

    @cached_property
    def views(self) -> CallReads:
        """The views as this call reads them: what its caller may see, no older than it wants."""
        return CallReads(self.services.views, sight=self.sight, max_age=self.max_age)


@dataclass(frozen=True)
class Answer:
    """What a call brought: the value as callers see it, and how fresh it is (None where that says nothing).

    `arguments` are those of the call, validated. `older_because` says why it is older than it was wanted,
    `fresh_until` (Unix seconds) when VergeOS is asked anew; None where that is at once. The same answer may be given
    to many; what a face makes of it is kept in `rendered`.
    """

    tool: Tool
    value: Any
    as_of: float | None = None
    source: Source | None = None
    arguments: Arguments | None = None
    older_because: str = ""
    fresh_until: float | None = None
    rendered: dict[str, Any] = field(default_factory=dict, compare=False)

    def made(self, face: str, make: Callable[[], Rendered]) -> Rendered:
        """Return what a face makes of this answer, made once; the latest few are kept."""
        made: Rendered | None = self.rendered.get(face)
        if made is None:
            if len(self.rendered) >= RENDERINGS_KEPT:
                self.rendered.clear()
            made = self.rendered[face] = make()
        return made

    def age_ms(self, now: float) -> int:
        """Return the milliseconds since VergeOS was asked; `now` in Unix seconds."""
        return 0 if self.as_of is None else max(0, round((now - self.as_of) * 1000))

    def fresh_ms(self, now: float) -> int:
        """Return the milliseconds for which a later call would bring the same, but for what jobs change."""
        return 0 if self.fresh_until is None else max(0, round((self.fresh_until - now) * 1000))

    @property
    def job(self) -> JobView | None:
        """The job, where the call made one or asked for one."""
        return self.value if isinstance(self.value, JobView) else None

    def as_python(self) -> Any:
        """Return the value ready for JSON, without members that say nothing."""
        return self.tool.result.dump_python(self.value, mode="json", exclude_none=True)

    def as_json(self) -> bytes:
        """Return the value as compact JSON."""
        return self.tool.result.dump_json(self.value, exclude_none=True)


async def run(tool: Tool, raw: Mapping[str, Any] | Arguments, call: Call) -> Answer:
    """Carry out one call, of raw arguments or of those that `tool` parsed before.

    Raises a `GatewayError` and nothing else, but for a bug: its code, detail and next step may be
    shown to the caller as they stand.
    """
    kept = kept_answer(tool, raw, call)
    if kept is not None:
        return kept
    with (
        observed(call, tool) as outcome,
        audited(
            call.services.audit,
            tool.name,
            raw,
            call.who,
            changes=tool.changes(raw),
            rule=lambda: call.caller.decide(tool.permission).rule,
        ),
        spending.bound(Spender.calling(call.caller)),
    ):
        await call.services.limits.count(call.caller)
        tool.require(call.caller)
        arguments = raw if isinstance(raw, Arguments) else tool.parse(raw)
        tool.require(call.caller, arguments)
        answer = await (_of_views(tool, arguments, call) if tool.of_views else _carried_out(tool, arguments, call))
        outcome.ok(job=None if answer.job is None else answer.job.id)
        _count_age(answer, call)
        return answer


def observed(call: Call, tool: Tool) -> AbstractContextManager[Outcome]:
    """Return the context in which the call is seen: in figures, log and trace."""
    return observed_call(
        call.services.metrics,
        site=call.services.keys.site,
        tool=tool.name,
        face=call.face.value,
        caller=call.caller,
        traceparent=call.traceparent,
        tells=tool.effect is not Effect.READ or call.services.settings.log_reads,
    )


def named(caller: Caller) -> dict[str, Any]:
    """Return who a caller is, as the audit tells it."""
    return {"by": caller.name, "kind": caller.kind.value, "owner": caller.owner}


async def answer_question(call: Call, tool: Tool, job_id: str, *, yes: bool, question: str | None = None) -> JobView:
    """Answer what a job of this tool asks, with `question` only the one of this key; return the job.

    It takes the permissions of the tool, for a yes also those of its graver choices.
    Only a person answers. Raises `Forbidden`, `UnknownJob`, `JobEnded`, `InvalidArgument`, `StoreError`.
    """
    services, caller = call.services, call.caller
    given = {"tool": tool.name, "job": job_id, "yes": yes}
    rule = caller.decide(tool.permission).rule
    with audited(services.audit, "answer", given, call.who, changes=True, rule=lambda: rule):
        await services.limits.count(caller)
        needed = (tool.permission, *(tool.escalates.values() if yes else ()))
        for permission in needed:
            caller.require(permission, f"this answer to a job of {tool.name}")
        job = await services.job_for(caller, job_id)
        if caller.kind is not CallerKind.PERSON:
            told = f"{caller.name} is of kind {caller.kind}, and only a person answers what a job asks"
            raise NeedsPerson(told, next_step="A person may, with a key of his own.")
        await services.require_on(caller, needed, job.target)
        return await services.show(await services.jobs.answer(job_id, caller.name, yes=yes, question=question))


async def withdraw(call: Call, job_id: str) -> None:
    """Withdraw the caller's own wish from a job. Raises `UnknownJob`, `JobEnded`, `Forbidden`, `StoreError`."""
    with audited(call.services.audit, "cancel_job", {"id": job_id}, call.who, changes=True):
        await call.services.limits.count(call.caller)
        await call.services.job_for(call.caller, job_id)
        await call.services.jobs.cancel(job_id, call.caller.name, may_others=False)


def kept_answer(tool: Tool, raw: Mapping[str, Any] | Arguments, call: Call) -> Answer | None:
    """Return the answer that is kept for such a call while the rows that it was made of stand, observed like any call.

    What is refused or wrong has none: it is left to the long way, which tells. VergeOS is not asked on this one.
    """
    began = time.perf_counter()
    if not tool.of_views or not call.caller.may(tool.permission):
        return None
    try:
        arguments = raw if isinstance(raw, Arguments) else tool.parse(raw)
    except InvalidArgument:
        return None
    services, max_age = call.services, arguments.max_age if isinstance(arguments, Read) else None
    answer: Answer | None = services.views.kept.get((tool.name, arguments.key), call.seen_as, max_age)
    if answer is None or not services.limits.has_room(call.caller):
        return None
    if traces.traced():
        with observed(call, tool) as outcome:
            outcome.ok()
    else:
        note_answered(
            services.metrics,
            site=services.keys.site,
            tool=tool.name,
            face=call.face.value,
            caller=call.caller,
            seconds=time.perf_counter() - began,
            tells=services.settings.log_reads,
        )
    _count_age(answer, call)
    return answer


def _count_age(answer: Answer, call: Call) -> None:
    if answer.as_of is not None and answer.source is not None:
        call.services.metrics.answered(answer.source, max(time.time() - answer.as_of, 0.0))


async def _of_views(tool: Tool, arguments: Arguments, call: Call) -> Answer:
    """Return an answer made of views alone, and keep it while their rows stand."""
    call = replace(call, max_age=arguments.max_age if isinstance(arguments, Read) else None)
    answer = await _answer(tool, await tool.run(call.views, **_own(tool, arguments)), arguments, call)
    call.services.views.kept.put((tool.name, arguments.key), call.seen_as, call.views, answer)
    return answer


async def _carried_out(tool: Tool, arguments: Arguments, call: Call) -> Answer:
    if isinstance(arguments, Order):
        call = await _ordered(tool, arguments, call)
    elif isinstance(arguments, Read):
        call = replace(call, max_age=arguments.max_age)
    return await _answer(tool, await tool.run(call, **_own(tool, arguments)), arguments, call)


async def _ordered(tool: Tool, order: Order, call: Call) -> Call:
    """Return the call with what was said about its job; raise `Frozen`, or `InvalidArgument` for a missing reason."""
    if not order.dry_run:
        await call.services.freezing.require_none()
        tool.require_reason(call.caller, order)
    return replace(call, order=order, needs=tool.needs(order))


def _own(tool: Tool, arguments: Arguments) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in tool.own_arguments}


async def awaited(call: Call, job_id: str, at_most: float = math.inf) -> JobView:
    """Wait for a job as long as the call may; its present state is the answer where its caller has too many waits.

    Raises `UnknownJob`, `StoreError`.
    """
    services = call.services
    try:
        return await services.follow(call.caller, job_id, min(call.wait_seconds, at_most), call.report)
    except TooManyWaits:
        return await services.show(await services.jobs.get(job_id))


async def _followed(job: Job, call: Call) -> JobView:
    """Wait for an accepted job; should Redis go away meanwhile, the job as it was accepted is the answer."""
    try:
        if call.wait_seconds > 0:
            view = await awaited(call, job.id)
        else:
            view = await call.services.show(job)
    except StoreError:
        view = job.view()
    return view.model_copy(update={"note": job.note})


async def _answer(tool: Tool, returned: BaseModel, arguments: Arguments, call: Call) -> Answer:
    """Turn what the tool returned into what its caller sees, waiting for a job where that was asked."""
    if isinstance(returned, Job):
        return Answer(tool, await _followed(returned, call), arguments=arguments)
    if isinstance(returned, Plan):
        now = await call.services.jobs.now()
        return Answer(tool, returned.view(tool.name, call.caller.name, now), arguments=arguments)
    if isinstance(returned, Reading | Page):
        value = returned.value if isinstance(returned, Reading) else returned
        read = call.views
        return Answer(
            tool, value, returned.as_of, returned.source, arguments, read.older_because, fresh_until=read.fresh_until
        )
    if tool.effect is Effect.READ:  # of our own records, as they are now
        return Answer(tool, returned, time.time(), Source.LIVE, arguments)
    return Answer(tool, returned, arguments=arguments)
