"""The extension `io.modelcontextprotocol/tasks` over our jobs: a job is a task of whoever made or joined it."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as t
from mcp import MCPError
from mcp.server import Server
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from gateway import calls
from gateway.calls import Answer
from gateway.core.errors import JobEnded, UnknownJob
from gateway.core.job import Job, JobState, JobView
from gateway.store.keys import DAY_SECONDS
from gateway.transports.mcp_door import Context, Door, caller, mcp_errors, modern
from gateway.transports.mcp_questions import Questions, question_form, says_yes

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MS, POLL_LATER_MS, YOUNG_SECONDS = 1_000, 5_000, 20.0
STATUS = {JobState.FAILED: "completed"}  # a task's `failed` means an error of the protocol

Task = dict[str, Any]


class TaskParams(t.RequestParams):
    """Which task is meant."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    task_id: str = Field(max_length=64)


class TaskUpdateParams(TaskParams):
    """What a person answered to the requests of a task that waits for it."""

    input_responses: dict[str, Any]


class TaskNotification(t.Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """News of a task, for who listens."""

    method: Literal["notifications/tasks"] = "notifications/tasks"
    params: dict[str, Any]


def declared(ctx: Context) -> bool:
    """Tell whether the client of this request takes tasks, which no session can carry."""
    known = ctx.session.client_capabilities
    return modern(ctx) and known is not None and EXTENSION in (known.extensions or {})


def require_declared(ctx: Context) -> None:
    """Raise `MCPError` unless the client takes tasks."""
    if not declared(ctx):
        required: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, f"This needs the extension {EXTENSION}", required)


class Tasks:
    """The handlers of tasks; `result_of` renders the end of a job as its tool would have answered it."""

    def __init__(self, door: Door, questions: Questions, result_of: Callable[[str, JobView], t.CallToolResult]) -> None:
        self._door, self._questions, self._result_of = door, questions, result_of

    def register(self, server: Server[Any]) -> None:
        """Advertise the extension and serve its methods."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskUpdateParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    async def get(self, ctx: Context, params: TaskParams) -> Task:
        """Show a task as it is now, with its result where it has ended, or with what it asks."""
        with mcp_errors():
            await self._door.services_of().limits.count(caller(ctx))
        return await self.shown(ctx, params.task_id)

    async def update(self, ctx: Context, params: TaskUpdateParams) -> Task:
        """Take a person's answer; what is no answer to what is asked now is ignored."""
        job = await self._job(ctx, params.task_id)
        with mcp_errors():
            if job.asks is not None and job.asks.key in params.input_responses:
                yes = says_yes(params.input_responses[job.asks.key])
                await self._questions.take(self._door.call(ctx), job, job.asks.key, yes=yes)
        return {}

    async def cancel(self, ctx: Context, params: TaskParams) -> Task:
        """Withdraw the caller's wish; nothing happens where the job has ended."""
        job = await self._job(ctx, params.task_id)
        with mcp_errors(), suppress(JobEnded):
            await calls.withdraw(self._door.call(ctx), job.id)
        return {}

    async def created(self, answer: Answer) -> Task | None:
        """Return the task that stands for a call's job; None where the call made none, as a dry run."""
        view = answer.job
        if view is None or view.id is None:
            return None
        services = self._door.services_of()
        job = await services.jobs.get(view.id)
        return {"resultType": "task", **self._facts(job, await services.jobs.now())}

    async def shown(self, ctx: Context, task_id: str) -> Task:
        """Return all there is to tell of one of the caller's tasks. Raises `MCPError`."""
        services, job = self._door.services_of(), await self._job(ctx, task_id)
        with mcp_errors():
            view, now = await services.show(job), await services.jobs.now()
        task = self._facts(job, now)
        if job.state in {JobState.COMPLETED, JobState.FAILED}:
            result = self._result_of(job.tool, view)
            task["result"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        elif job.asks is not None:
            form = question_form(job.asks)
            task["inputRequests"] = {job.asks.key: form.model_dump(mode="json", by_alias=True, exclude_none=True)}
        return task

    async def _job(self, ctx: Context, task_id: str) -> Job:
        """Return the job of a task; raise `MCPError` where the client takes no tasks, or has none of this id."""
        require_declared(ctx)
        with mcp_errors(), suppress(UnknownJob):
            job = await self._door.services_of().job_for(caller(ctx), task_id)
            if job.belongs_to(caller(ctx).name):
                return job
        raise MCPError(t.INVALID_PARAMS, "Unknown task")

    def _facts(self, job: Job, now: float) -> Task:
        young = now - job.created_at < YOUNG_SECONDS
        return {
            "taskId": job.id,
            "status": STATUS.get(job.state, job.state.value),
            "statusMessage": job.asks.text if job.asks else job.detail,
            "createdAt": _iso(job.created_at),
            "lastUpdatedAt": _iso(job.updated_at),
            "ttlMs": self._door.services_of().settings.job_days * DAY_SECONDS * 1000,
            "pollIntervalMs": POLL_MS if young else POLL_LATER_MS,
        }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
