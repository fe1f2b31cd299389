"""What reaches a model, in tokens counted as characters / 4, since no tokenizer's data ships here.

`pytest -s tests/test_tokens.py` prints the figures.
"""

import json
import sys

import pytest
from mcp import Client

from gateway.simulator import Simulator, SimulatorSettings
from gateway.tools import CATALOG
from gateway.transports.mcp import INSTRUCTIONS
from gateway.transports.selection import select
from tests.conftest import fast_settings
from tests.journeys.inprocess import house

CHARACTERS_A_TOKEN = 4


def tokens(text):
    return len(text) / CHARACTERS_A_TOKEN


def compact(schema):
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def declared(tool):
    """Return the tokens of a tool as a model is told of it."""
    return tokens(tool.name + tool.description + compact(tool.input_schema))


def told(what, figure, bound):
    sys.stdout.write(f"{what:45} {figure:7.0f} tokens of {bound}\n")
    assert figure <= bound, f"{what}: {figure:.0f} tokens, {bound} at most"


def text_of(result):
    return "".join(part.text for part in result.content)


@pytest.mark.parametrize(("choice", "bound"), [("all", 9_000), ("core", 4_000), ("read", 3_500)])
def test_a_choice_of_tools_costs_no_more_than_its_budget(choice, bound):
    chosen = select(CATALOG, choice)
    told(f"{choice}: {len(chosen)} tools", sum(map(declared, chosen)), bound)


def test_no_tool_is_dear_and_most_are_cheap():
    costs = {tool.name: declared(tool) for tool in CATALOG}
    dearest = max(costs, key=costs.get)
    told("a tool, in the mean", sum(costs.values()) / len(costs), 250)
    told(f"the dearest tool, {dearest}", costs[dearest], 350)
    outputs = sum(tokens(compact(tool.output_schema)) for tool in CATALOG)
    sys.stdout.write(f"{'output schemas, for programs':45} {outputs:7.0f} tokens, not bounded\n")


def test_the_core_is_a_handful_of_tools():
    assert 16 <= len(CATALOG.core) <= 20


def test_the_instructions_are_short():
    told("instructions", tokens(INSTRUCTIONS), 150)


@pytest.fixture
async def thousand(redis_url):
    """A gateway on a platform of 1,000 VMs."""
    async with (
        Simulator(SimulatorSettings(vms=1_000, seed=7, time_scale=50.0)) as sim,
        house(sim, fast_settings(sim.url, redis_url, mcp_wait_seconds=0), workers=0) as served,
    ):
        yield served


WIDE = "os_family,enabled,need_restart,cluster,description,machine_id,uuid"


async def test_answers_to_a_model_keep_their_budgets_on_a_thousand_vms(thousand):
    async with Client(f"{thousand.url}/mcp") as client:
        for arguments in ({}, {"limit": 1000}, {"limit": 1000, "fields": WIDE}):
            result = await client.call_tool("list_vms", arguments)
            told(f"list_vms {compact(arguments)[:32]}", tokens(text_of(result)), 2_000)
        for tool, bound in (("get_overview", 400), ("get_alarms", 2_000), ("get_logs", 2_000), ("list_nodes", 2_000)):
            told(tool, tokens(text_of(await client.call_tool(tool))), bound)
        for tool, bound in (("get_vm", 300), ("get_vm_drives", 400), ("diagnose_vm", 2_000)):
            told(tool, tokens(text_of(await client.call_tool(tool, {"id": "web-1"}))), bound)


async def test_a_write_and_an_error_are_a_sentence(thousand):
    async with Client(f"{thousand.url}/mcp") as client:
        write = await client.call_tool("power_off_vm", {"id": "web-1", "wait_timeout": 60})
        assert not write.is_error, text_of(write)
        told("a write", tokens(text_of(write)), 80)
        for arguments in ({"id": "web-l"}, {"id": 99_999_999}, {}, {"id": 1, "x" * 500: 2}):
            failed = await client.call_tool("power_off_vm", arguments)
            assert failed.is_error
            told(f"an error: {text_of(failed)[:30]}", tokens(text_of(failed)), 80)


async def test_who_follows_next_through_cut_texts_sees_every_row_once(thousand):
    seen, offset = [], 0
    async with Client(f"{thousand.url}/mcp") as client:
        while offset is not None:
            text = text_of(await client.call_tool("list_vms", {"limit": 1000, "offset": offset, "fields": WIDE}))
            _header, *rows, last = text.split("\n")
            seen += [row.split("\t")[0] for row in rows]
            offset = int(last.split("next ")[1].split(",")[0]) if "next " in last else None
    assert len(seen) == len(set(seen)) == 1_000
