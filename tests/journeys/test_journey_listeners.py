"""Five hundred listeners on one gateway: one read of the stream, all hear the end, a stuck one holds up nobody."""

import asyncio
import time

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import eventually

LISTENERS = 500
STUCK = 5
LONG = {"wait_timeout": 600, "force_after_timeout": False}


async def heard_the_end(http, url, headers=None):
    """Follow a job to its last event; return when it came and the ids of all."""
    async with http.get(url, headers=headers) as answer:
        assert answer.status == 200
        text = (await answer.read()).decode()
    ids = [int(line[4:]) for line in text.split("\n") if line.startswith("id: ")]
    assert "event: cancelled" in text
    return time.monotonic(), ids


@pytest.mark.slow
async def test_five_hundred_listeners_cost_one_read_of_the_stream_and_all_hear_the_end(system, own_redis):
    vm = system.sim.vm("web-1").ignore_acpi()
    await system.gateway()
    await system.worker()
    _, job = await system.call("POST", f"/vms/{vm.key}/poweroff", LONG)
    await eventually(lambda: vm.power_actions())
    url = f"{system.url}/jobs/{job['id']}/events"
    async with (
        Redis.from_url(own_redis.url) as redis,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        before = (await redis.info("clients"))["connected_clients"]
        stuck = [await http.get(url) for _ in range(STUCK)]  # they never read
        listening = [asyncio.create_task(heard_the_end(http, url)) for _ in range(LISTENERS)]
        await eventually(lambda: followers(system, LISTENERS + STUCK), 30)
        readers = (await redis.info("clients"))["blocked_clients"]
        assert readers == 1
        assert (await redis.info("clients"))["connected_clients"] <= before + 50  # the pool of reads, not one each
        asked_at = time.monotonic()
        await system.call("POST", f"/jobs/{job['id']}/cancel")
        heard = await asyncio.gather(*listening)
        assert max(at for at, _ in heard) - asked_at < 10
        assert len({tuple(ids) for _, ids in heard}) == 1
        ids = heard[0][1]
        assert ids == list(range(1, ids[-1] + 1))
        for answer in stuck:
            answer.close()
        _, replayed = await heard_the_end(http, url, {"Last-Event-ID": str(ids[1])})
        assert replayed == ids[2:]
        async with http.get(url, headers={"Last-Event-ID": str(ids[-1])}) as over:
            assert over.status == 204


async def followers(system, wanted):
    async with aiohttp.ClientSession() as http, http.get(f"{system.url}/metrics") as answer:
        text = await answer.text()
    return f"vergeos_gateway_event_followers {float(wanted)}" in text
