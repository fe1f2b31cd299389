"""How fast a view of 10,000 VMs is: printed (`pytest -s`), bounded only by what would be absurd."""

import sys
import time

from tests.views.conftest import row

VMS = 10_000


async def test_speed_of_10000_rows_is_told(process, asked, store, capsys):
    asked.rows = [row(n, f"host-{n}", description=f"made for team {n % 50}") for n in range(1, VMS + 1)]
    one, other = process(), process()
    told = {}

    async def timed(what, reading, times=1):
        began = time.perf_counter()
        for _ in range(times):
            found = await reading()
        told[what] = (time.perf_counter() - began) / times * 1_000
        return found

    await timed("refill and store", one.read)
    await timed("load from Redis, cold", other.read)
    await timed("hit", one.read, 10_000)
    generation = await timed("patch of one row", lambda: store.patch("things", {"7": {"running": False}}), 20)
    other.forget(generation)
    await timed("load from Redis, one row changed", other.read)
    known = await timed("one row, cold", lambda: process().known_row(7, 30.0))
    assert known.running is False
    assert asked.times == 1
    with capsys.disabled():
        sys.stdout.write(f"\n{VMS} rows: {', '.join(f'{what} {spent:.3g} ms' for what, spent in told.items())}\n")
    assert told["hit"] < 1.0
