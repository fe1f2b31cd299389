"""The programs that judge the files of image and deployment: from `.venv-tools`, or of the machine."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OURS = ROOT / ".venv-tools" / "bin"


def program(name: str, install: str = "make .venv-tools/installed") -> str:
    """Return the path of a program; skip the test, and say how to install it, where there is none."""
    found = shutil.which(name, path=OURS) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here ({install})")
    return found


def run(*command: str | Path, stdin: str | None = None, **environment: str) -> str:
    """Run a program in the project's folder; return what it says, fail with it where it is not content."""
    done = subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, env=environment or None
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(text: str):
    """Return the YAML documents of a text."""
    return [document for document in yaml.safe_load_all(text) if document]
