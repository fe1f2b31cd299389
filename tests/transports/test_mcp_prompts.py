"""MCP prompts: listed for who may use their tools, filled in with clean text, their arguments completed."""

import re

import mcp_types as t
import pytest
from mcp import Client, MCPError
from mcp_fixtures import CATALOG as THINGS
from mcp_fixtures import serving

from gateway.core.offer import Names, Prompt, PromptParameter
from gateway.core.tool import Catalog
from gateway.tools import CATALOG
from gateway.tools.prompts import PROMPTS
from gateway.transports.mcp import build_server

LOOK = Prompt(
    "look",
    "Look at a thing.",
    "Look at it: {thing}{why}",
    ("get_thing",),
    (
        PromptParameter("thing", "its name", Names("list_things")),
        PromptParameter("why", "why", Names("get_thing"), required=False),
    ),
)
LOST = Prompt("lost", "Its tool is not there.", "Do it.", ("no_such_tool",))
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
async def served():
    catalog = Catalog(THINGS, prompts=(LOOK, LOST))
    async with serving() as plain, serving(build_server(catalog, lambda: plain.services)) as running:
        yield running


@MODES
async def test_a_prompt_whose_tools_are_there_is_listed_with_its_arguments(served, mode):
    async with Client(served.mcp, mode=mode) as client:
        (listed,) = (await client.list_prompts()).prompts
        assert (listed.name, listed.description) == ("look", "Look at a thing.")
        assert [(argument.name, argument.required) for argument in listed.arguments] == [
            ("thing", True),
            ("why", False),
        ]


@MODES
async def test_a_prompt_is_one_message_with_its_arguments_in_it(served, mode):
    async with Client(served.mcp, mode=mode) as client:
        (message,) = (await client.get_prompt("look", {"thing": "one"})).messages
        assert (message.role, message.content.text) == ("user", "Look at it: one")


async def test_an_argument_is_text_on_one_line_and_no_format(served):
    async with Client(served.mcp) as client:
        result = await client.get_prompt("look", {"thing": "a\n\x1b[2Jb {why} {0.__class__}" + "x" * 500})
        text = result.messages[0].content.text
    assert text.startswith("Look at it: a [2Jb {why} {0.__class__}xxx")
    assert len(text) < 150


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [("look", {}, "thing"), ("look", {"thing": "  "}, "thing"), ("look", {"x": "1"}, "x"), ("lost", {}, "lost")],
)
async def test_what_is_missing_or_unknown_is_named(served, name, arguments, named):
    async with Client(served.mcp) as client:
        with pytest.raises(MCPError, match=named) as caught:
            await client.get_prompt(name, arguments)
        assert caught.value.error.code == -32602


@MODES
async def test_a_prompt_s_argument_completes_with_names(served, mode):
    async with Client(served.mcp, mode=mode) as client:

        async def values(name, value):
            result = await client.complete(t.PromptReference(name="look"), {"name": name, "value": value})
            return result.completion.values

        assert await values("thing", "t") == ["two"]
        assert await values("why", "") == []  # its list cannot be read: no help is no failure
        assert await values("other", "") == []
        with pytest.raises(MCPError):
            await client.complete(t.PromptReference(name="lost"), {"name": "x", "value": ""})


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_a_declared_prompt_names_tools_and_columns_that_there_are(prompt):
    assert prompt in CATALOG.prompts
    words = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", prompt.text))
    columns = {column for tool in CATALOG if tool.row for column in tool.row.model_fields}
    assert words <= {*prompt.tools, *columns}
    assert set(re.findall(r"{(\w+)}", prompt.text)) == {parameter.name for parameter in prompt.parameters}
    assert all(parameter.names.tool in CATALOG for parameter in prompt.parameters)
    assert len(prompt.text) / 4 <= 200


def test_the_prompts_that_were_asked_for_are_there():
    assert [prompt.name for prompt in CATALOG.prompts] == ["diagnose_vm", "morning_report", "plan_maintenance"]
