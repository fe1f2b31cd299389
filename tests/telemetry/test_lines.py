"""Lines that are written several at once: each soon, all in order, none lost at an end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gateway.telemetry.lines import MOST_HELD, Lines
from tests.telemetry.test_observed import paths

LINE, WRITTEN = '{{"n":{:05}}}\n'.format, b'{"n":%05d}\n'


@pytest.fixture
def pipe():
    """A pipe that lines are written into: `read` returns what has come, nothing where there is nothing."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)

    def read():
        try:
            return os.read(ours, 1 << 16)
        except BlockingIOError:
            return b""

    yield SimpleNamespace(ours=ours, lines=Lines(theirs), read=read)
    os.close(theirs)
    os.close(ours)


async def arrived(pipe):
    """Return once something can be read."""
    loop = asyncio.get_running_loop()
    there = loop.create_future()
    loop.add_reader(pipe.ours, there.set_result, None)
    await there
    loop.remove_reader(pipe.ours)


async def test_a_line_is_held_for_a_moment_and_comes_by_itself(pipe):
    for n in range(3):
        pipe.lines.add(LINE, n)
        assert pipe.read() == b""
        await arrived(pipe)
        assert pipe.read() == WRITTEN % n


async def test_many_lines_come_in_order_and_few_at_a_time(pipe):
    read = b""
    for n in range(5_000):
        pipe.lines.add(LINE, n)
        while chunk := pipe.read():
            assert chunk.endswith(b"\n")
            assert chunk.count(b"\n") <= MOST_HELD
            read += chunk
    assert len(asyncio.get_running_loop()._scheduled) <= 1  # more would each cut a later lot in two
    pipe.lines.flush()
    assert read + pipe.read() == b"".join(WRITTEN % n for n in range(5_000))


async def test_lines_of_several_threads_are_all_there(pipe):
    def some():
        for n in range(300):
            pipe.lines.add(LINE, n)
            pipe.lines.flush()

    await asyncio.gather(*(asyncio.to_thread(some) for _ in range(4)))
    pipe.lines.flush()
    assert sorted(pipe.read().splitlines(keepends=True)) == sorted([WRITTEN % n for n in range(300)] * 4)


def test_where_no_loop_runs_a_line_is_written_at_once(pipe):
    pipe.lines.add(LINE, 1)
    assert pipe.read() == WRITTEN % 1


def test_a_loop_that_ended_leaves_its_lines_to_who_flushes(pipe):
    async def told():
        pipe.lines.add(LINE, 1)

    asyncio.run(told())
    pipe.lines.flush()
    asyncio.run(told())
    pipe.lines.flush()
    assert pipe.read() == WRITTEN % 1 * 2


def test_a_file_that_takes_nothing_harms_nobody():
    ours, theirs = os.pipe()
    os.close(ours)
    Lines(theirs).add(LINE, 1)
    os.close(theirs)


LIGHT = """
import asyncio, logging, os, signal, sys
from gateway.telemetry import logs
def told(n): logs.line(logging.INFO, "call", n=n)
async def work():
{}
logs.configure("INFO")
asyncio.run(work())
"""
WHOLE = """
import argparse, asyncio, logging, os, signal
from gateway import processes
from gateway.telemetry import logs
def told(n): logs.line(logging.INFO, "call", n=n)
async def work(_settings, _options):
{}
processes.COMMANDS["work"] = work
processes.run(argparse.Namespace(command="work"))
"""
WAYS = {
    "ends": "    told(1); told(2)\n",
    "crashes": "    told(1); told(2); raise RuntimeError('crash')\n",
    "exits": "    told(1); told(2); sys.exit(3)\n",
    "is_stopped": (
        "    async with processes._stopping() as stop:\n"
        "        told(1); os.kill(os.getpid(), signal.SIGTERM); await stop.wait(); told(2)\n"
    ),
    "warns": "    told(1); logs.line(logging.WARNING, 'call', n=2); os.kill(os.getpid(), signal.SIGKILL)\n",
    "waits": "    told(1); await asyncio.Event().wait()\n",
    "logs": (
        "    told(1); logs.get_logger('x').info('between', n=2); told(3)\n"
        "    logging.getLogger('y').warning('foreign'); told(5)\n"
    ),
}


def process(way):
    script = (WHOLE if way in ("crashes", "is_stopped") else LIGHT).format(WAYS[way])
    environment = paths() | {"VERGEOS_HOST": "vergeos.example"}
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("way", ["ends", "crashes", "exits", "is_stopped", "warns"])
def test_however_a_process_ends_its_lines_are_there_before_anything_else(way):
    with process(way) as ended:
        told = ended.stderr.read().splitlines()
    assert [json.loads(line)["n"] for line in told[:2]] == [1, 2]
    assert not told[2:] or told[2].startswith(b"Traceback")
    assert bool(told[2:]) == (way == "crashes")


def test_lines_of_loggers_come_in_their_turn():
    with process("logs") as ended:
        told = [json.loads(line) for line in ended.stderr.read().splitlines()]
    assert [line.get("n", line["event"]) for line in told] == [1, 2, 3, "foreign", 5]


def test_a_process_that_is_killed_owes_no_line_that_was_there_for_a_moment():
    with process("waits") as killed:
        assert json.loads(killed.stderr.readline())["n"] == 1
        killed.send_signal(signal.SIGKILL)
