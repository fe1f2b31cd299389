"""What an MCP server offers beside its tools: resources, prompts, and the completion of names in their arguments."""

import time
from collections.abc import Mapping
from typing import Any

import mcp_types as t
from mcp import MCPError

from gateway import calls
from gateway.calls import Answer
from gateway.core.errors import GatewayError, UnknownJob, UnknownObject, VergeOSNotFound
from gateway.core.offer import Names, Prompt, Resource
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.tool import Catalog
from gateway.telemetry.logs import get_logger
from gateway.transports.mcp_door import META, Context, Door, caller, mcp_errors, modern

log = get_logger(__name__)

RESOURCE_NOT_FOUND_LEGACY = -32002  # revisions before 2026-07-28; since then it is -32602
NOT_THERE = (UnknownObject, UnknownJob, VergeOSNotFound)
JSON = "application/json"
MOST_COMPLETIONS = 100  # as many as the protocol allows
MOST_ROWS = 1000
SHOWN_CHARACTERS = 200


class Offers:
    """The handlers of resources, prompts and completion; what a caller may not call he is not offered."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def list_resources(self, ctx: Context, _: t.PaginatedRequestParams | None) -> t.ListResourcesResult:
        """List what may be read by a fixed URI."""
        listed = [
            t.Resource(uri=offered.uri, name=offered.name, description=offered.description, mime_type=JSON)
            for offered in self._resources(ctx)
            if not offered.template
        ]
        return t.ListResourcesResult(resources=listed)

    async def list_templates(self, ctx: Context, _: t.PaginatedRequestParams | None) -> t.ListResourceTemplatesResult:
        """List what may be read by a URI with parts to fill in."""
        listed = [
            t.ResourceTemplate(
                uri_template=offered.uri, name=offered.name, description=offered.description, mime_type=JSON
            )
            for offered in self._resources(ctx)
            if offered.template
        ]
        return t.ListResourceTemplatesResult(resource_templates=listed)

    async def read_resource(self, ctx: Context, params: t.ReadResourceRequestParams) -> t.ReadResourceResult:
        """Read one resource as JSON, through its tool."""
        uri = str(params.uri)
        resource, arguments = self._meant(ctx, uri)
        answer = await self._read(ctx, resource, arguments, uri)
        content = t.TextResourceContents(uri=uri, mime_type=JSON, text=answer.as_json().decode())
        now = time.time()
        return t.ReadResourceResult(
            contents=[content],
            _meta=freshness(answer, now),
            ttl_ms=answer.fresh_ms(now),
            cache_scope="private",  # what is seen depends on the caller's rights
        )

    async def changes_of(self, ctx: Context, uri: str) -> frozenset[str]:
        """Return the names of the changes that concern a resource (see `Resource.follows`).

        One of a template is read for that, which also tells that it is there. Raises `MCPError` as `read_resource`.
        """
        resource, arguments = self._meant(ctx, uri)
        if not resource.template:
            return resource.changes({})
        return resource.changes((await self._read(ctx, resource, arguments, uri)).as_python())

    async def list_prompts(self, ctx: Context, _: t.PaginatedRequestParams | None) -> t.ListPromptsResult:
        """List the prompts whose tools the caller may use."""
        return t.ListPromptsResult(prompts=[_listed(prompt) for prompt in self._prompts(ctx)])

    async def get_prompt(self, ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        """Return a prompt with its arguments filled in."""
        prompt = self._prompt(ctx, params.name)
        filled = _filled(prompt, params.arguments or {})
        message = t.PromptMessage(role="user", content=t.TextContent(text=prompt.text.format(**filled)))
        return t.GetPromptResult(description=prompt.description, messages=[message])

    async def complete(self, ctx: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        """Return the names that an argument may mean: those that begin with what is typed, then those that hold it."""
        names = self._completing(ctx, params)
        found = [] if names is None else await self._names(ctx, names, params.argument.value)
        shown = found[:MOST_COMPLETIONS]
        return t.CompleteResult(
            completion=t.Completion(values=shown, total=len(found), has_more=len(found) > len(shown))
        )

    def _offered(self, ctx: Context) -> Catalog:
        who = caller(ctx)
        return self._door.offered(ctx).only(lambda tool: who.may(tool.permission))

    def _resources(self, ctx: Context) -> tuple[Resource, ...]:
        return self._offered(ctx).resources

    def _meant(self, ctx: Context, uri: str) -> tuple[Resource, dict[str, Any]]:
        """Return the resource of a URI with the arguments for its tool; raise `MCPError` where there is none."""
        for offered in self._resources(ctx):
            arguments = offered.reads(uri)
            if arguments is not None:
                return offered, arguments
        raise _not_found(ctx, uri)

    def _prompts(self, ctx: Context) -> tuple[Prompt, ...]:
        return self._offered(ctx).prompts

    def _prompt(self, ctx: Context, name: str) -> Prompt:
        for prompt in self._prompts(ctx):
            if prompt.name == name:
                return prompt
        raise MCPError(t.INVALID_PARAMS, f"Unknown prompt: {clean(name, SHOWN_CHARACTERS)}")

    async def _read(self, ctx: Context, resource: Resource, arguments: Mapping[str, Any], uri: str) -> Answer:
        """Call the resource's tool; raise `MCPError`."""
        with mcp_errors():
            try:
                return await calls.run(self._offered(ctx)[resource.tool], arguments, self._door.call(ctx))
            except NOT_THERE:
                raise _not_found(ctx, uri) from None

    def _completing(self, ctx: Context, params: t.CompleteRequestParams) -> Names | None:
        """Return where the values of the named argument come from, None where nothing completes it.

        Raises `MCPError` for a prompt or template that there is not.
        """
        if isinstance(params.ref, t.PromptReference):
            parameters = self._prompt(ctx, params.ref.name).parameters
            return next((known.names for known in parameters if known.name == params.argument.name), None)
        for resource in self._resources(ctx):
            if resource.uri == params.ref.uri:
                return resource.completes.get(params.argument.name)
        raise _not_found(ctx, params.ref.uri)

    async def _names(self, ctx: Context, names: Names, typed: str) -> list[str]:
        """Return what completes `typed`; nothing where the list cannot be read, for completion is a courtesy."""
        offered, typed = self._offered(ctx), clean(typed, NAME_LIMIT)
        if names.tool not in offered:
            return []
        narrowed = {names.part: typed} if names.part is not None and typed else {}
        try:
            answer = await calls.run(offered[names.tool], {"limit": MOST_ROWS} | narrowed, self._door.call(ctx))
        except GatewayError:
            log.warning("names for completion cannot be read", tool=names.tool)
            return []
        known = dict.fromkeys(str(row[names.member]) for row in answer.as_python()["items"])
        folded = typed.casefold()
        held = [name for name in known if folded in name.casefold()]
        return sorted(held, key=lambda name: not name.casefold().startswith(folded))


