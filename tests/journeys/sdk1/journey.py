"""The journey of a client with the 1.x SDK; run by a Python that has it. Prints what it saw as JSON."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

face, target = sys.argv[1], sys.argv[2:]


def connect():
    if face == "http":
        return streamablehttp_client(target[0])
    if face == "sse":
        return sse_client(target[0])
    return stdio_client(StdioServerParameters(command=target[0], args=target[1:], env=dict(os.environ)))


async def main():
    asked, progressed = [], []

    async def person(context, params):
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"answer": True})

    async def progress(done, total, message):
        progressed.append(message)

    async with (
        connect() as streams,
        ClientSession(streams[0], streams[1], elicitation_callback=person) as client,
    ):
        version = (await client.initialize()).protocolVersion
        tools = [tool.name for tool in (await client.list_tools()).tools]
        listed = (await client.call_tool("list_vms", {"limit": 3})).structuredContent
        arguments = {"id": "web-1", "wait_timeout": 1}
        done = (await client.call_tool("power_off_vm", arguments, progress_callback=progress)).structuredContent
        seen = (await client.call_tool("get_job", {"id": done["id"]})).structuredContent
    return {
        "version": version,
        "tools": tools,
        "listed": len(listed["items"]),
        "forced": done["result"]["forced"],
        "state": seen["state"],
        "asked": asked,
        "progressed": bool(progressed),
    }


print(json.dumps(asyncio.run(main())))
