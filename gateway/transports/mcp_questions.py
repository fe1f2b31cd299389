"""What a job asks a person, asked through his MCP client: by elicitation, or by a result that wants input."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import mcp_types as t
from mcp import MCPError
from pydantic import ValidationError

from gateway import calls
from gateway.calls import Answer, Call
from gateway.core.access import CallerKind
from gateway.core.errors import InvalidArgument, JobEnded, TooManyWaits, UnknownJob
from gateway.core.job import Job, Question
from gateway.core.tool import Catalog
from gateway.transports.mcp_door import Context, modern

FORM = {
    "type": "object",
    "properties": {"answer": {"type": "boolean", "title": "Yes", "default": False}},
    "required": ["answer"],
}
TOO_LATE = (InvalidArgument, JobEnded, UnknownJob)


def question_form(question: Question) -> t.ElicitRequest:
    """Return a question as the form that a client shows."""
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=question.text, requested_schema=FORM))


def says_yes(response: object) -> bool:
    """Tell whether a client's answer to the form is a yes; a form that was declined or dismissed is a no.

    Raises `MCPError` for what is no answer to a form.
    """
    try:
        given = t.ElicitResult.model_validate(response, by_name=False)
    except ValidationError:
        raise MCPError(t.INVALID_PARAMS, "An input response must be the result of an elicitation") from None
    return given.action == "accept" and (given.content or {}).get("answer") is True


class Questions:
    """Puts the questions of jobs to those who made them, and takes their answers."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def heard(self, call: Call, responses: Mapping[str, Any] | None) -> Job | None:
        """Take the answers that a repeated request brings; return the job they were for, None where there are none.

        An answer that comes too late changes nothing. Raises `Forbidden`, `StoreError`, `MCPError`.
        """
        for name, response in (responses or {}).items():
            job_id, _, question = name.partition(".")
            with suppress(UnknownJob):
                job = await call.services.job_for(call.caller, job_id)
                if job.belongs_to(call.caller.name):
                    await self.take(call, job, question, yes=says_yes(response))
                    return job
        return None

    async def take(self, call: Call, job: Job, question: str, *, yes: bool) -> None:
        """Take one answer; one that comes too late changes nothing. Raises `Forbidden`, `StoreError`."""
        with suppress(*TOO_LATE):
            await calls.answer_question(call, self._catalog[job.tool], job.id, yes=yes, question=question)

    async def put(self, ctx: Context, call: Call, answer: Answer) -> Answer | t.InputRequiredResult:
        """Put the question that stands in the answer, if there is one, to the caller whose job it is.

        A client of a stateless revision gets it as the result, and repeats the request with the answer. Any other
        is asked at once, and what became of the job since is returned. Behind the key of an agent or a machine nobody
        can tell who answers: its jobs ask too, and a person answers elsewhere. Raises as `take`.
        """
        asks = call.may_ask and call.caller.kind is CallerKind.PERSON
        while asks and (asking := await self._asking(call, answer)) is not None:
            job, question = asking
            if modern(ctx):
                return t.InputRequiredResult(input_requests={f"{job.id}.{question.key}": question_form(question)})
            if not await self._elicited(ctx, call, job, question):
                break
            answer = replace(answer, value=await calls.awaited(call, job.id))
        return answer

    async def _asking(self, call: Call, answer: Answer) -> tuple[Job, Question] | None:
        view = answer.job
        if view is None or view.id is None or view.question is None:
            return None
        job = await call.services.jobs.get(view.id)
        return (job, job.asks) if job.asks is not None and job.belongs_to(call.caller.name) else None

    async def _elicited(self, ctx: Context, call: Call, job: Job, question: Question) -> bool:
        """Ask until the person answers or the question is settled otherwise; False where the client cannot ask."""
        told: list[bool] = []

        async def ask() -> None:
            told.append(says_yes(await ctx.session.elicit_form(question.text, FORM, related_request_id=ctx.request_id)))

        try:
            async with call.services.limits.waiting(call.caller):
                await call.services.first_of(ask(), call.services.settled(job.id, question.key))
        except (MCPError, TooManyWaits):
            return False
        if told:
            await self.take(call, job, question.key, yes=told[0])
        return not call.services.closing.is_set()
