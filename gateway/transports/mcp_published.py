"""A tool as MCP shows it, and what a call of it brought as MCP tells it."""

import time
from dataclasses import dataclass
from typing import Any

import mcp_types as t

from gateway.calls import Answer
from gateway.core.errors import GatewayError
from gateway.core.job import JobState
from gateway.core.tool import Effect, Tool
from gateway.transports.mcp_door import META
from gateway.transports.mcp_offers import freshness
from gateway.transports.text import failure_text, text_of


@dataclass(frozen=True)
class Published:
    """A tool as MCP shows it; `wrapped` when its result is no object, which structured content must be."""

    tool: Tool
    listed: t.Tool
    wrapped: bool

    @classmethod
    def of(cls, tool: Tool) -> "Published":
        """Return the tool with its schemas and annotations, made once."""
        schema = tool.output_schema
        wrapped = schema.get("type") != "object"
        return cls(
            tool=tool,
            listed=t.Tool(
                name=tool.name,
                description=tool.description,
                input_schema=tool.input_schema,
                output_schema=_wrapped_schema(schema) if wrapped else schema,
                annotations=_annotations(tool),
            ),
            wrapped=wrapped,
        )

    def result(self, answer: Answer) -> t.CallToolResult:
        """Return what a call brought: compact text, the same structured, and its freshness beside it."""
        value = answer.as_python()
        failed = self.tool.makes_job and answer.job is not None and answer.job.state is JobState.FAILED
        return t.CallToolResult(
            content=[t.TextContent(text=text_of(answer))],
            structured_content={"result": value} if self.wrapped else value,
            is_error=failed,
            _meta=freshness(answer, time.time()),
        )


def failure(exc: GatewayError) -> t.CallToolResult:
    """Return a failure as a short text; the problem document goes beside it, for structured content has a schema."""
    problem = exc.as_problem() | {"retryable": exc.retryable}
    if exc.retry_after is not None:
        problem["retry_after"] = exc.retry_after
    return t.CallToolResult(
        content=[t.TextContent(text=failure_text(exc))],
        is_error=True,
        _meta={f"{META}/problem": problem},
    )


def _annotations(tool: Tool) -> t.ToolAnnotations:
    """Derive the hints from the effect; a reset repeated later is a second one, so no change counts as idempotent."""
    return t.ToolAnnotations(
        read_only_hint=tool.effect is Effect.READ,
        destructive_hint=tool.effect is Effect.DESTROY,
        idempotent_hint=tool.effect is Effect.READ,
        open_world_hint=False,
    )


def _wrapped_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of `{"result": …}`; definitions stay at the root, where references look for them."""
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer: dict[str, Any] = {"type": "object", "properties": {"result": inner}, "required": ["result"]}
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})
