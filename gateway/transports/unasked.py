"""Connections on which nobody asks: closed after a while, so that none uses up a place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

HEADERS_SECONDS: Final = 20.0  # for the whole head of a connection's first request
KEPT_SECONDS: Final = 120.0  # for that of each further one: longer than proxies keep an idle connection
LOOKS: Final = 4  # in that time


@asynccontextmanager
async def closed_unasked(runner: web.AppRunner, seconds: float = HEADERS_SECONDS) -> AsyncIterator[None]:
    """Close what has asked nothing within so many seconds, or a little more, while the block lasts."""
    watching = asyncio.create_task(_watch(runner, seconds), name="unasked")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _watch(runner: web.AppRunner, seconds: float) -> None:
    loop, since = asyncio.get_running_loop(), dict[object, float]()
    while runner.server is not None:
        await asyncio.sleep(seconds / LOOKS)
        now = loop.time()
        links = runner.server.connections
        silent = [link for link in links if link._request_count == 0]  # noqa: SLF001  aiohttp tells it nowhere else
        since = {link: since.get(link, now) for link in silent}
        for link in silent:
            if now - since[link] >= seconds:
                link.force_close()
