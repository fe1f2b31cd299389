"""`client-config`: the configuration with which an MCP client finds this gateway, printed or merged into its file."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from gateway.core.errors import GatewayError

TOKEN, HOST, KEY, URL = "VERGEOS_MCP_TOKEN", "VERGEOS_HOST", "VERGEOS_API_KEY", "VERGEOS_MCP_URL"
FILL_IN = "fill-in"

Entry = dict[str, Any]


class CannotWrite(GatewayError):
    """The client's file cannot be merged into; it was left as it is."""

    code = "cannot_write"


@dataclass(frozen=True)
class Client:
    """How one MCP client is configured.

    `section` is the member of its file that holds the servers, `place` the file's path below its home, per platform
    where they differ (`.` is the working directory). `http` makes the entry of a remote gateway from its URL, None
    for a client that speaks stdio only; `secret` is how the client's file refers to a variable, None where it cannot.
    """

    section: str
    place: Mapping[str, str]
    secret: str | None
    http: Callable[[str, Entry], Entry] | None
    typed: bool = False

    def remote(self, url: str) -> Entry | None:
        """Return the entry for a gateway at this URL, None where only a bridge will do."""
        token = (self.secret or FILL_IN).format(name=TOKEN)
        return None if self.http is None else self.http(f"{url}/mcp", {"Authorization": f"Bearer {token}"})


def _by_url(url: str, headers: Entry) -> Entry:
    return {"url": url, "headers": headers}


def _by_type(url: str, headers: Entry) -> Entry:
    return {"type": "http", "url": url, "headers": headers}


def _by_server_url(url: str, headers: Entry) -> Entry:
    return {"serverUrl": url, "headers": headers}


CLIENTS = {
    "claude-desktop": Client(
        "mcpServers",
        {
            "darwin": "Library/Application Support/Claude/claude_desktop_config.json",
            "win32": "AppData/Roaming/Claude/claude_desktop_config.json",
            "linux": ".config/Claude/claude_desktop_config.json",
        },
        secret=None,
        http=None,
    ),
    "claude-code": Client("mcpServers", {"": "./.mcp.json"}, "${{{name}}}", _by_type, typed=True),
    "windsurf": Client("mcpServers", {"": ".codeium/windsurf/mcp_config.json"}, "${{env:{name}}}", _by_server_url),
    "cursor": Client("mcpServers", {"": ".cursor/mcp.json"}, "${{env:{name}}}", _by_url),
    "vscode": Client("servers", {"": "./.vscode/mcp.json"}, "${{input:vergeos-token}}", _by_type, typed=True),
    "generic": Client("mcpServers", {"": "./mcp.json"}, None, _by_url),
}
VSCODE_INPUT = {"type": "promptString", "id": "vergeos-token", "description": "VergeOS Gateway token", "password": True}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `client-config`."""
    parser.add_argument("client", choices=tuple(CLIENTS))
    parser.add_argument(
        "--remote", metavar="URL", help="a team's gateway; without it the client starts its own (stdio)"
    )
    parser.add_argument("--bridge", action="store_true", help="reach the remote gateway over stdio, through the bridge")
    parser.add_argument("--name", default="vergeos", help="name of the server in the client (default: vergeos)")
    parser.add_argument("--write", action="store_true", help="merge into the client's file, with a backup")


def run(options: argparse.Namespace) -> None:
    """Print the configuration, or with `--write` merge it; no secret is ever copied. Raises `CannotWrite`."""
    client = CLIENTS[options.client]
    wanted = configuration(options.client, options.name, remote=options.remote, bridge=options.bridge)
    if options.write:
        _say(merge(file_of(client, sys.platform, Path.home(), Path.cwd()), wanted))
    else:
        print(json.dumps(wanted, indent=2))
    for place in _open_places(wanted):
        _say(f"Fill in: {place}")
    if f"${{{TOKEN}}}" in (text := json.dumps(wanted)) or f"${{env:{TOKEN}}}" in text:
        _say(f"Set {TOKEN} in the environment of the client.")


def configuration(client_name: str, name: str, *, remote: str | None = None, bridge: bool = False) -> Entry:
    """Return what belongs into the client's file."""
    client = CLIENTS[client_name]
    base = None if remote is None else remote.rstrip("/").removesuffix("/mcp")
    entry = None if base is None or bridge else client.remote(base)
    if entry is None:
        typed = {"type": "stdio"} if client.typed else {}
        variables = {HOST: FILL_IN, KEY: FILL_IN} if base is None else {URL: base, TOKEN: FILL_IN}
        entry = {**typed, **_command("stdio" if base is None else "bridge"), "env": variables}
    wanted: Entry = {client.section: {name: entry}}
    asks = client_name == "vscode" and "headers" in entry
    return ({"inputs": [VSCODE_INPUT]} if asks else {}) | wanted


