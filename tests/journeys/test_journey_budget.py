"""The hour's requests to VergeOS as callers meet them: older answers that say so, and changes that nothing delays."""

import pytest

from gateway.core.access import CallerKind
from gateway.vergeos.networks import list_networks
from gateway.views.declared import LIST_SECONDS
from tests.conftest import eventually, fast_settings
from tests.journeys.inprocess import house, let_in

pytestmark = pytest.mark.slow
OLD = 100.0  # seconds, more than three times as long as a list lives


@pytest.fixture
def served(sim, redis_url):
    """Serve a gateway with so many requests to VergeOS an hour."""

    def serving(an_hour, workers=0):
        return house(sim, fast_settings(sim.url, redis_url, vergeos_requests_per_hour=an_hour), workers=workers)

    return serving


async def test_who_asks_live_all_the_time_is_told_why_he_is_not_and_others_are_answered_live(served, sim):
    async with served(60) as gateway:
        root = await let_in([gateway], "root", "admin")
        bot = await let_in([gateway], "bot", "viewer", kind=CallerKind.AGENT, owner="root")

        async def held_back():
            answer = await gateway.call("GET", "/vms", headers=bot, max_age=0)
            assert answer.status == 200
            return answer.headers.get("X-Older-Because")

        assert "live reads" in await eventually(held_back)
        asked = sim.requests.total()
        for _ in range(20):
            answer = await gateway.call("GET", "/vms", headers=bot, max_age=0)
            assert (answer.headers["X-Source"], bool(answer.headers["X-Older-Because"])) == ("cache", True)
        assert sim.requests.total() == asked
        told = (await gateway.call("POST", "/tools/list_vms", {"max_age": 0}, bot)).body
        assert told["older_because"]
        for person in (root, await let_in([gateway], "ann", "viewer")):
            assert (await gateway.call("GET", "/vms", headers=person, max_age=0)).headers["X-Source"] == "live"


async def test_an_hour_that_is_spent_makes_lists_older_with_their_true_age_and_delays_no_change(served, sim, redis):
    async with served(10, workers=1) as gateway:
        governor, vms = gateway.services.vergeos.governor, gateway.services.keys.view("vms")
        for _ in range(10):
            await list_networks(gateway.services.vergeos)
        before = (await gateway.get("/vms")).headers
        await eventually(lambda: governor.requests_left == 0 and governor.lifetime(LIST_SECONDS) > OLD)
        await redis.hincrbyfloat(vms, "as_of", -OLD)
        gateway.services.views._vms._memo = None  # as another gateway has it, from Redis
        asked = sim.requests["GET vms"]
        answer = await gateway.get("/vms")
        assert answer.headers["X-Source"] == "cache"
        assert float(answer.headers["X-As-Of"]) == pytest.approx(float(before["X-As-Of"]) - OLD, abs=0.01)
        assert int(answer.headers["Age"]) >= int(OLD)
        assert sim.requests["GET vms"] == asked
        vm = sim.vm("web-1")
        kind = "forceoff" if vm.running else "poweron"
        job = await gateway.ended((await gateway.accepted("POST", f"/vms/{vm.key}/{kind}"))["id"])
        assert job["state"] == "completed"
        overview = (await gateway.get("/overview")).body
        assert overview["requests_left"] == 0
