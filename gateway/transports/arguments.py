"""What a REST request asks of a tool: arguments from path, query and body, the wait and the idempotency key."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web
from multidict import MultiMapping

from gateway.core.errors import CallError, InvalidArgument
from gateway.core.text import clean
from gateway.core.tool import Arguments, Tool

WAIT_LIMIT_SECONDS = 45.0
KEY_LIMIT = 200
DEPTH_LIMIT = 32
BODY_WITHIN_SECONDS = 30.0  # a client that trickles its body must not hold a connection for ever
SHOWN_CHARACTERS = 60
WAIT = "wait"
READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
QUERIES_KEPT = 2_048  # of one tool


class MalformedBody(CallError):
    """The body is not what this route reads."""

    code, status = "malformed_body", 400
    next_step = 'Send one JSON object, e.g. {"wait_timeout": 30}.'


async def of_route(tool: Tool, request: web.Request) -> dict[str, Any]:
    """Return the raw arguments of a resource route: from the query of a read, else from the body; and the path.

    Raises `InvalidArgument`, `MalformedBody`, and aiohttp's own refusals of a large or slow body.
    """
    if request.method in READS:
        await _require_no_body(request)
        given = _whole_list(tool) | _from_query(tool, request.query)
    else:
        _require_no_query(tool, request.query)
        given = await json_object(request)
    return _with_path(given, request.match_info)


class Queries:
    """The arguments of reads of one tool, validated once for each path and query; the latest are kept."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._known: dict[tuple[str, str], Arguments] = {}

    async def arguments(self, request: web.Request) -> dict[str, Any] | Arguments:
        """Return the arguments of a read; raw ones where they are wrong, for that is told where the call is made.

        How old the answer may be is told by `max_age`, or else by the header `Cache-Control`. Raises as `of_route`.
        """
        if request.body_exists:
            return await of_route(self._tool, request)
        wanted = request.headers.get(hdrs.CACHE_CONTROL, "")
        known = self._known.get((request.raw_path, wanted))
        return known or self._parsed(request, wanted, await of_route(self._tool, request))

    def _parsed(self, request: web.Request, wanted: str, given: dict[str, Any]) -> dict[str, Any] | Arguments:
        given = _aged(self._tool, wanted) | given
        try:
            known = self._tool.parse(given)
        except InvalidArgument:
            return given
        if len(self._known) >= QUERIES_KEPT:
            self._known.clear()
        self._known[request.raw_path, wanted] = known
        return known


def _aged(tool: Tool, cache_control: str) -> dict[str, Any]:
    """Return the age that the header `Cache-Control` of a read wants: `no-cache` is 0, as browsers mean it."""
    if "max_age" not in tool.arguments.model_fields:
        return {}
    for directive in cache_control.lower().split(","):
        name, _, seconds = directive.strip().partition("=")
        if name == "no-cache":
            return {"max_age": 0}
        if name == "max-age" and seconds.isascii() and seconds.isdigit():
            return {"max_age": seconds}
    return {}


def _whole_list(tool: Tool) -> dict[str, Any]:
    """Return the largest page of a list that comes in pages: scripts that ask for a list want all of it."""
    properties = tool.input_schema.get("properties", {})
    most = properties.get("limit", {}).get("maximum")
    return {"limit": most} if most is not None and "offset" in properties else {}


async def of_call(tool: Tool, request: web.Request) -> dict[str, Any]:
    """Return the raw arguments of `POST /tools/{name}`: the body; raises as `of_route`."""
    _require_no_query(tool, request.query)
    return await json_object(request)


def wait_seconds(tool: Tool, request: web.Request) -> float:
    """Return the seconds of `?wait=` that the answer of a tool that makes a job may take; 0 without it.

    Raises `InvalidArgument` outside of 0 to 45.
    """
    if not _waits(tool) or WAIT not in request.query:
        return 0.0
    try:
        [seconds] = map(float, request.query.getall(WAIT))
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= WAIT_LIMIT_SECONDS:
        raise InvalidArgument(f"{WAIT}: must be one number of seconds from 0 to {WAIT_LIMIT_SECONDS:.0f}")
    return seconds


