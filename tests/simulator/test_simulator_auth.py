"""Who may come in (VergeOS API notes 1)."""

import base64

import pytest

REFUSED = (401, {"err": "Login required"})


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
async def anyone(api):
    """Asks without any credentials but those in the headers given."""
    api.session.headers.clear()

    async def ask(headers, method="GET", path="vms/34", body=None):
        return await api.ask(method, path, body, headers)

    return ask


async def test_the_version_needs_no_credentials_and_all_else_does(anyone):
    status, version = await anyone({}, path="/version.json")
    assert (status, version["version"]) == (200, "26.1.8")
    for path in ("vms", "version", "", "no_such_table"):
        assert await anyone({}, path=path) == REFUSED


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer demo"},
        {"x-yottabyte-token": "demo"},
        basic("admin", "demo"),
    ],
)
async def test_keys_and_passwords_open(anyone, headers):
    assert (await anyone(headers))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Digest demo"},
        {"x-yottabyte-token": "wrong"},
        basic("admin", "wrong"),
        basic("nobody", "demo"),
    ],
)
async def test_wrong_credentials_do_not(anyone, headers):
    assert await anyone(headers) == REFUSED


async def test_an_api_key_is_no_password(start):
    api = await start(api_key="the-key", password="the-password")
    api.session.headers.clear()
    assert await api.ask("GET", "vms/34", headers=basic("admin", "the-key")) == REFUSED
    assert (await api.ask("GET", "vms/34", headers=basic("admin", "the-password")))[0] == 200


async def test_a_session_lives_from_login_to_logout(anyone):
    status, receipt = await anyone({}, "POST", "/api/sys/tokens", {"login": "admin", "password": "demo"})
    assert status == 200
    token = {"x-yottabyte-token": receipt["$key"]}
    assert len(receipt["$key"]) == 40
    assert (await anyone(token))[0] == 200
    assert (await anyone({"Cookie": f"token={receipt['$key']}"}))[0] == 200
    assert (await anyone(token, "DELETE", f"/api/sys/tokens/{receipt['$key']}"))[0] == 200
    assert await anyone(token) == REFUSED


async def test_sessions_are_limited_to_a_hundred(anyone):
    login = {"login": "admin", "password": "demo"}
    statuses = [(await anyone({}, "POST", "/api/sys/tokens", login))[0] for _ in range(101)]
    assert statuses == [200] * 100 + [422]


async def test_expired_sessions_leave_passwords_good(anyone, sim):
    login = {"login": "admin", "password": "demo"}
    _, receipt = await anyone({}, "POST", "/api/sys/tokens", login)
    sim.expire_sessions()
    assert await anyone({"x-yottabyte-token": receipt["$key"]}) == REFUSED
    assert (await anyone({}, "POST", "/api/sys/tokens", login))[0] == 200


async def test_too_many_wrong_passwords_lock_the_user_and_its_keys(anyone, sim):
    key = {"Authorization": "Bearer demo"}
    for _ in range(4):
        await anyone({}, "POST", "/api/sys/tokens", {"login": "admin", "password": "guess"})
    assert (await anyone(key))[0] == 200
    await anyone(basic("admin", "guess"))
    assert await anyone(key) == REFUSED
    assert await anyone(basic("admin", "demo")) == REFUSED
    assert (await anyone({"Authorization": "Bearer demo-read"}))[0] == 200
    sim.unlock_users()
    assert (await anyone(key))[0] == 200


async def test_a_lock_shows_on_the_user_and_may_be_switched_off(start):
    api = await start(lock_after=2)
    for _ in range(2):
        await api.ask("POST", "/api/sys/tokens", {"login": "viewer", "password": "guess"})
    [row] = await api.get("users", filter="name eq 'viewer'", fields="account_locked,failed_attempts")
    assert row == {"account_locked": True, "failed_attempts": 2}
    never = await start(lock_after=0)
    for _ in range(20):
        await never.ask("POST", "/api/sys/tokens", {"login": "admin", "password": "guess"})
    assert (await never.ask("GET", "vms/34"))[0] == 200


async def test_revoked_credentials_are_refused_until_restored(api, sim):
    sim.revoke_credentials()
    assert await api.ask("GET", "vms/34") == REFUSED
    assert await api.ask("GET", "vms/34", headers=basic("admin", "demo")) == REFUSED
    sim.restore_credentials()
    assert (await api.ask("GET", "vms/34"))[0] == 200


async def test_a_user_without_the_right_may_read_and_not_write(api, sim):
    api.session.headers["Authorization"] = "Bearer demo-read"
    assert (await api.ask("GET", "vms/34"))[0] == 200
    assert (await api.act(34, "poweroff"))[0] == 403
    assert (await api.put("vms/34", {"name": "x"}))[0] == 403
    assert sim.actions == []


async def test_a_limited_user_sees_shorter_lists_but_the_same_counts(api, sim):
    sim.add_account("narrow", "pw", "narrow-key", visible_vms={30, 34})
    api.session.headers["Authorization"] = "Bearer narrow-key"
    assert {row["name"] for row in await api.get("vms", fields="name")} == {"web-1", "web-2"}
    assert (await api.ask("GET", "vms/31"))[0] == 404
    drives = await api.get("machine_drives", fields="machine", filter="machine ge 37 and machine le 60")
    assert {row["machine"] for row in drives} == {37, 41}
    assert (await api.get("dashboard"))[0]["machines_count"] == 40
