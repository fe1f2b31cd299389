"""Credentials: which are used, how one session is shared and renewed, and how a refusal stops every process."""

import asyncio

import pytest

from gateway.core.errors import StoreError, VergeOSNotFound, VergeOSTimeout, VergeOSUnauthorized, VergeOSUnreachable
from gateway.store.credentials import SharedCredentials
from gateway.vergeos.login import fingerprint

PASSWORD = {"vergeos_api_key": None, "vergeos_user": "svc", "vergeos_pass": "pass-of-svc"}
TOKEN = {"vergeos_api_key": None, "vergeos_token": "token-given"}


class Door:
    """Lets in who shows one of `valid`; a login with the right password makes a new token, which is valid too."""

    def __init__(self, upstream):
        self.valid = set()
        self.makes_valid = True
        self.password = "pass-of-svc"
        self.upstream = upstream
        upstream.answer = self.answer

    @property
    def logins(self):
        return self.upstream.lines().count("POST /api/sys/tokens")

    def answer(self, asked):
        if asked.path == "/api/sys/tokens":
            if asked.body != {"login": "svc", "password": self.password}:
                return 401, {"err": "Login required"}
            token = f"session-{self.logins}"
            if self.makes_valid:
                self.valid.add(token)
            return 200, {"location": f"/sys/tokens/{token}", "$key": token}
        shown = asked.headers.get("x-yottabyte-token") or asked.headers.get("Authorization", "")
        return (200, []) if shown in self.valid else (401, {"err": "Login required"})


@pytest.fixture
def door(upstream):
    return Door(upstream)


def read(client):
    return client.rows("vms", fields="$key")


def act(client):
    return client.action("vm_actions", {"vm": 1, "action": "poweroff", "params": {}})


async def test_an_api_key_is_sent_as_bearer_and_wins(client_for, upstream, door):
    door.valid = {"Bearer key-of-the-gateway"}
    await read(await client_for(upstream.url, vergeos_token="t", vergeos_user="svc", vergeos_pass="p"))
    assert door.logins == 0
    assert "x-yottabyte-token" not in upstream.asked[0].headers


async def test_a_token_is_sent_in_its_own_header(client_for, upstream, door):
    door.valid = {"token-given"}
    await read(await client_for(upstream.url, **TOKEN | {"vergeos_token": " token-given\n"}))
    assert "Authorization" not in upstream.asked[0].headers


async def test_all_processes_and_requests_share_one_login(client_for, upstream, door):
    clients = [await client_for(upstream.url, **PASSWORD) for _ in range(3)]
    await asyncio.gather(*(read(client) for client in clients for _ in range(5)))
    assert door.logins == 1
    await read(await client_for(upstream.url, **PASSWORD))
    assert door.logins == 1


async def test_a_revoked_session_is_renewed_once_for_all_and_the_call_goes_on(client_for, upstream, door):
    clients = [await client_for(upstream.url, **PASSWORD) for _ in range(3)]
    await asyncio.gather(*map(read, clients))
    door.valid.clear()
    await asyncio.gather(*(ask(client) for client in clients for ask in (read, act, read)))
    assert door.logins == 2


async def test_an_act_refused_for_its_session_is_done_exactly_once(client_for, upstream, door):
    client = await client_for(upstream.url, **PASSWORD)
    await read(client)
    door.valid.clear()
    await act(client)
    assert upstream.lines()[-3:] == ["POST /api/v4/vm_actions", "POST /api/sys/tokens", "POST /api/v4/vm_actions"]


async def test_a_session_taken_over_that_is_refused_too_leads_to_a_login(client_for, upstream, door):
    first, second = [await client_for(upstream.url, **PASSWORD) for _ in range(2)]
    await read(first)
    door.valid.clear()
    await read(second)  # takes session-1 over, is refused, makes session-2
    door.valid.clear()
    await read(first)  # shows session-1, takes session-2 over, makes session-3
    assert door.logins == 3


