"""Fixtures that ask the client: at once in a session, by a result that wants input without one."""

import warnings

import mcp_types as t
from mcp import MCPDeprecationWarning
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.conformance.basics import ONE_MESSAGE, ONE_TEXT
from tests.conformance.registry import Registry, text

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
COLOR = {"type": "object", "properties": {"color": {"type": "string"}}, "required": ["color"]}
CONTEXT = {"type": "object", "properties": {"context": {"type": "string"}}, "required": ["context"]}
OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
USER = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}
DEFAULTS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}


def titled(kind, word):
    return [{"const": f"value{n}", "title": f"{nth} {word}"} for n, nth in enumerate(("First", "Second", "Third"), 1)]


OPTIONS = ["option1", "option2", "option3"]
ENUMS = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": OPTIONS},
        "titledSingle": {"type": "string", "oneOf": titled("string", "Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("array", "Choice")}},
    },
}


def form(message, schema):
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(words, max_tokens=100):
    message = t.SamplingMessage(role="user", content=t.TextContent(text=words))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def roots():
    return t.ListRootsRequest(params=t.RequestParams())


def wants(state=None, **requests):
    return t.InputRequiredResult(input_requests=requests, request_state=state)


def given(params, key, kind):
    """Return the client's response of this key, None where it is not there or of another kind."""
    response = (params.input_responses or {}).get(key)
    return response if isinstance(response, kind) else None


async def ask(ctx, message, schema):
    """Elicit in a session; return the words about what came."""
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={answer.content}"


def add_asking(registry: Registry) -> None:
    """Register the tools that ask within a session."""

    @registry.tool(ONE_MESSAGE)
    async def test_elicitation(ctx, params):
        return text(f"User response: {await ask(ctx, params.arguments['message'], USER)}")

    @registry.tool()
    async def test_elicitation_sep1034_defaults(ctx, params):
        return text(f"Elicitation completed: {await ask(ctx, 'Check the defaults', DEFAULTS)}")

    @registry.tool()
    async def test_elicitation_sep1330_enums(ctx, params):
        return text(f"Elicitation completed: {await ask(ctx, 'Choose', ENUMS)}")

    @registry.tool(ONE_TEXT)
    async def test_sampling(ctx, params):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            message = t.SamplingMessage(role="user", content=t.TextContent(text=params.arguments["prompt"]))
            told = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
        return text(f"LLM response: {told.content.text}")

    @registry.tool()
    async def test_streaming_elicitation(ctx, params):
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return wants(user_name=form("What is your name?", NAME))
        return text(await ask(ctx, "What is your name?", NAME))


def add_rounds(registry: Registry) -> None:
    """Register what asks by a result that wants input."""

    @registry.tool()
    async def test_input_required_result_elicitation(ctx, params):
        answer = given(params, "user_name", t.ElicitResult)
        if answer is None:
            return wants(user_name=form("What is your name?", NAME))
        return text(f"Hello, {(answer.content or {}).get('name')}!")

    @registry.tool()
    async def test_input_required_result_sampling(ctx, params):
        answer = given(params, "capital_question", t.CreateMessageResult)
        if answer is None:
            return wants(capital_question=sampling("What is the capital of France?"))
        return text(f"LLM: {answer.content.text}")

    @registry.tool()
    async def test_input_required_result_list_roots(ctx, params):
        answer = given(params, "client_roots", t.ListRootsResult)
        if answer is None:
            return wants(client_roots=roots())
        return text("roots: " + ", ".join(str(root.uri) for root in answer.roots))

    @registry.tool()
    async def test_input_required_result_request_state(ctx, params):
        if params.request_state is None or given(params, "confirm", t.ElicitResult) is None:
            return wants("asked", confirm=form("Please confirm", OK))
        return text("state-ok")

    @registry.tool()
    async def test_input_required_result_tampered_state(ctx, params):
        if params.request_state is None:
            return wants("asked", confirm=form("Please confirm", OK))
        return text("state-ok")

    @registry.tool()
    async def test_input_required_result_multiple_inputs(ctx, params):
        asked = {
            "user_name": form("What is your name?", NAME),
            "greeting": sampling("Generate a greeting", 50),
            "client_roots": roots(),
        }
        if set(asked) <= set(params.input_responses or {}):
            return text("all there")
        return wants("asked", **asked)

    @registry.tool()
    async def test_input_required_result_multi_round(ctx, params):
        if given(params, "step2", t.ElicitResult):
            return text(f"{params.request_state}, done")
        if given(params, "step1", t.ElicitResult):
            return wants("second", step2=form("Step 2: What is your favorite color?", COLOR))
        return wants("first", step1=form("Step 1: What is your name?", NAME))

    @registry.tool()
    async def test_input_required_result_capabilities(ctx, params):
        if params.input_responses:
            return text("ok")
        known, asked = ctx.session.client_capabilities, {}
        if known.elicitation is not None:
            asked["user_name"] = form("What is your name?", NAME)
        if known.sampling is not None:
            asked["greeting"] = sampling("Generate a greeting")
        if known.roots is not None:
            asked["client_roots"] = roots()
        return wants(**asked) if asked else text("nobody to ask")

    @registry.prompt()
    async def test_input_required_result_prompt(ctx, params):
        answer = given(params, "user_context", t.ElicitResult)
        if answer is None:
            return wants(user_context=form("What context should the prompt use?", CONTEXT))
        words = f"Use the context {(answer.content or {}).get('context')}"
        return t.GetPromptResult(messages=[t.PromptMessage(role="user", content=t.TextContent(text=words))])
