"""The fixtures that the conformance suite asks for, as an MCP server of their own for the gateway's endpoint class."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import mcp_types as t
from mcp import MCPError
from mcp.server import Server
from mcp.server.caching import CacheHint
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler

NOTHING = {"type": "object", "properties": {}}
CACHED = CacheHint(60_000, "public")
CACHED_METHODS = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "server/discover",
)

Fixture = Callable[[Any, Any], Awaitable[Any]]


def text(words: str, *, is_error: bool = False) -> t.CallToolResult:
    return t.CallToolResult(content=[t.TextContent(text=words)], is_error=is_error)


@dataclass
class Registry:
    """What is registered by name; the server's handlers look here."""

    tools: dict[str, tuple[t.Tool, Fixture]] = field(default_factory=dict)
    prompts: dict[str, tuple[t.Prompt, Fixture]] = field(default_factory=dict)
    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)

    def tool(self, schema=NOTHING):
        def register(function):
            name = function.__name__
            described = t.Tool(name=name, description=(function.__doc__ or name).strip(), input_schema=schema)
            self.tools[name] = (described, function)
            return function

        return register

    def prompt(self, *arguments: str):
        def register(function):
            name = function.__name__
            listed = [t.PromptArgument(name=argument, description=argument, required=True) for argument in arguments]
            described = t.Prompt(name=name, description=(function.__doc__ or name).strip(), arguments=listed)
            self.prompts[name] = (described, function)
            return function

        return register

    async def list_tools(self, ctx, params):
        return t.ListToolsResult(tools=[tool for tool, _ in self.tools.values()])

    async def call_tool(self, ctx, params):
        if params.name not in self.tools:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return await self.tools[params.name][1](ctx, params)

    async def list_prompts(self, ctx, params):
        return t.ListPromptsResult(prompts=[prompt for prompt, _ in self.prompts.values()])

    async def get_prompt(self, ctx, params):
        if params.name not in self.prompts:
            raise MCPError(t.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        return await self.prompts[params.name][1](ctx, params)


async def nothing(ctx, params):
    return t.EmptyResult()


async def complete(ctx, params):
    values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return t.CompleteResult(completion=t.Completion(values=values, total=len(values), has_more=False))


def build(registry: Registry, resources: Any) -> tuple[Server[Any], ListenHandler]:
    """Return the server of a registry and of `resources`, and the handler that holds its listen streams."""
    listening = ListenHandler(registry.bus)
    schemas = {name: tool.input_schema for name, (tool, _) in registry.tools.items() if "x-mcp-header" in str(tool)}
    server: Server[Any] = Server(
        "conformance",
        version="1.0.0",
        get_tool_input_schema=schemas.get,
        cache_hints=dict.fromkeys(CACHED_METHODS, CACHED),
        on_list_tools=registry.list_tools,
        on_call_tool=registry.call_tool,
        on_list_prompts=registry.list_prompts,
        on_get_prompt=registry.get_prompt,
        on_list_resources=resources.listed,
        on_list_resource_templates=resources.templates,
        on_read_resource=resources.read,
        on_subscribe_resource=nothing,
        on_unsubscribe_resource=nothing,
        on_subscriptions_listen=listening,
        on_completion=complete,
        on_set_logging_level=nothing,
    )
    security = RequestStateSecurity(keys=[b"k" * 32])
    server.middleware[:] = [RequestStateBoundary(security, default_audience="conformance")]
    return server, listening
