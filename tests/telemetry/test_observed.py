"""What a call leaves behind: one line, its figures; nothing secret, nothing of what it said."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from gateway.core.access import LOCAL
from gateway.core.errors import Forbidden, StoreError
from gateway.telemetry import logs, observed
from gateway.telemetry.metrics import PREFIX, Metrics
from gateway.telemetry.observed import observed_call

FACTS = {"site": "lab", "tool": "list_vms", "face": "rest", "caller": LOCAL, "traceparent": ""}


@pytest.fixture
def lines(monkeypatch):
    """The lines of calls, as fields with their level; those bound around them among them."""
    told = []

    def line(level, event, **fields):
        told.append({**logs._FIELDS.get(), **fields, "level": level, "event": event})

    monkeypatch.setattr(observed.logs, "line", line)
    return told


def test_a_call_is_one_line_with_who_what_and_how_long(lines):
    metrics = Metrics()
    with observed_call(metrics, **FACTS) as outcome:
        outcome.ok(job="j1")
    (line,) = lines
    told = {"site": "lab", "caller": "local", "tool": "list_vms", "face": "rest", "job": "j1", "outcome": "ok"}
    assert told.items() <= line.items()
    assert (line["event"], line["level"], line["call"].split("-")[0]) == ("call", 20, observed.PROCESS)
    assert line["seconds"] >= 0
    labels = {"tool": "list_vms", "face": "rest", "outcome": "ok"}
    assert metrics.registry.get_sample_value(f"{PREFIX}_calls_total", labels) == 1


@pytest.mark.parametrize(
    ("error", "level", "outcome"),
    [
        (Forbidden("no"), 20, "forbidden"),
        (StoreError("away"), 30, "store_unavailable"),
        (RuntimeError("a bug with a password in it"), 40, "internal"),
        (asyncio.CancelledError(), 20, "left"),
    ],
)
def test_the_level_tells_whose_fault_it_was(lines, error, level, outcome):
    metrics = Metrics()
    with pytest.raises(type(error)), observed_call(metrics, **FACTS, tells=False):
        raise error
    (line,) = lines
    assert (line["level"], line["outcome"]) == (level, outcome)
    assert "password" not in json.dumps(line)
    labels = {"tool": "list_vms", "face": "rest", "outcome": outcome}
    assert metrics.registry.get_sample_value(f"{PREFIX}_calls_total", labels) == 1


def test_reads_that_went_well_can_be_left_out(lines):
    with observed_call(Metrics(), **FACTS, tells=False) as outcome:
        outcome.ok()
    assert lines == []


SCRIPT = """
import logging
from gateway.telemetry import logs
logs.configure("INFO")
with logs.bound(call="c1", caller="ann"):
    logs.line(logging.INFO, "call", outcome="ok", seconds=0.25)
    logs.line(logging.DEBUG, "call", outcome="hidden")
    logs.get_logger("x").warning("slow", error="E")
logging.getLogger("somebody").warning("foreign")
"""


def test_lines_are_json_through_either_way_and_carry_what_is_bound():
    done = subprocess.run([sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, check=True, env=paths())
    call, slow, foreign = map(json.loads, done.stderr.splitlines())
    assert call.pop("timestamp") <= slow.pop("timestamp")
    assert call == {"event": "call", "level": "info", "call": "c1", "caller": "ann", "outcome": "ok", "seconds": 0.25}
    assert slow == {"event": "slow", "level": "warning", "call": "c1", "caller": "ann", "error": "E"}
    assert (foreign["event"], foreign["level"]) == ("foreign", "warning")


TWO_WAYS = """
from gateway.core.access import Caller
from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observed import note_answered, observed_call
logs.configure("INFO")
facts = {"site": "lab", "tool": "list_vms", "face": "rest", "caller": Caller('Zoë "\\\\" {n}')}
with observed_call(Metrics(), **facts, traceparent="") as outcome:
    outcome.ok()
note_answered(Metrics(), **facts, seconds=0.0000125)
with logs.bound(more="1"):
    note_answered(Metrics(), **facts, seconds=0.5)
note_answered(Metrics(), **facts, seconds=0.5, tells=False)
"""


def test_a_call_that_was_answered_at_once_is_told_as_any_other():
    done = subprocess.run([sys.executable, "-c", TWO_WAYS], stderr=subprocess.PIPE, check=True, env=paths())
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    numbers = [int(line.pop("call").partition("-")[2], 16) for line in lines]
    assert numbers == [1, 2, 3]
    stamps = [datetime.fromisoformat(line.pop("timestamp")) for line in lines]
    assert stamps[0] - timedelta(milliseconds=1) <= stamps[1] <= stamps[2]
    assert [line.pop("seconds") for line in lines][1:] == [pytest.approx(0.0000125, abs=1e-6), 0.5]
    assert lines[1] == lines[0]
    assert lines[2] == {**lines[0], "more": "1"}
    assert lines[0]["caller"] == 'Zoë "\\" {n}'


def test_on_a_terminal_they_are_for_people():
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", SCRIPT + TWO_WAYS], stderr=theirs, check=True, env=paths())
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "call" in text
    assert text.count("list_vms") == 3
    assert '"event"' not in text


def paths():
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