def freshness(answer: Answer, now: float) -> dict[str, Any] | None:
    """Return the `_meta` that tells how fresh an answer is; `now` in Unix seconds."""
    if answer.as_of is None or answer.source is None:
        return None
    return {
        f"{META}/as_of": answer.as_of,
        f"{META}/age_ms": answer.age_ms(now),
        f"{META}/source": answer.source.value,
    } | ({f"{META}/older_because": answer.older_because} if answer.older_because else {})


def _not_found(ctx: Context, uri: str) -> MCPError:
    code = t.INVALID_PARAMS if modern(ctx) else RESOURCE_NOT_FOUND_LEGACY
    return MCPError(code, "Resource not found", {"uri": uri})


def _listed(prompt: Prompt) -> t.Prompt:
    arguments = [
        t.PromptArgument(name=known.name, description=known.description, required=known.required)
        for known in prompt.parameters
    ]
    return t.Prompt(name=prompt.name, description=prompt.description, arguments=arguments)


def _filled(prompt: Prompt, given: Mapping[str, str]) -> dict[str, str]:
    """Return the prompt's arguments, cleaned; raise `MCPError` that names a missing or unknown one."""
    known = {parameter.name: parameter for parameter in prompt.parameters}
    for name in given:
        if name not in known:
            raise MCPError(t.INVALID_PARAMS, f"{prompt.name} has no argument {clean(name, SHOWN_CHARACTERS)}")
    filled = {name: clean(given.get(name, ""), NAME_LIMIT).strip() for name in known}
    for name, parameter in known.items():
        if parameter.required and not filled[name]:
            raise MCPError(t.INVALID_PARAMS, f"{prompt.name} needs the argument {name}")
    return filled
