"""Fixtures of content: what tools, prompts and resources answer at once, or with news on the way."""

import asyncio
import json
import warnings

import mcp_types as t
from mcp import MCPDeprecationWarning, MCPError
from mcp.server.subscriptions import PromptsListChanged, ToolsListChanged

from tests.conformance.registry import Registry, text

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
STEP_SECONDS = 0.05
ONE_TEXT = {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
ONE_MESSAGE = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
MIRRORED = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "priority": {"type": "integer", "x-mcp-header": "Priority"},
        "verbose": {"type": "boolean", "x-mcp-header": "Verbose"},
        "query": {"type": "string"},
    },
    "required": ["region", "query"],
}
SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


async def log(ctx, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        await ctx.session.send_log_message("info", words, related_request_id=ctx.request_id)


def embedded(uri, words, mime_type="text/plain"):
    return t.EmbeddedResource(resource=t.TextResourceContents(uri=uri, mime_type=mime_type, text=words))


def add_tools(registry: Registry) -> None:
    """Register the tools that need no answer of the client."""

    @registry.tool()
    async def test_simple_text(ctx, params):
        return text("This is a simple text response for testing.")

    @registry.tool()
    async def test_image_content(ctx, params):
        return t.CallToolResult(content=[t.ImageContent(data=PIXEL, mime_type="image/png")])

    @registry.tool()
    async def test_audio_content(ctx, params):
        return t.CallToolResult(content=[t.AudioContent(data=SILENCE, mime_type="audio/wav")])

    @registry.tool()
    async def test_embedded_resource(ctx, params):
        return t.CallToolResult(content=[embedded("test://embedded-resource", "This is an embedded resource content.")])

    @registry.tool()
    async def test_multiple_content_types(ctx, params):
        mixed = json.dumps({"test": "data", "value": 123})
        return t.CallToolResult(
            content=[
                t.TextContent(text="Multiple content types test:"),
                t.ImageContent(data=PIXEL, mime_type="image/png"),
                embedded("test://mixed-content-resource", mixed, "application/json"),
            ]
        )

    @registry.tool()
    async def test_tool_with_logging(ctx, params):
        for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await log(ctx, words)
            await asyncio.sleep(STEP_SECONDS)
        return text("logged")

    @registry.tool()
    async def test_logging_tool(ctx, params):
        await log(ctx, "said only to who asked for it")
        return text("logged")

    @registry.tool()
    async def test_tool_with_progress(ctx, params):
        for done in (0, 50, 100):
            await ctx.session.report_progress(done, 100)
            await asyncio.sleep(STEP_SECONDS)
        return text("done")

    @registry.tool()
    async def test_error_handling(ctx, params):
        return text("This tool intentionally returns an error for testing", is_error=True)

    @registry.tool(SCHEMA_2020_12)
    async def json_schema_2020_12_tool(ctx, params):
        return text("ok")

    @registry.tool(MIRRORED)
    async def test_custom_headers(ctx, params):
        return text("ok")

    @registry.tool()
    async def test_missing_capability(ctx, params):
        known = ctx.session.client_capabilities
        if known is None or known.sampling is None:
            required = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs sampling", required)
        return text("ok")

    @registry.tool()
    async def test_trigger_tool_change(ctx, params):
        await registry.bus.publish(ToolsListChanged())
        return text("told")

    @registry.tool()
    async def test_trigger_prompt_change(ctx, params):
        await registry.bus.publish(PromptsListChanged())
        return text("told")


def says(*contents):
    return t.GetPromptResult(messages=[t.PromptMessage(role="user", content=content) for content in contents])


def add_prompts(registry: Registry) -> None:
    """Register the prompts."""

    @registry.prompt()
    async def test_simple_prompt(ctx, params):
        return says(t.TextContent(text="This is a simple prompt for testing."))

    @registry.prompt("arg1", "arg2")
    async def test_prompt_with_arguments(ctx, params):
        given = params.arguments or {}
        words = f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"
        return says(t.TextContent(text=words))

    @registry.prompt("resourceUri")
    async def test_prompt_with_embedded_resource(ctx, params):
        uri = (params.arguments or {}).get("resourceUri", "test://none")
        return says(
            embedded(uri, "Embedded resource content for testing."),
            t.TextContent(text="Please process the embedded resource above."),
        )

    @registry.prompt()
    async def test_prompt_with_image(ctx, params):
        return says(
            t.ImageContent(data=PIXEL, mime_type="image/png"), t.TextContent(text="Please analyze the image above.")
        )


class Resources:
    """The resources: a text, a picture, one that is watched, and a template."""

    async def listed(self, ctx, params):
        names = {"static-text": "text/plain", "static-binary": "image/png", "watched-resource": "text/plain"}
        return t.ListResourcesResult(
            resources=[
                t.Resource(uri=f"test://{name}", name=name, description=name, mime_type=kind)
                for name, kind in names.items()
            ]
        )

    async def templates(self, ctx, params):
        template = t.ResourceTemplate(uri_template="test://template/{id}/data", name="template", description="one")
        return t.ListResourceTemplatesResult(resource_templates=[template])

    async def read(self, ctx, params):
        return t.ReadResourceResult(contents=[self._content(str(params.uri))])

    def _content(self, uri):
        if uri == "test://static-binary":
            return t.BlobResourceContents(uri=uri, mime_type="image/png", blob=PIXEL)
        if uri in {"test://static-text", "test://watched-resource"}:
            words = "This is the content of the static text resource."
            return t.TextResourceContents(uri=uri, mime_type="text/plain", text=words)
        before, _, rest = uri.partition("test://template/")
        number, _, after = rest.partition("/data")
        if before or after or not number:
            raise MCPError(t.INVALID_PARAMS, "Resource not found", {"uri": uri})
        told = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        return t.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(told))
