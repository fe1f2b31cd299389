"""Fixtures of the tasks extension: tasks in memory, run by asyncio, that sleep, fail, or wait for input."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

import mcp_types as t
from mcp import MCPError

from gateway.transports.mcp_tasks import EXTENSION, TaskParams, TaskUpdateParams, declared, require_declared
from tests.conformance.registry import Registry, text
from tests.conformance.rounds import NAME, OK, form, given, wants

SECONDS = {"type": "object", "properties": {"seconds": {"type": "number"}, "label": {"type": "string"}}}


def now():
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Task:
    """One task: what it asks, and how it ended."""

    def __init__(self, work):
        self.id, self.created_at, self.updated_at = secrets.token_hex(16), now(), now()
        self.asked: dict[str, Any] = {}
        self.answers: dict[str, asyncio.Future[Any]] = {}
        self.running = asyncio.ensure_future(work(self))

    async def ask(self, **forms):
        """Ask all of these and return the answers, in order."""
        self.asked |= {
            key: asked.model_dump(mode="json", by_alias=True, exclude_none=True) for key, asked in forms.items()
        }
        self.answers = {key: asyncio.get_running_loop().create_future() for key in forms}
        return await asyncio.gather(*self.answers.values())

    def hear(self, responses):
        for key, response in responses.items():
            if self.asked.pop(key, None) is not None:
                self.answers[key].set_result(t.ElicitResult.model_validate(response, by_name=False))

    def facts(self):
        status = "input_required" if self.asked else "working"
        if self.running.done():
            failed = not self.running.cancelled() and self.running.exception() is not None
            status = "cancelled" if self.running.cancelled() else "failed" if failed else "completed"
        times = {"createdAt": self.created_at, "lastUpdatedAt": self.updated_at}
        return {"taskId": self.id, "status": status, **times, "ttlMs": 60_000, "pollIntervalMs": 100}

    def shown(self):
        told = self.facts()
        if told["status"] == "completed":
            told["result"] = self.running.result().model_dump(mode="json", by_alias=True, exclude_none=True)
        elif told["status"] == "failed":
            failure = self.running.exception()
            told["error"] = {"code": failure.error.code, "message": failure.error.message}
        elif told["status"] == "input_required":
            told["inputRequests"] = self.asked
        return told


class Tasks:
    """The tasks of one server."""

    def __init__(self):
        self.by_id: dict[str, Task] = {}

    def register(self, server):
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskUpdateParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    def begun(self, work):
        task = Task(work)
        self.by_id[task.id] = task
        return {"resultType": "task", **task.facts()}

    def _named(self, ctx, params):
        require_declared(ctx)
        if params.task_id not in self.by_id:
            raise MCPError(t.INVALID_PARAMS, "Unknown task")
        return self.by_id[params.task_id]

    async def get(self, ctx, params):
        return self._named(ctx, params).shown()

    async def update(self, ctx, params):
        self._named(ctx, params).hear(params.input_responses)
        return {}

    async def cancel(self, ctx, params):
        self._named(ctx, params).running.cancel()
        return {}


def add_tasks(registry: Registry) -> Tasks:
    """Register the tools that make tasks."""
    tasks = Tasks()

    @registry.tool(NAME)
    async def greet(ctx, params):
        return text(f"Hello, {(params.arguments or {}).get('name')}!")

    @registry.tool(SECONDS)
    async def slow_compute(ctx, params):
        seconds = (params.arguments or {}).get("seconds", 0)

        async def work(task):
            await asyncio.sleep(seconds)
            return text(f"slept {seconds} s")

        return tasks.begun(work) if declared(ctx) else await work(None)

    @registry.tool()
    async def failing_job(ctx, params):
        require_declared(ctx)

        async def work(task):
            await asyncio.sleep(1)
            return text("it failed", is_error=True)

        return tasks.begun(work)

    @registry.tool()
    async def protocol_error_job(ctx, params):
        require_declared(ctx)

        async def work(task):
            raise MCPError(t.INTERNAL_ERROR, "it broke")

        return tasks.begun(work)

    @registry.tool({"type": "object", "properties": {"filename": {"type": "string"}}})
    async def confirm_delete(ctx, params):
        require_declared(ctx)

        async def work(task):
            [answer] = await task.ask(confirm=form("Delete it?", OK))
            return text(f"{answer.action}")

        return tasks.begun(work)

    @registry.tool()
    async def multi_input(ctx, params):
        require_declared(ctx)

        async def work(task):
            first, second = await task.ask(first=form("First?", NAME), second=form("Second?", NAME))
            return text(f"{first.content} {second.content}")

        return tasks.begun(work)

    @registry.tool()
    async def test_tool_with_task(ctx, params):
        require_declared(ctx)
        answer = given(params, "user_name", t.ElicitResult)
        if answer is None:
            return wants("asked", user_name=form("What is your name?", NAME))

        async def work(task):
            return text(f"Hello, {(answer.content or {}).get('name')}!")

        return tasks.begun(work)

    return tasks
