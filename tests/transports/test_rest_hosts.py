"""Which hosts and pages may call."""

import pytest
from rest_fixtures import house, problem

from gateway.transports.hosts import host_allowed, origin_allowed

ALLOWED = ("gw.example.org", "Lab:8443", "192.0.2.7")
LOOPBACK = ("localhost", "LOCALHOST:3002", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:3002")
LISTED = ("gw.example.org", "GW.example.org:443", "lab:8443", "192.0.2.7:3002")
FOREIGN = ("evil.example", "evil.localhost", "127.0.0.2", "0.0.0.0", "[::2]", "lab", "lab:80", "xgw.example.org")
DISGUISED = (
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "evil.example@localhost",
    "gw.example.org evil",
)
MALFORMED = ("", "localhost:99999", "localhost:x", "localhost/x", "localhost#x", "[::1", "::1", "gw.example.org.")


@pytest.mark.parametrize("host", [*LOOPBACK, *LISTED])
def test_loopback_and_listed_hosts_are_allowed(host):
    assert host_allowed(host, ALLOWED)
    assert origin_allowed(f"http://{host}", ALLOWED)
    assert origin_allowed(f"HTTPS://{host}", ALLOWED)


@pytest.mark.parametrize("host", [*FOREIGN, *DISGUISED, *MALFORMED])
def test_other_hosts_are_not(host):
    assert not host_allowed(host, ALLOWED)
    assert not origin_allowed(f"http://{host}", ALLOWED)


def test_a_request_names_a_host_but_need_not_name_an_origin():
    assert not host_allowed(None, ALLOWED)
    assert origin_allowed(None, ALLOWED)


@pytest.mark.parametrize(
    "origin", ["", "null", "localhost", "file://", "file://localhost", "http://", "chrome-extension://x"]
)
def test_an_origin_that_is_no_web_address_is_foreign(origin):
    assert not origin_allowed(origin, ALLOWED)


@pytest.fixture
async def lamps():
    async with house(allowed_hosts="gw.example.org") as served:
        yield served


@pytest.mark.parametrize("path", ["/lamps", "/tools", "/", "/nothing", "/jobs/x/events"])
async def test_a_foreign_host_is_refused_on_every_route(lamps, path):
    document = await problem(await lamps.get(path, headers={"Host": "evil.example"}), 421, "host_not_allowed")
    assert "evil.example" in document["detail"]
    assert "ALLOWED_HOSTS" in document["next_step"]


@pytest.mark.parametrize("path", ["/lamps/1/off", "/tools/lamp_off", "/livez"])
async def test_a_foreign_page_is_refused_on_every_route(lamps, path):
    for origin in ("https://evil.example", "null"):
        await problem(await lamps.post(path, headers={"Origin": origin}), 403, "origin_not_allowed")
    assert await lamps.services.jobs.open_on("vm:1") == []


async def test_listed_hosts_and_their_pages_are_served(lamps):
    headers = {"Host": "gw.example.org", "Origin": "https://gw.example.org"}
    assert (await lamps.get("/lamps", headers=headers)).status == 200


async def test_the_address_that_the_gateway_listens_on_is_its_own_name():
    async with house(host="192.0.2.9") as served:
        assert (await served.get("/lamps", headers={"Host": "192.0.2.9:3002"})).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics"])
async def test_probes_may_call_by_any_address_since_nobody_knows_a_pods_beforehand(lamps, path):
    assert (await lamps.get(path, headers={"Host": "10.42.0.17:3002"})).status == 200
