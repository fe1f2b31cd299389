"""Each of our own semgrep rules finds what it forbids, and leaves alone what is meant."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SEMGREP = ROOT / ".venv-tools" / "bin" / "semgrep"

FORBIDDEN = {
    "tls-is-verified": [
        "requests.get(url, verify=False)",
        "TCPConnector(ssl=False)",
        "x = ssl.CERT_NONE",
        "context.check_hostname = False",
    ],
    "filters-are-built": [
        "client.rows('vms', fields='all', filter=f'name eq {name}')",
        "client.rows('vms', filter='name eq ' + name)",
        "query = {'filter': f'name eq {name}'}",
    ],
    "no-pickle": ["import pickle", "from pickle import loads", "yaml.load(text)"],
    "no-eval": ["eval(text)", "exec(text)", "subprocess.run(line, shell=True)"],
    "secrets-are-not-told": [
        "log.info('key', key=settings.key.get_secret_value())",
        "print(settings.key.get_secret_value())",
        "raise ValueError(f'wrong key {settings.key.get_secret_value()}')",
    ],
    "nothing-blocks-the-loop": ["async def wait():\n    time.sleep(1)"],
    "no-lua": ["redis.eval(script, 0)", "redis.register_script(script)"],
}
ALLOWED = """
requests.get(url, verify=True)
TCPConnector(ssl=context)
client.rows('vms', filter=eq('name', name))
yaml.safe_load(text)
log.info('key', key=settings.key)
header(settings.key.get_secret_value())
def wait():
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The rules that fired in each file: one file for each forbidden line, and one for all that is allowed."""
    if not SEMGREP.exists():
        pytest.skip("no semgrep here (make .venv-tools/installed)")
    folder = tmp_path_factory.mktemp("forbidden")
    for rule, lines in FORBIDDEN.items():
        for number, line in enumerate(lines):
            (folder / f"{rule}_{number}.py").write_text(f"{line}\n")
    (folder / "allowed.py").write_text(ALLOWED)
    command = [SEMGREP, "scan", "--config", ROOT / ".semgrep.yml", "--metrics=off", "--disable-version-check"]
    done = subprocess.run([*command, "--json", "--quiet", "."], cwd=folder, capture_output=True, check=True, timeout=50)
    results = json.loads(done.stdout)["results"]
    return {(Path(result["path"]).stem, result["check_id"].rsplit(".", 1)[-1]) for result in results}


@pytest.mark.slow
def test_each_rule_fires_on_each_thing_that_it_forbids_and_on_nothing_else(found):
    assert found == {(f"{rule}_{number}", rule) for rule, lines in FORBIDDEN.items() for number in range(len(lines))}


def test_every_rule_has_its_examples():
    rules = yaml.safe_load((ROOT / ".semgrep.yml").read_text())["rules"]
    assert {rule["id"] for rule in rules} == set(FORBIDDEN)
