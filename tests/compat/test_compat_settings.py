"""The predecessor's settings: the names in `.env`, and each way of logging in."""

from base64 import b64encode
from pathlib import Path

import aiohttp
import pytest

from gateway.settings import Settings
from gateway.simulator import Simulator, SimulatorSettings
from tests.compat.standing import gateway_on

PASSWORD = {"vergeos_api_key": None, "vergeos_user": "admin", "vergeos_pass": "demo"}


def test_the_env_file_is_read_by_the_names_of_old():
    Path(".env").write_text(
        "VERGEOS_HOST=your-vergeos-host\nVERGEOS_USER=admin\nVERGEOS_PASS=your-password\nVERGEOS_TOKEN=your-token-here\n"
    )
    settings = Settings()
    assert (settings.base_url, settings.vergeos_user) == ("https://your-vergeos-host", "admin")
    assert settings.vergeos_pass.get_secret_value() == "your-password"
    assert settings.vergeos_token.get_secret_value() == "your-token-here"


def test_the_environment_goes_before_the_env_file(monkeypatch):
    Path(".env").write_text("VERGEOS_HOST=from-the-file\n")
    monkeypatch.setenv("VERGEOS_HOST", "from-the-environment")
    assert Settings().base_url == "https://from-the-environment"


def test_the_port_is_3002_unless_told(monkeypatch):
    assert Settings().port == 3002
    monkeypatch.setenv("PORT", "3010")
    assert Settings().port == 3010


def test_the_certificate_is_verified_unless_told(monkeypatch):
    assert Settings().vergeos_verify_ssl is True
    monkeypatch.setenv("VERGEOS_VERIFY_SSL", "false")
    assert Settings().vergeos_verify_ssl is False


@pytest.fixture
async def deaf_to_cookies():
    """A VergeOS that lets nobody in for a cookie: its `Cookie: token=…` was never official."""
    async with Simulator(SimulatorSettings(vms=20, seed=7)) as sim:
        who = sim.world.accounts.who
        sim.world.accounts.who = lambda headers, _cookies: who(headers, {})
        yield sim


async def token_by_curl(sim):
    """Return a token as the document's curl line gets it: Basic, and the same in the body."""
    basic = {"Authorization": "Basic " + b64encode(b"admin:demo").decode()}
    async with aiohttp.ClientSession() as http:
        login = {"login": "admin", "password": "demo"}
        async with http.post(f"{sim.url}/api/sys/tokens", json=login, headers=basic) as response:
            return (await response.json())["$key"]


async def test_user_and_password_log_in_without_a_cookie(deaf_to_cookies, redis_url):
    async with gateway_on(redis_url, sim=deaf_to_cookies, **PASSWORD) as gateway:
        assert (await gateway.get("/vms/34")).body["name"] == "web-1"


async def test_the_token_of_the_document_s_curl_line_logs_in_without_a_cookie(deaf_to_cookies, redis_url):
    token = {"vergeos_api_key": None, "vergeos_token": await token_by_curl(deaf_to_cookies)}
    async with gateway_on(redis_url, sim=deaf_to_cookies, **token) as gateway:
        assert (await gateway.get("/vms/34")).body["name"] == "web-1"


async def test_a_token_that_has_expired_is_renewed_by_user_and_password(deaf_to_cookies, redis_url):
    token = {"vergeos_token": await token_by_curl(deaf_to_cookies)}
    async with gateway_on(redis_url, sim=deaf_to_cookies, **PASSWORD, **token) as gateway:
        assert (await gateway.get("/networks")).status == 200
        deaf_to_cookies.expire_sessions()
        assert (await gateway.get("/vms/34")).body["name"] == "web-1"
