"""What the bridge must know of the messages it relays: their era, their headers, the frames of event streams."""

import base64
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import orjson

HANDSHAKE_VERSIONS = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
VERSION_META = "io.modelcontextprotocol/protocolVersion"
NAMED_BY = ("name", "uri", "taskId")
MIRROR = "x-mcp-header"
PARSE_ERROR, INTERNAL_ERROR = -32700, -32603

Message = dict[str, Any]
Mirrors = dict[str, dict[tuple[str, ...], str]]
"""For each tool the arguments, by their path, that are repeated in a header, and the name of it."""


def message_of(line: bytes) -> Message | None:
    """Return the message of a line, None for what is none."""
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) and message.get("jsonrpc") == "2.0" else None


def is_request(message: Message) -> bool:
    """Tell whether a message wants an answer."""
    return "method" in message and "id" in message


def failure(request_id: Any, words: str, *, code: int = INTERNAL_ERROR, data: Any = None) -> Message:
    """Return the answer to a request that could not be relayed."""
    what = {"code": code, "message": words} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": request_id, "error": what}


def version_of(message: Message) -> str | None:
    """Return the revision that a stateless message says it is of, None for one of a session."""
    meta = _members(_members(message.get("params")).get("_meta"))
    version = meta.get(VERSION_META)
    return version if isinstance(version, str) and version not in HANDSHAKE_VERSIONS else None


def stateless_headers(message: Message, version: str, mirrors: Mirrors) -> dict[str, str]:
    """Return the headers that repeat what a stateless message says, for proxies that read no bodies."""
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": str(message.get("method", ""))}
    params = _members(message.get("params"))
    named = next((params[key] for key in NAMED_BY if isinstance(params.get(key), str)), None)
    if named is not None:
        headers["Mcp-Name"] = header_value(named)
    for path, name in mirrors.get(named or "", {}).items() if message.get("method") == "tools/call" else ():
        value = _at(_members(params.get("arguments")), path)
        if value is not None:
            headers[f"Mcp-Param-{name}"] = header_value(_rendered(value))
    return headers


def header_value(text: str) -> str:
    """Return a text as the value of a header; what a header cannot carry goes as base64."""
    plain = text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?base64?")
    return text if plain else f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def learn_mirrors(answer: Message, mirrors: Mirrors) -> None:
    """Take from a list of tools which of their arguments are repeated in headers."""
    tools = _members(answer.get("result")).get("tools")
    for tool in tools if isinstance(tools, list) else ():
        found = dict(_mirrored(_members(_members(tool).get("inputSchema")), ()))
        if isinstance(_members(tool).get("name"), str):
            mirrors[tool["name"]] = found


async def events_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each event of a stream; pings and comments are none."""
    rest, told = b"", b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                told += line[5:].removeprefix(b" ")
            elif not line and told:
                yield told
                told = b""


def _mirrored(schema: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    found = []
    for name, inner in _members(schema.get("properties")).items():
        shape = _members(inner)
        if isinstance(shape.get(MIRROR), str):
            found.append(((*path, name), shape[MIRROR]))
        found += _mirrored(shape, (*path, name))
    return found


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _at(arguments: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = arguments
    for name in path:
        value = _members(value).get(name)
    return value


def _rendered(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
