"""`python -m tests.bench.hidden`: whether the time of an answer tells a hidden object from one that there is not.

Needs a Redis server. A caller who sees a part asks for hidden and absent things by turns, so that a drift of the
machine's speed meets both. Printed are the medians, their ratio, and in how many pairs of a hundred the hidden one took
longer: 50 where time tells nothing.
"""

import asyncio
import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from gateway.simulator import Simulator, SimulatorSettings
from tests.bench.machine import gateway_on, key_of

PAIRS = 300
NO_JOB = "0123456789abcdef"

Ask = Callable[[str], tuple[str, str, object]]
"""Returns method, path and body of a request about something."""


def asks(job: str) -> Iterator[tuple[str, str, str, Ask]]:
    """Yield requests: words for each, the hidden thing, the absent one."""
    called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    yield "GET /vms/{id}", "39", "99", lambda ref: ("GET", f"/vms/{ref}", None)
    yield "GET /vms/{name}", "db-1", "db-2", lambda ref: ("GET", f"/vms/{ref}", None)
    yield "GET /vms/{id}/drives", "39", "99", lambda ref: ("GET", f"/vms/{ref}/drives", None)
    yield "GET /networks/{id}", "4", "9", lambda ref: ("GET", f"/networks/{ref}", None)
    yield "GET /jobs/{id}", job, NO_JOB, lambda ref: ("GET", f"/jobs/{ref}", None)
    yield "POST /jobs/{id}/cancel", job, NO_JOB, lambda ref: ("POST", f"/jobs/{ref}/cancel", {})
    yield "POST /vms/{id}/poweroff", "39", "99", lambda ref: ("POST", f"/vms/{ref}/poweroff", {})
    about = {"name": "get_vm_status"}
    yield (
        "get_vm_status over MCP",
        "39",
        "99",
        lambda ref: (
            *("POST", "/message"),
            called | {"params": about | {"arguments": {"id": int(ref)}}},
        ),
    )


def seconds(connection: http.client.HTTPConnection, who: dict[str, str], request: tuple[str, str, object]) -> float:
    """Return how long one answer took."""
    method, path, body = request
    told = None if body is None else json.dumps(body)
    began = time.perf_counter()
    connection.request(method, path, told, {"Content-Type": "application/json", **who})
    connection.getresponse().read()
    return time.perf_counter() - began


def measure(vergeos: str) -> None:
    """Compare what is hidden with what is absent, on this VergeOS."""
    with gateway_on(vergeos) as url:
        admin = key_of(url, "root", {}, role=["admin"])
        some = key_of(url, "some", admin, role=["engineer"], select=["name=app-*"])
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("POST", "/vms/39/poweroff", "{}", {"Content-Type": "application/json", **admin})
        job = json.load(connection.getresponse())["id"]
        for words, hidden, absent, ask in asks(job):
            pairs = []
            for number in range(PAIRS):
                refs = (hidden, absent) if number % 2 else (absent, hidden)
                took = {ref: seconds(connection, some, ask(ref)) for ref in refs}
                pairs.append((took[hidden], took[absent]))
            medians = [statistics.median(column) * 1000 for column in zip(*pairs, strict=True)]
            longer = 100 * sum(first > second for first, second in pairs) / PAIRS
            ratio = medians[0] / medians[1]
            print(
                f"{words:<26} {medians[0]:6.2f} ms, {medians[1]:6.2f} ms: x {ratio:.2f}, {longer:3.0f} of 100",
                flush=True,
            )


async def main() -> None:
    """Run the comparison against a simulated VergeOS."""
    async with Simulator(SimulatorSettings(vms=40)) as sim:
        await asyncio.to_thread(measure, sim.url)


if __name__ == "__main__":
    asyncio.run(main())
