"""REST, derived from the catalog: a route for each tool's resource, and every tool by its name."""

import re
import time
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import TypeAdapter

from gateway.calls import Answer, Call, run
from gateway.core.answer import CursorPage, Page
from gateway.core.text import clean
from gateway.core.tool import Arguments, Tool
from gateway.transports import arguments, events
from gateway.transports.context import ASKED, CATALOG, Asked, caller_of
from gateway.transports.ready import Ready
from gateway.transports.rest_call import call_of

REASON_CHARACTERS = 200


def mount(app: web.Application) -> None:
    """Add the routes of every tool in `app[CATALOG]`, `/tools`, and what jobs have besides their tools."""
    for tool in app[CATALOG]:
        for route in tool.routes:
            _add(app, route.method, _pattern(route.path), _resource(tool, route.method))
    _add(app, hdrs.METH_GET, "/tools", list_tools)
    _add(app, hdrs.METH_GET, "/tools/{name}", show_tool)
    _add(app, hdrs.METH_POST, "/tools/{name}", call_tool)
    events.mount(app)


async def list_tools(request: web.Request) -> web.StreamResponse:
    """Answer the tools that the caller may use, under `tools`."""
    tools = request.app[CATALOG].usable_by(caller_of(request))
    return Ready(orjson.dumps({"tools": [_described(tool) for tool in tools]}), {}).response(request)


async def show_tool(request: web.Request) -> web.StreamResponse:
    """Answer one tool; raise `UnknownTool`, `Forbidden`."""
    tool = request.app[CATALOG][request.match_info["name"]]
    tool.require(caller_of(request))
    return Ready(orjson.dumps(_described(tool)), {}).response(request)


async def call_tool(request: web.Request) -> web.StreamResponse:
    """Call a tool by its name with the body as its arguments; answer its value under `result`."""
    tool = request.app[CATALOG][request.match_info["name"]]
    answer = await run(tool, await arguments.of_call(tool, request), _call(tool, request))
    return _done(answer, b'{"result":%b%b}' % (answer.as_json(), _told(answer)))


def _resource(tool: Tool, method: str) -> Handler:
    """Return the handler of the tool's own routes of a method, which answer its bare value."""

    queries = arguments.Queries(tool)

    async def serve(request: web.Request) -> web.StreamResponse:
        answer = await run(tool, await arguments.of_route(tool, request), _call(tool, request))
        return _done(answer, answer.as_json())

    async def read(request: web.Request) -> web.StreamResponse:
        given, call = await queries.arguments(request), call_of(request)
        answer = await run(tool, given, call)
        if tool.of_views and isinstance(given, Arguments):
            request[ASKED] = Asked(tool, given, call)
        return respond(request, answer)

    return read if method in arguments.READS else serve


def respond(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Answer a plain read."""
    paged = isinstance(answer.value, Page) and answer.value.next is not None
    named = f"rest {request.raw_path}" if paged else "rest"  # the link to the next page repeats what was asked
    return answer.made(named, lambda: _ready(request, answer)).response(request)


def _call(tool: Tool, request: web.Request) -> Call:
    return replace(
        call_of(request),
        idempotency_key=arguments.idempotency_key(request),
        wait_seconds=arguments.wait_seconds(tool, request),
    )


def _done(answer: Answer, body: bytes) -> web.StreamResponse:
    """Answer a call that is no plain read: 202 while the job that it made has not ended, with its address."""
    headers = {hdrs.CACHE_CONTROL: "no-store", **_freshness(answer)}
    job = answer.job if answer.tool.makes_job else None
    if job is not None and job.id is not None:
        headers[hdrs.LOCATION] = events.job_path(job.id)
    status = 202 if job is not None and job.open else 200
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _ready(request: web.Request, answer: Answer) -> Ready:
    if isinstance(answer.value, Page):
        return Ready(_items(answer.value), _freshness(answer) | _paging(request, answer.value), answer.as_of)
    return Ready(answer.as_json(), _freshness(answer), answer.as_of)


def _freshness(answer: Answer) -> dict[str, str]:
    """Return when VergeOS was asked (Unix seconds), from where the answer comes, and why it is older than wanted."""
    if answer.as_of is None or answer.source is None:
        return {}
    told = {"X-As-Of": f"{answer.as_of:.3f}", "X-Source": answer.source.value}
    return told | ({"X-Older-Because": clean(answer.older_because, REASON_CHARACTERS)} if answer.older_because else {})


def _told(answer: Answer) -> bytes:
    """Return the freshness of an answer as the further members of a JSON object."""
    if answer.as_of is None or answer.source is None:
        return b""
    told = {"as_of": answer.as_of, "age_ms": answer.age_ms(time.time()), "source": answer.source.value}
    told |= {"older_because": answer.older_because} if answer.older_because else {}
    return b"," + orjson.dumps(told)[1:-1]


def _paging(request: web.Request, page: Page[Any]) -> dict[str, str]:
    headers = {"X-Total-Count": str(page.total)}
    if isinstance(page, CursorPage) and page.note is not None:
        headers["X-Note"] = page.note
    if page.next is not None:
        going_on = "cursor" if isinstance(page, CursorPage) else "offset"
        following = request.rel_url.without_query_params("offset").update_query({going_on: str(page.next)})
        headers[hdrs.LINK] = f'<{following}>; rel="next"'
    return headers


def _items(page: Page[Any]) -> bytes:
    """Return the page's rows as a JSON array, as the predecessor answered lists."""
    return _items_adapter(type(page)).dump_json(page.items, exclude_none=True)


@cache
def _items_adapter(page: type[Page[Any]]) -> TypeAdapter[Any]:
    rows: Any = page.model_fields["items"].annotation
    return TypeAdapter(rows)


def _described(tool: Tool) -> dict[str, Any]:
    """Return a tool for people and programs; the schemas go by the names that MCP and the predecessor gave them."""
    return {
        "name": tool.name,
        "description": tool.description,
        "permission": tool.permission.value,
        "effect": tool.effect.value,
        "routes": [f"{route.method} {route.path}" for route in tool.routes],
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
    }


def _pattern(path: str) -> str:
    """Return the path as aiohttp writes it; a name in it may hold anything, a `/` as %2F."""
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", path)


def _add(app: web.Application, method: str, path: str, handler: Handler) -> None:
    if method == hdrs.METH_GET:
        app.router.add_get(path, handler)  # HEAD as well
    else:
        app.router.add_route(method, path, handler)
