"""How late the event loop wakes a sleeper: a process that does too much at once shows it there first."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

SLEEP_SECONDS = 0.5


@asynccontextmanager
async def watched_loop(observe: Callable[[float], None]) -> AsyncIterator[None]:
    """Tell `observe` every half second by how many seconds the loop was late, while the block lasts."""
    watching = asyncio.create_task(_watch(observe), name="loop-delay")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _watch(observe: Callable[[float], None]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + SLEEP_SECONDS
        await asyncio.sleep(SLEEP_SECONDS)
        observe(max(loop.time() - due, 0.0))
