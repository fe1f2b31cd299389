"""Every tool of the predecessor is there, under its name, and takes its parameters by name and type."""

import jsonschema
import pytest

from gateway.core.errors import InvalidArgument
from gateway.tools import CATALOG
from tests.compat.promises import TOOLS

EACH = pytest.mark.parametrize("promise", TOOLS, ids=lambda promise: promise.name)


def refusal(name, arguments):
    """Return why the tool or the schema that it publishes refuses these arguments; None where both take them."""
    tool = CATALOG[name]
    try:
        tool.parse(arguments)
    except InvalidArgument as exc:
        return exc.detail
    errors = jsonschema.Draft202012Validator(tool.input_schema).iter_errors(arguments)
    return next((error.message for error in errors), None)


@EACH
def test_its_smallest_call_is_still_enough(promise):
    assert set(CATALOG[promise.name].input_schema.get("required", [])) <= set(promise.required)
    assert refusal(promise.name, promise.least) is None


@EACH
def test_its_fullest_call_is_still_taken(promise):
    assert refusal(promise.name, promise.most) is None


@EACH
def test_each_published_value_of_each_parameter_is_still_taken(promise):
    refused = {
        (name, value): why
        for name, values in promise.parameters.items()
        for value in values
        if (why := refusal(promise.name, promise.most | {name: value})) is not None
    }
    assert refused == {}


def test_a_whole_number_may_be_written_with_a_point_as_its_schema_says():
    def pointed(arguments):
        return {name: float(value) if type(value) is int else value for name, value in arguments.items()}

    assert [promise.name for promise in TOOLS if refusal(promise.name, pointed(promise.most))] == []


def test_a_wait_longer_than_the_predecessor_s_five_minutes_is_taken_too():
    for name in ("power_off_vm", "modify_vm"):
        assert refusal(name, {"id": 34, "wait_timeout": 3600}) is None


async def test_get_tools_lists_them_all_by_the_published_members(gateway):
    listed = (await gateway.get("/tools")).body["tools"]
    assert {promise.name for promise in TOOLS} <= {tool["name"] for tool in listed}
    for tool in listed:
        assert tool["description"]
        assert tool["inputSchema"]["type"] == "object"
