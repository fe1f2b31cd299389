"""The one path of every call: authorize, validate, run, wait, record. No face has another way in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from gateway.core.access import Caller
from gateway.core.answer import Page, Reading, Source
from gateway.core.errors import StoreError
from gateway.core.job import Job, JobView, Plan
from gateway.core.spender import Spender
from gateway.core.tool import Arguments, Listing, Order, Tool
from gateway.services import Services
from gateway.telemetry import logs
from gateway.vergeos import spending

ORDER = Order()  # nothing was said about the job


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
    what the caller said about the job that he makes.
    """

    services: Services
    caller: Caller
    face: Face
    client: str = ""
    idempotency_key: str | None = None
    wait_seconds: float = 0.0
    may_ask: bool = False
    report: Callable[[JobView], Awaitable[None]] | None = None
    order: Order = ORDER


@dataclass(frozen=True)
class Answer:
    """What a call brought: the value as callers see it, and how fresh it is (None where that says nothing).

    `arguments` are those of the call, validated.
    """

    tool: Tool
    value: Any
    as_of: float | None = None
    source: Source | None = None
    arguments: Arguments | None = None

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


async def run(tool: Tool, raw: Mapping[str, Any], call: Call) -> Answer:
    """Carry out one call.

    Raises a `GatewayError` and nothing else, but for a bug: its code, detail and next step may be
    shown to the caller as they stand.
    """
    with (
        call.services.metrics.timed_call(tool.name, call.face, call.caller) as outcome,
        logs.bound(tool=tool.name, caller=call.caller.name, face=call.face.value),
        spending.bound(Spender.calling(call.caller)),
    ):
        tool.require(call.caller)
        arguments = tool.parse(raw)
        tool.require(call.caller, arguments)
        if isinstance(arguments, Order):
            call = replace(call, order=arguments)
        answer = await _answer(tool, await tool.run(call, **_own(arguments)), call)
        outcome.ok()
        return replace(answer, arguments=arguments)


async def answer_question(
    services: Services, caller: Caller, tool: Tool, job_id: str, *, yes: bool, question: str | None = None
) -> JobView:
    """Answer what a job of this tool asks, with `question` only the one of this key; return the job.

    It takes the permissions of the tool, for a yes also those of its graver choices.
    Raises `Forbidden`, `UnknownJob`, `JobEnded`, `InvalidArgument`, `StoreError`.
    """
    for permission in (tool.permission, *(tool.escalates.values() if yes else ())):
        caller.require(permission, f"this answer to a job of {tool.name}")
    return await services.show(await services.jobs.answer(job_id, caller.name, yes=yes, question=question))


def _own(arguments: Arguments) -> dict[str, Any]:
    """Return the tool's own arguments, without those that its kind of answer brings."""
    shared = {name for base in (Order, Listing) if isinstance(arguments, base) for name in base.model_fields}
    return {name: getattr(arguments, name) for name in type(arguments).model_fields if name not in shared}


async def _followed(job: Job, call: Call) -> JobView:
    """Wait for an accepted job; should Redis go away meanwhile, the job as it was accepted is the answer."""
    try:
        view = await call.services.follow(job.id, call.wait_seconds, call.report)
    except StoreError:
        view = job.view()
    return view.model_copy(update={"note": job.note})


async def _answer(tool: Tool, returned: BaseModel, call: Call) -> Answer:
    """Turn what the tool returned into what its caller sees, waiting for a job where that was asked."""
    if isinstance(returned, Job):
        return Answer(tool, await _followed(returned, call))
    if isinstance(returned, Plan):
        return Answer(tool, returned.view(tool.name, call.caller.name, await call.services.jobs.now()))
    if isinstance(returned, Reading):
        return Answer(tool, returned.value, returned.as_of, returned.source)
    if isinstance(returned, Page):
        return Answer(tool, returned, returned.as_of, returned.source)
    return Answer(tool, returned)
