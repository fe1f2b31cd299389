"""`python -m tests.bench.long_lists`: what 10,000 VMs cost a gateway, in time and in memory, against 100.

The slowest percent of `GET /vms` while the list is read anew without a pause, against that of the same gateway left
alone; and the memory of a gateway that has the list, its first page and some single VMs. The simulator has a process
of its own that comes last where all want a core, so that its work does not count as ours: a VergeOS has its own cores.
"""

import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.bench.machine import (
    ROUNDS,
    gateway_beside,
    process,
    ratios,
    redis_server,
    require_tools,
    resident_mb,
    wait_for,
    worst_ms,
)
from tests.bench.reads import limited_caller
from tests.conftest import free_port

FEW, MANY = 100, 10_000
AT_LAST = ("nice", "-n", "15")
UNLIMITED = {"VERGEOS_REQUESTS_PER_SECOND": "0", "VERGEOS_REQUESTS_PER_HOUR": "0"}


@contextmanager
def simulator(vms: int) -> Iterator[str]:
    """Run a simulated VergeOS during the block; yield its URL."""
    port = free_port()
    with process(*AT_LAST, sys.executable, "-m", "gateway", "simulator", "--vms", str(vms), "--port", str(port)):
        wait_for(f"http://127.0.0.1:{port}/version.json")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def refreshing(url: str, who: Mapping[str, str]) -> Iterator[list[int]]:
    """Have the list read anew all the time during the block; yield a list that grows with each time."""
    done, stop = [], threading.Event()

    def refresh() -> None:
        while not stop.is_set():
            request = urllib.request.Request(f"{url}/vms?max_age=0&limit=1", headers=who)
            with urllib.request.urlopen(request) as reply:
                done.append(len(reply.read()))

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def responsive(url: str) -> None:
    """Print the slowest percent of reads, with and without a refresh; callers prove who they are."""
    who = limited_caller(url)
    headers = [part for name, value in who.items() for part in ("-H", f"{name}: {value}")]
    pairs, refreshes = [], 0
    for _ in range(ROUNDS):
        alone = worst_ms(f"{url}/vms?limit=50", *headers)
        with refreshing(url, who) as done:
            pairs.append((worst_ms(f"{url}/vms?limit=50", *headers), alone))
        refreshes += len(done)
    (busy, alone), (ratio,) = ratios(pairs)
    print(f"99 % of GET /vms within {alone:.1f} ms; while {MANY} VMs are read anew ({refreshes} times): {busy:.1f} ms,")
    print(f"  ratio {ratio:.1f} (aim 3)", flush=True)


def memory(vms: int, *, judge: bool) -> float:
    """Return the memory of a gateway that has so many VMs in its views; with `judge` print how responsive it is."""
    with (
        simulator(vms) as vergeos,
        redis_server() as redis_url,
        gateway_beside(redis_url, vergeos, **UNLIMITED) as (url, pid),
    ):
        for path in ("/vms", "/vms?limit=50", "/vms/34") * 3:
            urllib.request.urlopen(url + path).read()
        held = resident_mb(pid)
        if judge:
            responsive(url)
            print(f"  after all these refreshes {resident_mb(pid):.0f} MB")
        return held


def main() -> None:
    """Measure both."""
    require_tools()
    few = memory(FEW, judge=False)
    many = memory(MANY, judge=True)
    print(f"memory with {FEW} VMs {few:.0f} MB, with {MANY} VMs {many:.0f} MB: {many - few:+.0f} MB (aim +60)")


if __name__ == "__main__":
    main()
