"""Every stream and wait that a caller can have open at a gateway, and their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp

from tests.transports.mcp_fixtures import HEADERS, asked, begin, modern

LONG = {"wait_timeout": 600, "force_after_timeout": False}
LISTEN = {"notifications": {"resourceSubscriptions": ["vergeos://vms/list"]}}
PROGRESS = {"_meta": {"progressToken": "p"}}


@dataclass(frozen=True)
class Door:
    """Where the streamable HTTP of a gateway is."""

    mcp: str


@asynccontextmanager
async def all_open(url: str, headers: dict[str, str], vm: str, job_id: str) -> AsyncIterator[list[str]]:
    """Open one of each at a gateway: events over REST, and streams and waiting calls of MCP in both eras.

    The calls join the power-off of `vm`, which is the job `job_id`. Yields what is still open, until it ends.
    """
    called = {"name": "power_off_vm", "arguments": LONG | {"id": vm}} | PROGRESS
    async with aiohttp.ClientSession(headers=HEADERS | headers) as http, AsyncExitStack() as stack:
        mcp, session = f"{url}/mcp", await begin(http, Door(f"{url}/mcp"))
        streams = {
            "events": http.get(f"{url}/jobs/{job_id}/events"),
            "old transport": http.get(f"{url}/sse"),
            "stream of a session": http.get(mcp, headers=session),
            "call of a session": http.post(mcp, json=asked("tools/call", called, 2), headers=session),
            "listening": http.post(mcp, **modern("subscriptions/listen", LISTEN)),
            "stateless call": http.post(mcp, **modern("tools/call", called, name="power_off_vm")),
        }
        still: list[str] = []
        ending = []
        for name, opening in streams.items():
            stream = await stack.enter_async_context(opening)
            assert stream.status == 200, (name, await stream.text())
            still.append(name)
            ending.append(asyncio.create_task(_until_its_end(stream, name, still)))
        try:
            yield still
        finally:
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)


async def _until_its_end(stream: aiohttp.ClientResponse, name: str, still: list[str]) -> None:
    """Read a stream until it ends, by whatever end, and take its name out of `still`."""
    with suppress(aiohttp.ClientError, OSError):
        while await stream.content.read(4096):
            pass
    still.remove(name)