async def test_the_password_renews_a_token(client_for, upstream, door):
    client = await client_for(upstream.url, **PASSWORD | TOKEN)
    await read(client)
    await read(client)
    assert upstream.lines() == ["GET /api/v4/vms", "POST /api/sys/tokens", "GET /api/v4/vms", "GET /api/v4/vms"]


@pytest.mark.parametrize("given", [{}, TOKEN])
async def test_refused_credentials_are_tried_once_by_all_processes_together(client_for, upstream, door, given):
    first, second = [await client_for(upstream.url, **given) for _ in range(2)]
    with pytest.raises(VergeOSUnauthorized, match=r"GET vms: VergeOS refuses .*401.*Login required") as failed:
        await read(first)
    assert "doctor --try-credentials" in failed.value.next_step
    await second.governor.settle()  # as every process does each second
    for client in (first, second, await client_for(upstream.url, **given)):
        with pytest.raises(VergeOSUnauthorized, match=r"since 20.*not tried again") as latched:
            await act(client)
        assert "doctor --try-credentials" in latched.value.next_step
    assert len(upstream.asked) == 1


async def test_a_refused_login_is_tried_once_however_many_ask(client_for, upstream, door):
    door.password = "changed"
    clients = [await client_for(upstream.url, **PASSWORD) for _ in range(3)]
    failed = await asyncio.gather(*(read(client) for client in clients for _ in range(4)), return_exceptions=True)
    assert all(isinstance(error, VergeOSUnauthorized) for error in failed)
    assert len(upstream.asked) == door.logins == 1


async def test_a_fresh_session_that_is_refused_ends_the_trying(client_for, upstream, door):
    door.makes_valid = False
    client = await client_for(upstream.url, **PASSWORD)
    for _ in range(3):
        with pytest.raises(VergeOSUnauthorized):
            await read(client)
    assert upstream.lines() == ["POST /api/sys/tokens", "GET /api/v4/vms"]


async def test_a_session_that_was_never_used_until_it_ended_is_renewed(client_for, upstream, door):
    client = await client_for(upstream.url, **PASSWORD)
    upstream.answer = lambda asked: (404, {"err": "no"}) if asked.method == "GET" else door.answer(asked)
    with pytest.raises(VergeOSNotFound):
        await read(client)
    upstream.answer = door.answer
    door.valid.clear()
    client._parts.login._made_at -= 24 * 3_600  # a day later
    assert await read(client) == []
    assert door.logins == 2


async def test_other_credentials_are_tried_at_once(client_for, upstream, door):
    with pytest.raises(VergeOSUnauthorized):
        await read(await client_for(upstream.url))
    door.valid = {"Bearer another-key"}
    assert await read(await client_for(upstream.url, vergeos_api_key="another-key")) == []


async def test_a_person_may_let_the_same_credentials_be_tried_again(client_for, upstream, door):
    first, second = [await client_for(upstream.url) for _ in range(2)]
    with pytest.raises(VergeOSUnauthorized):
        await read(first)
    door.valid = {"Bearer key-of-the-gateway"}
    await second.clear_latch()
    await first.governor.settle()  # as every process does each second
    assert await read(first) == await read(second) == []


async def test_a_login_that_cannot_be_made_is_not_a_refusal(client_for, upstream, door, unused_tcp_port):
    gone = f"http://127.0.0.1:{unused_tcp_port}"
    client = await client_for(gone, attempts=1, **PASSWORD)
    for _ in range(2):
        with pytest.raises(VergeOSUnreachable, match="POST sys/tokens"):
            await read(client)


async def test_a_login_that_another_process_never_ends_is_waited_for_only_so_long(
    client_for, upstream, door, redis, keys, settings_for
):
    settings = settings_for(upstream.url, **PASSWORD)
    assert await SharedCredentials(redis, keys).claim_login(fingerprint(settings), 60)
    client = await client_for(upstream.url, attempts=1, **PASSWORD)
    with pytest.raises(VergeOSTimeout, match="no session"):
        await read(client.patient(seconds=0.2))
    assert upstream.asked == []


