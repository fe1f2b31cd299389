"""What browsers let pages of other sites do: nothing, unless their very origin is configured."""

import pytest
from pydantic import ValidationError

from gateway.settings import Settings
from tests.journeys.inprocess import house
from tests.transports.mcp_fixtures import HEADERS, asked, called

PAGE, FOREIGN = "https://portal.example", "https://evil.example"
LIKE = (
    *("http://portal.example", "https://portal.example:8443", "https://portal.example.evil.example"),
    *("https://xportal.example", "https://sub.portal.example", "https://PORTAL.example", "null"),
)
PATHS = ("/vms", "/tools/list_vms", "/mcp", "/message", "/sse", "/docs", "/openapi.json", "/health", "/", "/nothing")
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


def told(headers):
    """Return what an answer says to browsers about pages of other sites."""
    return {name for name in headers if name.lower().startswith("access-control-")}


async def answered(gateway, method, path, origin, **more):
    async with gateway.http.request(method, gateway.url + path, headers={"Origin": origin, **more}) as answer:
        return answer.status, answer.headers


async def test_nothing_is_said_to_any_page_unless_it_is_configured(sim, settings):
    async with house(sim, settings, workers=0) as gateway:
        for path in PATHS:
            for method, more in (("OPTIONS", PREFLIGHT), ("GET", {}), ("POST", {})):
                status, headers = await answered(gateway, method, path, FOREIGN, **more)
                assert (status, told(headers)) == (403, set()), (method, path)
            own = await answered(gateway, "OPTIONS", path, gateway.url, **PREFLIGHT)
            assert (own[0] >= 400, told(own[1])) == (True, set()), path
        for path in ("/vms", "/docs", "/health"):
            status, headers = await answered(gateway, "GET", path, gateway.url)
            assert (status, told(headers)) == (200, set())


async def test_a_configured_page_may_ask_and_read_at_every_door(sim, settings):
    async with house(sim, settings.model_copy(update={"cors_origins": (PAGE,)}), workers=0) as gateway:
        for path in PATHS:
            status, headers = await answered(gateway, "OPTIONS", path, PAGE, **PREFLIGHT)
            assert (status, headers["Access-Control-Allow-Origin"]) == (204, PAGE)
            assert "Authorization" in headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in headers
        for _ in range(3):  # asked of VergeOS, from the cache, made before
            status, headers = await answered(gateway, "GET", "/vms", PAGE)
            assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, PAGE, "Origin")
            assert "X-As-Of" in headers["Access-Control-Expose-Headers"]
        for path, body in (("/message", called("list_vms")), ("/mcp", asked("ping"))):
            page = HEADERS | {"Origin": PAGE}
            async with gateway.http.post(gateway.url + path, json=body, headers=page) as answer:
                assert answer.status != 403
                assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        await gateway.key("ann", "ann")
        status, headers = await answered(gateway, "GET", "/vms", PAGE)
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, PAGE)


async def test_an_origin_that_is_only_like_a_configured_one_is_refused(sim, settings):
    async with house(sim, settings.model_copy(update={"cors_origins": (PAGE,)}), workers=0) as gateway:
        for origin in (FOREIGN, *LIKE):
            for method, path, more in (("OPTIONS", "/vms", PREFLIGHT), ("GET", "/vms", {}), ("POST", "/mcp", {})):
                status, headers = await answered(gateway, method, path, origin, **more)
                assert (status, told(headers)) == (403, set()), (method, path, origin)


@pytest.mark.parametrize("written", ["*", "portal.example", "https://portal.example/", "https://*.example", "null"])
def test_what_is_no_exact_origin_is_a_wrong_setting(written):
    with pytest.raises(ValidationError, match="is no origin as browsers send it"):
        Settings(cors_origins=written, _env_file=None)


async def test_a_page_of_ours_takes_nothing_from_elsewhere_and_stands_in_no_frame(sim, settings):
    async with house(sim, settings, workers=0) as gateway:
        for path in ("/docs", "/docs/docs.js", "/docs/docs.css"):
            _, headers = await answered(gateway, "GET", path, gateway.url)
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self'; ")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