def idempotency_key(request: web.Request) -> str | None:
    """Return the header `Idempotency-Key`; raise `InvalidArgument` unless it is one short printable text."""
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not 0 < len(key) <= KEY_LIMIT or not (key.isascii() and key.isprintable()):
        raise InvalidArgument(f"Idempotency-Key: must be one text of 1 to {KEY_LIMIT} printable ASCII characters")
    return key


async def json_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in the body, `{}` for an empty one, whatever Content-Type it goes by.

    curl and many scripts send JSON as a form. Raises `MalformedBody`, and aiohttp's own refusals of a
    body that is larger than the application's `client_max_size` or takes over 30 s.
    """
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        # a packed body that breaks off reads as an empty one, and an empty one means the defaults
        raise MalformedBody("a packed body is not read here", next_step="Send the body without Content-Encoding.")
    try:
        async with asyncio.timeout(BODY_WITHIN_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    if not body.strip():
        return {}
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise MalformedBody(f"the body is not JSON: {exc.msg}") from None
    if not isinstance(decoded, dict):
        raise MalformedBody("the body is JSON, but not an object")
    # counting brackets is cheap and clears nearly every body without a walk
    if body.count(b"[") + body.count(b"{") > DEPTH_LIMIT and _deeper_than(decoded, DEPTH_LIMIT):
        raise MalformedBody(f"the body is nested deeper than {DEPTH_LIMIT} levels")
    return decoded


async def _require_no_body(request: web.Request) -> None:
    """Refuse arguments in the body of a read: left out silently, they would make it answer something else."""
    if request.body_exists and await json_object(request):
        raise MalformedBody(f"{request.method} takes no body", next_step="Put the arguments into the query string.")


def _require_no_query(tool: Tool, query: MultiMapping[str]) -> None:
    stray = [name for name in query if not (name == WAIT and _waits(tool))]
    if stray:
        raise InvalidArgument(
            f"{clean(stray[0], SHOWN_CHARACTERS)}: is not a query parameter here",
            next_step="Put the arguments into the JSON body.",
        )


def _waits(tool: Tool) -> bool:
    """Tell whether `wait` is the transport's to answer: the tool makes a job, and has no such parameter itself."""
    return tool.makes_job and WAIT not in tool.arguments.model_fields


def _from_query(tool: Tool, query: MultiMapping[str]) -> dict[str, Any]:
    """Return the query as arguments; text becomes numbers and booleans when the tool validates it."""
    given: dict[str, Any] = {}
    for name in query:
        values = query.getall(name)
        if _takes_list(tool.input_schema.get("properties", {}).get(name, {})):
            given[name] = values
        elif len(values) > 1:
            raise InvalidArgument(f"{clean(name, SHOWN_CHARACTERS)}: is given more than once")
        else:
            given[name] = values[0]
    return given


def _takes_list(schema: Mapping[str, Any]) -> bool:
    return any(option.get("type") == "array" for option in (schema, *schema.get("anyOf", ())))


def _with_path(given: Mapping[str, Any], path: Mapping[str, str]) -> dict[str, Any]:
    for name, text in path.items():
        if name in given and str(given[name]) != text:
            raise InvalidArgument(f"{name}: is {clean(text, SHOWN_CHARACTERS)} in the path and another value beside it")
    return {**given, **path}


def _deeper_than(decoded: Any, limit: int) -> bool:
    """Tell whether JSON nests deeper than `limit`, level by level, so that no depth exhausts our own stack."""
    level = [decoded]
    for _ in range(limit):
        inner = (value for outer in level for value in (outer.values() if isinstance(outer, dict) else outer))
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return False
    return True
