"""`python -m tests.bench.holds`: for how long one gateway's event loop is held by what it does with 10,000 VMs.

The longest time between two turns of the loop (CPU time of its thread, so that a busy machine does not count), and
all the CPU time, of each piece of work; medians of 5. A loop that is held answers nobody.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.core.policy import Right
from gateway.processes import FULL_COLLECTIONS
from gateway.services import Services
from gateway.views import Views
from gateway.views.declared import VMS
from gateway.views.sight import Sight
from tests.bench.long_lists import MANY, simulator
from tests.bench.machine import ROUNDS, redis_server
from tests.conftest import fast_settings
from tests.journeys.inprocess import House, house, let_in

AIM_SIGHT_MS, AIM_MS = 10.0, 30.0
Work = Callable[[], Awaitable[Any]]


class Loop:
    """Turns of the loop, watched."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Note the longest turn for ever."""
        at = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest, at = max(self.longest, now - at), now


async def held(work: Work) -> tuple[float, float]:
    """Return the longest turn while the work is done, and all the CPU time of the work alone, in milliseconds."""
    loop = Loop()
    watching = asyncio.create_task(loop.watch())
    await asyncio.sleep(0)
    loop.longest = 0.0
    await work()
    watching.cancel()
    began = time.thread_time()
    await work()
    return loop.longest * 1_000, (time.thread_time() - began) * 1_000


async def told(what: str, work: Work, aim: float = AIM_MS) -> None:
    """Print how long the loop was held."""
    measured = [await held(work) for _ in range(ROUNDS)]
    longest, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
    print(f"{what}: held {longest:.1f} ms (aim {aim:.0f}), {cpu:.0f} ms in all", flush=True)


def forgetting(views: Views) -> None:
    """Let nothing be remembered of the list, nor of who saw what of it."""
    reader = views._vms
    if reader._memo is not None:
        reader._memo.rows.looked.clear()
    reader._memo = None


async def measure(gateway: House, other: Services, rights: dict[str, Right], root: dict[str, str]) -> None:
    """Do one piece of work after the other."""
    views = gateway.services.views

    async def refill() -> None:
        await views.vms(max_age=0)

    async def load() -> None:
        forgetting(other.views)
        await other.views.vms()

    async def patch() -> None:
        rows = await views.vms()
        row = rows.rows[len(rows.rows) // 2]
        await views.patch(VMS, row.id, {"running": not row.running}, drop=())
        await views.vms()

    async def look(right: Right, *, anew: bool) -> None:
        rows, sight = await views.vms(), Sight(right, gateway.services.keys.site)
        for needed in sight.needs(VMS):
            known = await views.rows(needed)
            known.rendered.clear()
            sight.learn(needed, known)
        rows.rendered.clear()
        if anew:
            rows.looked.clear()
        await sight.look(VMS, rows)

    await told(f"read {MANY} VMs from VergeOS and store them", refill)
    await told("load them from Redis at another gateway", load)
    await told("change one of them", patch)
    for what, right in rights.items():
        await told(f"what one right sees of them by {what}", lambda: look(right, anew=True), AIM_SIGHT_MS)  # noqa: B023
        await told("  after a refresh", lambda: look(right, anew=False), AIM_SIGHT_MS)  # noqa: B023  called at once
    for path in ("/vms?limit=1000", "/vms?name=web", "/vms?limit=50"):
        await told(f"GET {path}, made anew", lambda: _anew(gateway, path, root))  # noqa: B023  called at once


async def limited(gateway: House, headers: dict[str, str]) -> Right:
    """Return the right of a key that sees a part."""
    token = headers["Authorization"].removeprefix("Bearer ")
    right = (await gateway.services.directory.by_key(token, "127.0.0.1")).right
    assert right is not None
    return right


async def _anew(gateway: House, path: str, headers: dict[str, str]) -> None:
    """Read without what was rendered before; the body is not looked into."""
    rows = await gateway.services.views.vms()
    rows.rendered.clear()
    rows.answers.clear()
    assert gateway.http is not None
    async with gateway.http.get(gateway.url + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        await response.read()


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[House, House]]:
    """Run two gateways of this process on a simulated VergeOS of another."""
    with simulator(MANY) as vergeos, redis_server() as redis_url:
        settings = fast_settings(vergeos, redis_url)
        async with house(None, settings, workers=0) as one, house(None, settings, workers=0) as other:
            yield one, other


async def main() -> None:
    """Measure everything, with garbage collected as in a gateway's own process."""
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)
    async with pair() as (one, other):
        root = await let_in((one, other), "root", "admin")
        rights = {}
        for what, select in (("name and node", "name=web-*,node=node1"), ("tag and network", "tag=prod,network=dmz")):
            rights[what] = await limited(one, await let_in((one, other), what.split()[0], "viewer", select))
        await measure(one, other.services, rights, root)


if __name__ == "__main__":
    asyncio.run(main())
