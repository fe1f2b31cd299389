"""The directory: keys, persons, agents and who is blocked, as they are known a second later at most."""

import pytest

from gateway.core.access import CallerKind, Permission, Standing
from gateway.core.errors import Conflict, InvalidArgument, StoreError, Unauthorized, UnknownObject
from gateway.rights.directory import FRESH_SECONDS, LEFT_SECONDS, Directory
from gateway.rights.issuing import issue
from gateway.store.api_keys import ApiKeys, NameTaken, NewKey
from gateway.store.keys import Keys

POLICY = "people:\n  ann: operator\nroles:\n  web: {allow: [{permissions: [read, operate], on: {name: 'web-*'}}]}\n"


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def policy_file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def directory(redis, clock, policy_file):
    return Directory(ApiKeys(redis, Keys("t")), policy_file, clock=clock)


def new(name="laptop", owner="ann", kind=CallerKind.PERSON, roles=("operator",), **more):
    return NewKey(name=name, owner=owner, kind=kind, roles=roles, created_by="test", **more)


async def made(directory, clock, *args, **more):
    _, token = await issue(directory, new(*args, **more))
    await known(directory, clock)
    return token


async def known(directory, clock):
    clock.now += FRESH_SECONDS
    await directory.refresh()


async def test_a_key_tells_who_calls_and_what_he_may(directory, clock):
    token = await made(directory, clock)
    caller = await directory.by_key(token, "192.0.2.1")
    assert (caller.name, caller.kind, caller.owner) == ("ann", CallerKind.PERSON, "")
    assert caller.permissions == {Permission.READ, Permission.OPERATE}
    assert await directory.by_key(token, "192.0.2.1") is caller, "looked up once"


async def test_the_secret_of_a_key_is_stored_nowhere(directory, clock, redis):
    token = await made(directory, clock)
    secret = token.rpartition("_")[2] if token.count("_") == 2 else token.split("_", 2)[2]
    for key in await redis.keys("*"):
        kind = await redis.type(key)
        stored = await (redis.hgetall(key) if kind == b"hash" else redis.dump(key))
        assert secret.encode() not in repr(stored).encode()


async def test_a_revoked_key_is_refused_at_the_next_look(directory, clock):
    token = await made(directory, clock)
    await directory.keys.revoke("laptop")
    await known(directory, clock)
    with pytest.raises(Unauthorized):
        await directory.by_key(token, "192.0.2.1")
    assert directory.keys_in_use, "a gateway that had a key never opens by itself again"


@pytest.mark.parametrize("odd", ["", "vgk_", "vgk_000000000000_" + "A" * 43, "x" * 5_000, "vgk_%s_%s", "é"])
async def test_an_odd_token_is_refused(directory, clock, odd):
    await made(directory, clock)
    with pytest.raises(Unauthorized):
        await directory.by_key(odd, "192.0.2.1")


async def test_a_key_with_another_secret_is_refused(directory, clock):
    token = await made(directory, clock)
    with pytest.raises(Unauthorized):
        await directory.by_key(token[:-1] + ("A" if token[-1] != "A" else "B"), "192.0.2.1")


async def test_a_key_expires(directory, clock):
    token = await made(directory, clock, lasts_seconds=60)
    await directory.by_key(token, "192.0.2.1")
    clock.now += 61
    with pytest.raises(Unauthorized):
        await directory.by_key(token, "192.0.2.1")


async def test_a_key_holds_only_from_its_addresses(directory, clock):
    token = await made(directory, clock, cidrs=("192.0.2.7/24", "2001:db8::/32"))
    await directory.by_key(token, "192.0.2.99")
    await directory.by_key(token, "2001:db8::1")
    for address in ("198.51.100.1", "", "nonsense", "::1"):
        with pytest.raises(Unauthorized):
            await directory.by_key(token, address)


async def test_an_agent_may_do_what_both_it_and_its_owner_may(directory, clock):
    token = await made(directory, clock, "claude", "ann", CallerKind.AGENT, roles=("admin",))
    caller = await directory.by_key(token, "")
    assert (caller.name, caller.owner, caller.person) == ("ann/claude", "ann", "ann")
    assert caller.permissions == {Permission.READ, Permission.OPERATE}, "ann is an operator"


async def test_an_agent_needs_an_owner_with_a_right(directory, clock):
    with pytest.raises(InvalidArgument, match="carol has no right"):
        await issue(directory, new("bot", "carol", CallerKind.AGENT))
    await made(directory, clock, "carols", "carol", roles=("viewer",))
    token = await made(directory, clock, "bot", "carol", CallerKind.AGENT)
    assert (await directory.by_key(token, "")).permissions == {Permission.READ}
    await directory.keys.revoke("carols")
    await known(directory, clock)
    assert (await directory.by_key(token, "")).permissions == frozenset()


