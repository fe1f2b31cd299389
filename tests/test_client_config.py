"""`vergeos-gateway client-config`: what is printed is what the client reads, and what is merged loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client

from gateway.client_config import CLIENTS, CannotWrite, configuration, file_of, merge
from gateway.simulator import Simulator, SimulatorSettings

URL = "https://vergeos.example.com"
HOME, WORKING = Path("/home/ann"), Path("/projects/one")


@pytest.mark.parametrize("given", [URL, f"{URL}/", f"{URL}/mcp"])
@pytest.mark.parametrize(
    ("client", "section", "entry"),
    [
        ("claude-code", "mcpServers", {"type": "http", "url": f"{URL}/mcp", "token": "${VERGEOS_MCP_TOKEN}"}),
        ("windsurf", "mcpServers", {"serverUrl": f"{URL}/mcp", "token": "${env:VERGEOS_MCP_TOKEN}"}),
        ("cursor", "mcpServers", {"url": f"{URL}/mcp", "token": "${env:VERGEOS_MCP_TOKEN}"}),
        ("vscode", "servers", {"type": "http", "url": f"{URL}/mcp", "token": "${input:vergeos-token}"}),
        ("generic", "mcpServers", {"url": f"{URL}/mcp", "token": "fill-in"}),
    ],
)
def test_clients_that_speak_http_get_the_url_and_a_reference_to_the_token(client, section, entry, given):
    token = entry["token"]
    wanted = {k: v for k, v in entry.items() if k != "token"} | {"headers": {"Authorization": f"Bearer {token}"}}
    made = configuration(client, "vergeos", remote=given)
    assert made[section] == {"vergeos": wanted}
    assert ("inputs" in made) == (client == "vscode")


@pytest.mark.parametrize(("client", "bridge"), [("claude-desktop", False), *((name, True) for name in CLIENTS)])
def test_others_and_who_asks_for_it_get_the_bridge(client, bridge):
    [entry] = configuration(client, "team", remote=URL, bridge=bridge)[CLIENTS[client].section].values()
    assert entry["args"][-1] == "bridge"
    assert entry["env"] == {"VERGEOS_MCP_URL": URL, "VERGEOS_MCP_TOKEN": "fill-in"}


@pytest.mark.parametrize("client", CLIENTS)
def test_without_a_remote_gateway_the_client_starts_its_own(client, monkeypatch):
    monkeypatch.setenv("VERGEOS_API_KEY", "hunter2")
    [entry] = configuration(client, "vergeos")[CLIENTS[client].section].values()
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-1] == "stdio"
    assert entry["env"] == {"VERGEOS_HOST": "fill-in", "VERGEOS_API_KEY": "fill-in"}


@pytest.mark.parametrize(
    ("client", "platform", "place"),
    [
        ("claude-desktop", "darwin", HOME / "Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", HOME / "AppData/Roaming/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", HOME / ".config/Claude/claude_desktop_config.json"),
        ("claude-code", "linux", WORKING / ".mcp.json"),
        ("windsurf", "win32", HOME / ".codeium/windsurf/mcp_config.json"),
        ("cursor", "darwin", HOME / ".cursor/mcp.json"),
        ("vscode", "linux", WORKING / ".vscode/mcp.json"),
    ],
)
def test_each_client_s_file_is_where_the_client_looks_for_it(client, platform, place):
    assert file_of(CLIENTS[client], platform, HOME, WORKING) == place


def test_a_new_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "mcp.json"
    merge(path, configuration("cursor", "vergeos", remote=URL))
    assert json.loads(path.read_text()) == configuration("cursor", "vergeos", remote=URL)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["mcp.json"]


def test_what_else_stands_in_the_file_stays_and_the_file_as_it_was_is_kept(tmp_path):
    path = tmp_path / "mcp.json"
    before = {"theme": "dark", "mcpServers": {"other": {"command": "x"}, "vergeos": {"url": "http://old"}}}
    path.write_text(json.dumps(before))
    path.chmod(0o640)
    assert "mcp.json.bak" in merge(path, configuration("cursor", "vergeos", remote=URL))
    after = json.loads(path.read_text())
    assert (after["theme"], after["mcpServers"]["other"]) == ("dark", {"command": "x"})
    assert after["mcpServers"]["vergeos"]["url"] == f"{URL}/mcp"
    assert json.loads((tmp_path / "mcp.json.bak").read_text()) == before
    assert path.stat().st_mode & 0o777 == 0o640
    merge(path, configuration("cursor", "vergeos", remote="https://new.example.com"))
    assert json.loads((tmp_path / "mcp.json.bak1").read_text()) == after


def test_writing_the_same_twice_changes_nothing(tmp_path):
    path, wanted = tmp_path / "mcp.json", configuration("vscode", "vergeos", remote=URL)
    path.write_text(json.dumps({"inputs": [{"id": "mine"}], "servers": {}}))
    merge(path, wanted)
    text = path.read_text()
    assert [item["id"] for item in json.loads(text)["inputs"]] == ["mine", "vergeos-token"]
    assert "nothing was changed" in merge(path, wanted)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == (text, 2)


def test_a_linked_file_stays_a_link(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "mcp.json"
    real.write_text("{}")
    link.symlink_to(real)
    merge(link, configuration("cursor", "vergeos"))
    assert link.is_symlink()
    assert "vergeos" in real.read_text()


@pytest.mark.parametrize("text", ['{"a": 1, // comment\n}', "[]", '{"mcpServers": 3}', "\x00", '"x"'])
def test_a_file_that_is_not_plain_json_is_left_alone_with_the_text_to_add_by_hand(tmp_path, text):
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(CannotWrite) as refused:
        merge(path, configuration("cursor", "vergeos", remote=URL))
    assert f"{URL}/mcp" in refused.value.next_step
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def command(*arguments, **run):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    line = [sys.executable, "-m", "gateway", "client-config", *arguments]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False, **run)


def test_the_command_prints_json_alone_and_says_on_stderr_what_to_fill_in():
    done = command("claude-desktop", "--remote", URL)
    assert json.loads(done.stdout) == configuration("claude-desktop", "vergeos", remote=URL)
    assert done.stderr == "Fill in: mcpServers.vergeos.env.VERGEOS_MCP_TOKEN\n"
    assert "VERGEOS_MCP_TOKEN" in command("cursor", "--remote", URL).stderr
    assert command("notepad").returncode == 2


def test_the_command_writes_into_the_project_it_is_called_in(tmp_path):
    done = command("claude-code", "--write", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert str(tmp_path / ".mcp.json") in done.stderr
    (tmp_path / ".mcp.json").write_text("no JSON")
    assert command("claude-code", "--write", cwd=tmp_path).returncode == 1


async def test_what_is_printed_starts_a_server_that_answers(tmp_path):
    [entry] = configuration("claude-desktop", "vergeos")["mcpServers"].values()
    async with Simulator(SimulatorSettings(vms=20)) as sim:
        filled = {"VERGEOS_HOST": sim.url, "VERGEOS_API_KEY": "demo", "STATE_DIR": str(tmp_path)}
        env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **filled}
        started = StdioServerParameters(command=entry["command"], args=entry["args"], env=env)
        async with McpClient(stdio_client(started)) as client:
            assert "list_vms" in {tool.name for tool in (await client.list_tools()).tools}
