"""The README tells what the code does: its tables, its commands, its curl lines."""

import json
import re
import shlex
from collections import Counter
from pathlib import Path

from gateway.__main__ import _parser, main
from gateway.client_config import CLIENTS
from tests.readme import README, with_tables

TEXT = README.read_text()


def shell_lines():
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip())


def test_the_tables_are_those_of_the_code():
    assert with_tables(TEXT) == TEXT, "run: .venv/bin/python -m tests.readme"


def commands():
    """The command lines in it, those in the text as well, without what stands before and behind them."""
    for line in re.findall(r"vergeos-gateway ([a-z][^`#<|\n]*)", TEXT):
        yield shlex.split(line)


def test_every_vergeos_gateway_command_in_it_can_be_called_so():
    seen = Counter(words[0] for words in commands() if _parser().parse_args(words))
    assert {"stdio", "up", "serve", "worker", "bridge", "jobs", "keys", "policy", "audit", "freeze"} <= set(seen)


def curl_lines():
    """The curl lines: line, method, path, body, headers; -d sends a form's type unless -H says another."""
    for line in shell_lines():
        words = shlex.split(line)
        if words[0] == "curl":
            url = next(word for word in words if word.startswith("http"))
            body = words[words.index("-d") + 1] if "-d" in words else None
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            if "-H" in words:
                headers.update([words[words.index("-H") + 1].split(": ")])
            method = "POST" if "-X" in words else "GET"
            yield line, method, url.removeprefix("http://127.0.0.1:3002"), body, headers


def test_it_has_curl_lines_to_try():
    assert len(list(curl_lines())) >= 8


def test_each_client_config_line_makes_a_file_that_names_the_gateway(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    seen = set()
    for line in shell_lines():
        words = shlex.split(line)
        if words[1:2] != ["client-config"]:
            continue
        assert main(words[1:]) == 0, line
        written = re.search(r"Wrote (\S+?)(;|\n)", (told := capsys.readouterr()).err)
        [entry] = json.loads(Path(written[1]).read_text() if written else told.out)[CLIENTS[words[2]].section].values()
        assert {"command", "url", "serverUrl"} & set(entry), line
        seen.add(words[2])
    assert seen == set(CLIENTS)