async def test_an_agent_loses_its_right_when_its_owner_s_key_expires(directory, clock):
    await made(directory, clock, "carols", "carol", roles=("viewer",), lasts_seconds=60)
    token = await made(directory, clock, "bot", "carol", CallerKind.AGENT)
    assert (await directory.by_key(token, "")).permissions == {Permission.READ}
    directory.keys.known = _later(directory.keys, 120)
    clock.now += 120
    await directory.refresh()
    assert (await directory.by_key(token, "")).permissions == frozenset()


def _later(keys, seconds):
    """Return the keys' `known` by a Redis whose clock is `seconds` ahead."""
    import dataclasses

    known = keys.known

    async def later(since):
        found = await known(since)
        return dataclasses.replace(found, now=found.now + seconds)

    return later


async def test_a_selector_bounds_what_a_key_gives(directory, clock):
    token = await made(directory, clock, roles=("admin",), select=("name=web-*",))
    caller = await directory.by_key(token, "")
    assert caller.decide(Permission.ADMIN, {"kind": ("vm",), "name": ("web-1",)}).allowed
    assert not caller.decide(Permission.READ, {"kind": ("vm",), "name": ("db-1",)}).allowed


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"roles": ("operater",)}, "role: operater"),
        ({"roles": ()}, "role: none"),
        ({"select": ("web-*",)}, "select:"),
        ({"cidrs": ("192.0.2",)}, "cidr:"),
    ],
)
async def test_a_wrong_wish_is_told(directory, wrong, told):
    with pytest.raises(InvalidArgument, match=told):
        await issue(directory, new(**wrong))


async def test_names_tell_callers_apart(directory, clock):
    await made(directory, clock)
    for taken in (new(), new("ann", "bob", CallerKind.MACHINE), new("x", "x", CallerKind.MACHINE)):
        with pytest.raises(NameTaken):
            await issue(directory, taken)
    await made(directory, clock, "grafana", "ann", CallerKind.MACHINE)
    with pytest.raises(Conflict):
        await issue(directory, new("y", "grafana"))
    with pytest.raises(UnknownObject):
        await directory.keys.revoke("nobody's")


async def test_a_changed_policy_holds_at_the_next_look_and_a_wrong_one_never(directory, clock, policy_file):
    token = await made(directory, clock, "claude", "ann", CallerKind.AGENT, roles=("admin",))
    policy_file.write_text("people:\n  ann: viewer\n")
    await known(directory, clock)
    assert (await directory.by_key(token, "")).permissions == {Permission.READ}
    policy_file.write_text("people:\n  ann: everything\n")
    await known(directory, clock)
    assert (await directory.by_key(token, "")).permissions == {Permission.READ}
    policy_file.unlink()
    await known(directory, clock)
    assert (await directory.by_key(token, "")).permissions == {Permission.READ}


async def test_who_is_blocked_is_let_in_by_nothing(directory, clock):
    token = await made(directory, clock)
    subject = Standing(person="ann")
    assert directory.by_subject(subject).permissions
    await directory.keys.block("ann")
    await known(directory, clock)
    assert directory.present(subject) is None
    with pytest.raises(Unauthorized):
        await directory.by_key(token, "")
    with pytest.raises(Unauthorized):
        directory.by_subject(subject)
    await directory.keys.unblock("ann")
    await known(directory, clock)
    assert directory.by_subject(subject).permissions


async def test_the_present_right_is_looked_up_by_the_standing_of_then(directory, clock):
    standing = (await directory.by_key(await made(directory, clock), "")).standing
    assert directory.present(standing).permissions == {Permission.READ, Permission.OPERATE}
    assert directory.present(None).permissions == set(Permission), "who needed no key then"
    await directory.keys.revoke("laptop")
    await known(directory, clock)
    assert directory.present(standing) is None


async def test_known_keys_hold_for_a_while_without_redis(own_redis, clock):
    from redis.asyncio import Redis

    async with Redis.from_url(own_redis.url, socket_timeout=0.5) as redis:
        directory = Directory(ApiKeys(redis, Keys("t")), clock=clock)
        token = await made(directory, clock)
        own_redis.stop()
        clock.now += FRESH_SECONDS
        await directory.refresh()
        await directory.by_key(token, "")
        clock.now += LEFT_SECONDS
        with pytest.raises(StoreError):
            await directory.refresh()


async def test_the_last_use_of_a_key_is_told(directory, clock):
    token = await made(directory, clock)
    await directory.by_key(token, "")
    for task in tuple(directory._noting):
        await task
    (key,) = await directory.keys.all()
    assert key.last_used_at is not None
    assert "digest" not in key.model_dump()
