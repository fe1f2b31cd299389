"""`python -m tests.bench.mcp`: `tools/call` of a cached `list_vms` a second, by protocol era, in one run against

the SDK's own server (Starlette under uvicorn, as it comes) with a tool that returns the same text, and a bare aiohttp
handler that decodes the request and returns the same result. Medians of five rounds, all servers in turn in each.
"""

import asyncio
import json
import sys
import tempfile
import urllib.request
from pathlib import Path

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import ROUNDS, gateway_on, key_of, process, rate, ratios, require_tools, wait_for
from tests.conftest import free_port

MODERN = "2026-07-28"
CALL = {"name": "list_vms", "arguments": {"limit": 50}}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
SDK = """
import json, sys
import mcp_types as t, uvicorn
from mcp.server import Server
told = json.load(open(sys.argv[2]))
async def call(ctx, params):
    return t.CallToolResult(content=[t.TextContent(text=told["text"])], structured_content=told["structured"])
async def tools(ctx, params):
    return t.ListToolsResult(tools=[t.Tool(name="list_vms", input_schema={"type": "object"})])
server = Server("sdk", on_call_tool=call, on_list_tools=tools)
uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
BARE = """
import json, sys
import orjson
from aiohttp import web
told = json.load(open(sys.argv[2]))
result = {"content": [{"type": "text", "text": told["text"]}], "structuredContent": told["structured"]}
async def answer(request):
    asked = orjson.loads(await request.read())
    body = orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result})
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_route("*", "/mcp", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


def post(url, body, **headers):
    request = urllib.request.Request(url, json.dumps(body).encode(), HEADERS | headers)
    with urllib.request.urlopen(request) as reply:
        text = reply.read().decode()
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return json.loads(data[-1] if data else text or "null"), reply.headers


def asked(method, params, id=1):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def session_headers(url, who):
    """Open a session and return the headers of its requests."""
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    _, headers = post(url, asked("initialize", info), **who)
    session = {"Mcp-Session-Id": headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"} | who
    post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **session)
    return session


def script_for(folder, name, body, headers):
    """Write the Lua script with which wrk sends this request; ids are counted, as a session wants them."""
    lines = [f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}" for key, value in (HEADERS | headers).items()]
    head, tail = json.dumps(body).split('"id": 1', 1)
    counted = f'{json.dumps(head)} .. "\\"id\\": " .. n .. {json.dumps(tail)}'
    lines += ["n = 0", "function request()", "n = n + 1", f'return wrk.format("POST", nil, nil, {counted})', "end"]
    path = Path(folder) / f"{name}.lua"
    path.write_text("\n".join(lines))
    return str(path)


def measure(vergeos: str) -> None:
    """Compare the eras of a gateway on this VergeOS with the references."""
    with tempfile.TemporaryDirectory() as folder, gateway_on(vergeos) as gateway:
        who = key_of(gateway, "bench", {}, role=["viewer"])
        answer, _ = post(f"{gateway}/message", asked("tools/call", CALL), **who)
        told = {"text": answer["result"]["content"][0]["text"], "structured": answer["result"]["structuredContent"]}
        same = Path(folder) / "same.json"
        same.write_text(json.dumps(told))
        sdk, bare = free_port(), free_port()
        with (
            process(sys.executable, "-c", SDK, str(sdk), str(same)),
            process(sys.executable, "-c", BARE, str(bare), str(same)),
        ):
            servers = {"gateway": f"{gateway}/mcp", "sdk": f"http://127.0.0.1:{sdk}/mcp"}
            servers["bare"] = f"http://127.0.0.1:{bare}/mcp"
            for url in servers.values():
                wait_for(url)
            print(f"{'tools/call of list_vms, 50 rows':<32} {'gateway':>9} {'SDK':>9} {'bare':>9}")
            compare(
                folder, "session (2025-06-18)", servers, asked("tools/call", CALL), lambda u: session_headers(u, who)
            )
            stateless = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "list_vms"} | who
            compare(
                folder, "stateless (2026-07-28)", servers, asked("tools/call", CALL | {"_meta": ENVELOPE}), stateless
            )


def compare(folder, name, servers, body, headers):
    """Print the median rates of all servers for one request, and the gateway's ratio to the others."""
    scripts = {}
    for server, url in servers.items():
        own = {} if server == "bare" else headers(url) if callable(headers) else headers
        scripts[server] = script_for(folder, f"{server}-{len(name)}", body, own)
    rows = [tuple(rate(url, scripts[server]) for server, url in servers.items()) for _ in range(ROUNDS)]
    medians, (to_sdk, to_bare) = ratios(rows)
    told = " ".join(f"{median:>7.0f}/s" for median in medians)
    print(f"{name:<32} {told}  {to_sdk:.2f} of the SDK's, {to_bare:.2f} of bare", flush=True)


async def main() -> None:
    """Run the comparison against a simulated VergeOS with 20 ms latency."""
    require_tools()
    async with Simulator(SimulatorSettings(vms=200, read_latency_seconds=0.02)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