def file_of(client: Client, platform: str, home: Path, working: Path) -> Path:
    """Return the path of the client's file on a platform, as `sys.platform` names it."""
    place = PurePath(client.place.get(platform) or client.place.get("") or client.place["linux"])
    relative = str(client.place.get("", "")).startswith("./")
    return (working if relative else home) / place


def merge(path: Path, wanted: Entry) -> str:
    """Put our entries into a client's file and leave all others; return what was done, in words.

    The file as it was is kept beside it. Raises `CannotWrite`, nothing changed.
    """
    path = path.resolve()  # a link stays one
    before = _read(path, wanted)
    after = {key: _joined(before.get(key), value) for key, value in wanted.items()}
    merged = before | after
    if merged == before:
        return f"{path} says so already; nothing was changed."
    backup = _backed_up(path) if path.exists() else None
    _replace(path, json.dumps(merged, indent=2, ensure_ascii=False) + "\n")
    return f"Wrote {path}" + (f"; the file as it was is {backup}" if backup else "")


def _read(path: Path, wanted: Entry) -> Entry:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise CannotWrite(f"{path} cannot be read: {exc}", next_step="Choose another client's file.") from None
    try:
        known = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError:
        known = None
    sections = (value for key, value in known.items() if key in wanted) if isinstance(known, dict) else (None,)
    if not isinstance(known, dict) or not all(isinstance(section, dict | list) for section in sections):
        by_hand = f"Add this by hand:\n{json.dumps(wanted, indent=2)}"
        raise CannotWrite(f"{path} is not plain JSON of the expected shape; it was left as it is", next_step=by_hand)
    return known


def _joined(known: Any, wanted: Any) -> Any:
    """Return a section with our part in it: servers by their name, questions by their id."""
    if isinstance(wanted, dict):
        return {**(known or {}), **wanted}
    ours = {item["id"] for item in wanted}
    others = [item for item in known or [] if not (isinstance(item, dict) and item.get("id") in ours)]
    return known if all(item in (known or []) for item in wanted) else [*others, *wanted]


def _backed_up(path: Path) -> Path:
    number = 0
    while (backup := path.with_name(f"{path.name}.bak{number or ''}")).exists():
        number += 1
    backup.write_bytes(path.read_bytes())
    backup.chmod(path.stat().st_mode & 0o777)
    return backup


def _replace(path: Path, text: str) -> None:
    """Write the file whole or not at all; a new one is for its owner alone, for a key may come to stand in it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    except OSError as exc:
        raise CannotWrite(f"{path} cannot be written: {exc}", next_step="Print it without --write.") from None


def _command(mode: str) -> Entry:
    """Return how a client starts this very program: by whole paths, for clients start in folders of their own."""
    program = Path(sys.executable).with_name("vergeos-gateway.exe" if sys.platform == "win32" else "vergeos-gateway")
    if program.exists():
        return {"command": str(program), "args": [mode]}
    return {"command": sys.executable, "args": ["-m", "gateway", mode]}


def _open_places(wanted: Any, path: str = "") -> list[str]:
    if isinstance(wanted, dict):
        return [found for key, value in wanted.items() for found in _open_places(value, f"{path}.{key}".strip("."))]
    return [path] if isinstance(wanted, str) and FILL_IN in wanted else []


def _say(words: str) -> None:
    print(words, file=sys.stderr)
