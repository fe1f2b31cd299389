"""`/openapi.json` for programs, and `/docs`, a page of ours that shows it to people; nothing comes from elsewhere."""

import asyncio
import hashlib
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files

import orjson
from aiohttp import hdrs, web

from gateway.transports.context import CATALOG
from gateway.transports.openapi import document

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ASSETS = {
    "/docs": ("docs.html", "text/html"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
    "/docs/docs.css": ("docs.css", "text/css"),
}


def mount(app: web.Application) -> None:
    """Add the document of `app[CATALOG]`, made when it is first asked for, and the page with its assets."""
    described = cache(lambda: orjson.dumps(document(app[CATALOG])))
    app.router.add_get("/openapi.json", partial(_serve_made, make=described, content_type="application/json"))
    folder = files("gateway.transports") / "assets"
    for path, (name, content_type) in ASSETS.items():
        asset = (folder / name).read_bytes()
        app.router.add_get(path, partial(_serve, body=asset, content_type=content_type))


async def _serve_made(request: web.Request, *, make: Callable[[], bytes], content_type: str) -> web.Response:
    """Answer bytes that are made beside the loop: the first time that takes a tenth of a second."""
    return await _serve(request, body=await asyncio.to_thread(make), content_type=content_type)


async def _serve(request: web.Request, *, body: bytes, content_type: str) -> web.Response:
    """Answer fixed bytes, or 304 where the client has them."""
    tag = hashlib.sha256(body).hexdigest()[:24]
    headers = {
        hdrs.ETAG: f'"{tag}"',
        hdrs.CACHE_CONTROL: "no-cache",
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
    }
    if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type=content_type, charset="utf-8")
