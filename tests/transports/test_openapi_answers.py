"""The whole catalog, tried at the edges of what its OpenAPI document allows and beyond: no 5xx, every answer fits."""

import json
from functools import cache
from urllib.parse import quote

import jsonschema
import pytest

from gateway.tools import CATALOG
from gateway.transports.openapi import document
from tests.journeys.inprocess import house

pytestmark = pytest.mark.slow

API = document(CATALOG)
KNOWN = {"id": "web-1", "vm_id": "web-1", "machine_id": 41, "drive_id": 118, "snapshot_id": 1, "name": "web", "vm": 34}
TEXTS = ["", "0", "null", "true", "../..", "a/b", "%00", "\x00", "💾" * 50, "x" * 5_000, "' or 1 eq 1", "name:"]
NUMERALS = ["10", "-1", str(2**63), str(10**30), "1e5", "NaN"]
NUMBERS = [0, -1, 1, 10**9, 2**63, 10**30, 1.5, -0.0, 1e308]
READS = [(tool, route) for tool in CATALOG for route in tool.routes if route.method == "GET"]
OTHERS = [None, True, [], ["a"], {}, {"a": {"b": [1]}}]


def tried(name):
    """Yield values for an argument: of its own kind, at the edges of each kind, and of none."""
    yield from TEXTS
    yield from NUMBERS
    yield from OTHERS
    if name in KNOWN:
        yield KNOWN[name]


def least(tool):
    """Return arguments that are enough to call a tool."""
    properties = tool.input_schema["properties"]
    missing = {name: (properties[name].get("enum") or [10])[0] for name in tool.input_schema.get("required", ())}
    return {name: KNOWN.get(name, value) for name, value in missing.items()}


@cache
def validator(path, method, status, media):
    """Return what holds a body against the document; fails for a media type that the document does not know."""
    responses = API["paths"][path][method]["responses"]
    described = responses.get(str(status), API["components"]["responses"]["Problem"])
    return jsonschema.Draft202012Validator({**described["content"][media]["schema"], "components": API["components"]})


def check(path, method, answered):
    """Hold an answer against the document: whatever was sent, it is none of a server that failed."""
    assert answered.status < 500, (path, method, answered.text)
    media = answered.headers["Content-Type"].split(";")[0]
    validator(path, method, answered.status, media).validate(answered.body)


@pytest.fixture
async def gateway(sim, settings):
    async with house(sim, settings, workers=0) as built:
        yield built


async def test_every_tool_called_by_name_withstands_every_value_of_every_argument(gateway):
    for tool in CATALOG:
        for name in tool.arguments.model_fields:
            if name == "wait":
                continue  # it takes the time that it is told
            for value in tried(name):
                dry = {"dry_run": True} if tool.makes_job else {}
                given = least(tool) | dry | {name: value}
                check(f"/tools/{tool.name}", "post", await gateway.call("POST", f"/tools/{tool.name}", given))


async def test_every_read_withstands_every_text_in_its_path_and_query(gateway):
    for tool, route in READS:
        usual = {key: str(KNOWN.get(key, "10")) for key in route.path_parameters} | least(tool)
        for name in tool.arguments.model_fields:
            for value in (*TEXTS, *NUMERALS):
                if name != "wait" and (value or name not in route.path_parameters):  # no text in a path is empty
                    asked = url(route, usual | {name: value})
                    check(route.path, "get", await gateway.call("GET", asked))


def url(route, given):
    """Return path and query of a call with these arguments."""
    quoted = {key: quote(str(value), safe="") for key, value in given.items()}
    query = "&".join(f"{key}={value}" for key, value in quoted.items() if key not in route.path_parameters)
    return f"{route.path.format(**quoted)}?{query}"


def test_the_document_is_one_that_a_program_can_read_back():
    assert json.loads(json.dumps(API, allow_nan=False)) == API