async def test_without_redis_a_process_makes_a_session_of_its_own_and_ends_it(opened, upstream, door, away):
    async with opened(upstream.url, away, **PASSWORD) as client:
        await asyncio.gather(*(read(client) for _ in range(3)))
    assert door.logins == 1
    assert upstream.lines()[-1] == "DELETE /api/sys/tokens/session-1"


async def test_a_shared_session_outlives_the_process_that_made_it(opened, upstream, door, redis):
    async with opened(upstream.url, redis, **PASSWORD) as client:
        await read(client)
    assert upstream.lines() == ["POST /api/sys/tokens", "GET /api/v4/vms"]


async def test_a_refusal_seen_without_redis_is_told_to_all_when_redis_is_back(
    client_for, upstream, door, redis, redis_server
):
    first = await client_for(upstream.url)
    redis_server.connected = False
    for _ in range(2):
        with pytest.raises(VergeOSUnauthorized):
            await read(first)
    redis_server.connected = True
    first.governor._away_until = 0.0  # as if the two seconds were over
    await first.governor.settle()
    with pytest.raises(VergeOSUnauthorized):
        await read(first)
    with pytest.raises(VergeOSUnauthorized):
        await read(await client_for(upstream.url))
    assert len(upstream.asked) == 1


async def test_a_refusal_told_after_somebody_let_the_credentials_be_tried_again_refuses_nobody(
    client_for, upstream, door, redis, redis_server
):
    first, second = [await client_for(upstream.url) for _ in range(2)]
    redis_server.connected = False
    with pytest.raises(VergeOSUnauthorized):
        await read(first)
    redis_server.connected = True
    door.valid = {"Bearer key-of-the-gateway"}
    await second.clear_latch()
    first.governor._away_until = 0.0  # as if the two seconds were over
    await first.governor.settle()
    assert await read(first) == await read(second) == []


async def test_the_latch_cannot_be_opened_without_redis(opened, upstream, away):
    async with opened(upstream.url, away) as client:
        with pytest.raises(StoreError):
            await client.clear_latch()


async def test_redis_holds_no_password_and_every_key_ends(client_for, upstream, door, redis):
    client = await client_for(upstream.url, vergeos_requests_per_second=10, **PASSWORD)
    await read(client)
    door.valid.clear()
    door.password = "changed"
    with pytest.raises(VergeOSUnauthorized):
        await read(client)
    await client.governor.settle()
    keys = await redis.keys()
    assert {key.split(b":")[2] for key in keys} == {b"session", b"refused", b"governor", b"spent"}
    for key in keys:
        assert await redis.ttl(key) > 0
        assert b"pass-of-svc" not in key + await redis.dump(key)


def test_the_fingerprint_changes_with_address_and_each_secret(settings_for):
    given = [
        settings_for("https://a"),
        settings_for("https://b"),
        settings_for("https://a", vergeos_api_key="other"),
        settings_for("https://a", vergeos_token="t"),
        settings_for("https://a", vergeos_user="u"),
        settings_for("https://a", vergeos_pass="t"),
    ]
    marks = [fingerprint(settings) for settings in given]
    assert len(set(marks)) == len(given)
    assert all(len(mark) == 16 for mark in marks)
    assert fingerprint(settings_for("https://A")) == marks[0]


@pytest.mark.parametrize("given", [{}, {"vergeos_user": "svc"}, {"vergeos_pass": "p"}])
async def test_missing_credentials_are_told_at_the_start(client_for, given):
    with pytest.raises(VergeOSUnauthorized, match="no credentials") as failed:
        await client_for("http://127.0.0.1:1", vergeos_api_key=None, **given)
    assert "VERGEOS_API_KEY" in failed.value.next_step


@pytest.mark.parametrize("secret", ["two\nlines", "ünsendable"])
async def test_a_secret_that_cannot_be_sent_is_told_without_showing_it(client_for, secret):
    with pytest.raises(VergeOSUnauthorized, match="VERGEOS_API_KEY holds characters") as failed:
        await client_for("http://127.0.0.1:1", vergeos_api_key=secret)
    assert secret not in str(failed.value.as_problem())
