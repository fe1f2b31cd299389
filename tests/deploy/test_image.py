"""The image as its files describe it; an engine is not needed."""

import re

import pytest

from gateway import __version__
from tests.deploy.programs import ROOT, program, run

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_has_nothing_to_say():
    assert run(program("hadolint"), "Dockerfile") == ""


@pytest.mark.slow
def test_trivy_has_nothing_to_say():
    trivy = program("trivy")
    run(trivy, "config", "--skip-check-update", "--skip-version-check", "--quiet", "--exit-code", "1", "Dockerfile")


def test_it_carries_this_version_and_runs_as_nobody():
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "pip install" not in last


def test_what_is_installed_is_locked_by_hashes_and_is_what_the_gateway_locks():
    """The image's lock is the gateway's and what sends traces: no version differs, no address stands in it."""
    image, gateway = pinned("requirements-image.lock"), pinned("requirements.lock")
    assert gateway.items() <= image.items()
    assert {name.split("-")[0] for name in image.keys() - gateway.keys()} <= TRACES
    assert "://" not in (ROOT / "requirements-image.lock").read_text()


TRACES = {"opentelemetry", "googleapis", "protobuf", "requests", "urllib3", "charset", "certifi"}


def pinned(lock):
    found = re.findall(r"^([a-z0-9-]+)==(\S+).* \\$", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(found)


def test_only_what_it_needs_reaches_the_builder():
    """No `.env`, no history: the ignore file names what is let in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert allowed == {"requirements-image.lock", "gateway", "worker"}
    copied = set(re.findall(r"^COPY (\S+) \./", DOCKERFILE, re.MULTILINE))
    assert copied == allowed
