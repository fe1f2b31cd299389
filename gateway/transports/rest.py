"""REST, derived from the catalog: a route for each tool's resource, and every tool by its name."""

import hashlib
import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import TypeAdapter

from gateway.calls import Answer, Call, Face, run
from gateway.core.answer import Page
from gateway.core.text import clean
from gateway.core.tool import Tool
from gateway.transports import arguments, events
from gateway.transports.context import CATALOG, SERVICES, TRACEPARENT, caller_of

CLIENT_CHARACTERS = 100


def mount(app: web.Application) -> None:
    """Add the routes of every tool in `app[CATALOG]`, `/tools`, and what jobs have besides their tools."""
    for tool in app[CATALOG]:
        for route in tool.routes:
            _add(app, route.method, _pattern(route.path), _resource(tool))
    _add(app, hdrs.METH_GET, "/tools", list_tools)
    _add(app, hdrs.METH_GET, "/tools/{name}", show_tool)
    _add(app, hdrs.METH_POST, "/tools/{name}", call_tool)
    events.mount(app)


async def list_tools(request: web.Request) -> web.Response:
    """Answer the tools that the caller may use, under `tools`."""
    tools = request.app[CATALOG].usable_by(caller_of(request))
    return _read(request, orjson.dumps({"tools": [_described(tool) for tool in tools]}), {})


async def show_tool(request: web.Request) -> web.Response:
    """Answer one tool; raise `UnknownTool`, `Forbidden`."""
    tool = request.app[CATALOG][request.match_info["name"]]
    tool.require(caller_of(request))
    return _read(request, orjson.dumps(_described(tool)), {})


async def call_tool(request: web.Request) -> web.Response:
    """Call a tool by its name with the body as its arguments; answer its value under `result`."""
    tool = request.app[CATALOG][request.match_info["name"]]
    answer = await run(tool, await arguments.of_call(tool, request), _call(tool, request))
    return _done(answer, b'{"result":' + answer.as_json() + b"}")


def _resource(tool: Tool) -> Handler:
    """Return the handler of the tool's own routes, which answer its bare value."""

    async def serve(request: web.Request) -> web.Response:
        answer = await run(tool, await arguments.of_route(tool, request), _call(tool, request))
        if request.method not in arguments.READS:
            return _done(answer, answer.as_json())
        if isinstance(answer.value, Page):
            return _read(request, _items(answer.value), _freshness(answer) | _paging(request, answer.value))
        return _read(request, answer.as_json(), _freshness(answer))

    return serve


def _call(tool: Tool, request: web.Request) -> Call:
    return Call(
        services=request.app[SERVICES],
        caller=caller_of(request),
        face=Face.REST,
        address=request.remote or "",
        client=clean(request.headers.get(hdrs.USER_AGENT, ""), CLIENT_CHARACTERS),
        idempotency_key=arguments.idempotency_key(request),
        wait_seconds=arguments.wait_seconds(tool, request),
        traceparent=request.headers.get(TRACEPARENT, ""),
    )


def _done(answer: Answer, body: bytes) -> web.Response:
    """Answer a call that is no plain read: 202 while the job that it made has not ended, with its address."""
    headers = {hdrs.CACHE_CONTROL: "no-store", **_freshness(answer)}
    job = answer.job if answer.tool.makes_job else None
    if job is not None and job.id is not None:
        headers[hdrs.LOCATION] = events.job_path(job.id)
    status = 202 if job is not None and job.open else 200
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _read(request: web.Request, body: bytes, headers: Mapping[str, str]) -> web.Response:
    """Answer a read, or 304 where the client has these very bytes. What tells the age stands in headers for that."""
    tag = hashlib.sha256(body).hexdigest()[:24]
    told = {**headers, hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: "private, no-cache"}
    if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=told)
    return web.Response(body=body, headers=told, content_type="application/json")


def _freshness(answer: Answer) -> dict[str, str]:
    """Return when VergeOS was asked (Unix seconds), from where the answer comes, and its age in whole seconds."""
    if answer.as_of is None or answer.source is None:
        return {}
    age = max(int(time.time() - answer.as_of), 0)
    return {"X-As-Of": f"{answer.as_of:.3f}", "X-Source": answer.source.value, hdrs.AGE: str(age)}


def _paging(request: web.Request, page: Page[Any]) -> dict[str, str]:
    headers = {"X-Total-Count": str(page.total)}
    if page.next is not None:
        following = request.rel_url.update_query(offset=str(page.next))
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
