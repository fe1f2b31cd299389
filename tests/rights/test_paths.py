"""What is hidden takes the path of what is absent: as many requests to VergeOS and Redis, whichever tool and face."""

import asyncio
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from redis.asyncio.connection import AbstractConnection

from gateway.views.facts import LISTS
from tests.rights.matrix import FACES, callers, groups
from tests.rights.test_matrix import served

PARTS = tuple(who for who in callers() if who.name in ("viewer-part", "engineer-part", "admin-part"))
BEHIND = {"access", "event-feed", "settle", "governor", "audit-window", "mcp-sessions", "callers"}
"""Tasks that ask Redis at times of their own, whoever calls for what."""

TRIES = 3


@contextmanager
def counting():
    """Count how often a call makes this process ask Redis."""
    asked, send = Counter(), AbstractConnection.send_packed_command

    async def counted(connection, command, check_health=True):
        task = asyncio.current_task()
        if task.get_name() not in BEHIND and task.get_coro().__name__ != "_note":  # of a key's last use
            asked["Redis"] += 1
        await send(connection, command, check_health)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AbstractConnection, "send_packed_command", counted)
        yield asked


async def cost_of(faces, cell, asked, *, cold):
    """Return what a call asks of VergeOS and Redis; a cold one is the first after all lists have changed."""
    await faces.answer(cell)
    for view in LISTS.values() if cold else ():
        faces.gateway.services.views.forget(view.name, time.time_ns() // 1000)
    asked.clear()
    faces.gateway.sim.reset_counts()
    verdict, _ = await faces.answer(cell)
    assert verdict == "absent", str(cell)
    return dict(faces.gateway.sim.requests), dict(asked)


def refused(whose, faces):
    """Yield the hidden and the absent cell of each group that differs in nothing else."""
    for _, *pair in (group for group in groups(whose, faces) if len(group) > 1):
        if [cell.expected for cell in pair] == ["absent", "absent"]:
            yield pair


async def compared(faces, pairs, *, cold):
    """Return the pairs that differ, each time that they are tried: a list may have aged between two calls."""
    wrong = []
    with counting() as asked:
        for pair in pairs:
            for _ in range(TRIES):
                hidden, absent = [await cost_of(faces, cell, asked, cold=cold) for cell in pair]
                if hidden == absent:
                    break
            else:
                wrong.append(f"{pair[0]}: {hidden}, but where there is none {absent}")
    return wrong


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_what_is_hidden_costs_what_is_absent_costs(sim, settings, tmp_path, cold):
    async with served(sim, settings, tmp_path, PARTS[1:2]) as faces:
        pairs = list(refused(PARTS[1:2], ("tools",)))
        assert len(pairs) > 30
        assert await compared(faces, pairs, cold=cold) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_over_every_face_what_is_hidden_costs_what_is_absent_costs(sim, settings, tmp_path, cold):
    async with served(sim, settings, tmp_path, PARTS) as faces:
        assert await compared(faces, refused(PARTS, FACES), cold=cold) == []
