"""API keys, and who is blocked: made, listed and revoked for all replicas at once."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from redis.exceptions import WatchError

from gateway.core.access import CallerKind
from gateway.core.api_key import ApiKey, ApiKeyView, digest_of, token_of
from gateway.core.errors import Conflict, UnknownObject
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import Keys

MOST_KEYS = 10_000  # every process keeps them all in memory

Result = TypeVar("Result")


class NameTaken(Conflict):
    """Another key, or a person, has this name."""

    code = "name_taken"
    next_step = "Choose another name, or revoke that key first."


@dataclass(frozen=True)
class NewKey:
    """What somebody wants of a new key; `lasts_seconds` None = for ever."""

    name: str
    owner: str
    kind: CallerKind
    roles: tuple[str, ...]
    select: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    lasts_seconds: float | None = None
    created_by: str = ""


@dataclass(frozen=True)
class Known:
    """All keys and blocked names of one moment; `change` counts the changes until then, `now` is Redis' time."""

    change: int
    now: float
    keys: Mapping[str, ApiKey]
    blocked: frozenset[str]


class ApiKeys:
    """The API keys of one site. Every method raises `StoreError`."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self._redis, self._names = redis, keys

    async def create(self, new: NewKey) -> tuple[ApiKeyView, str]:
        """Make a key; return it with the text that is shown this once. Raises `NameTaken`, `Conflict`."""
        secret = secrets.token_urlsafe(32)

        async def change(pipe: RedisClient, now: float) -> ApiKey:
            known = _parsed(await pipe.hgetall(self._names.api_keys))
            if len(known) >= MOST_KEYS:
                raise Conflict(f"there are {MOST_KEYS} keys already", next_step="Revoke some that are not used.")
            _require_free(new, list(known.values()))
            made = ApiKey(
                id=secrets.token_hex(6),
                name=new.name,
                owner=new.owner,
                kind=new.kind,
                roles=new.roles,
                select=new.select,
                cidrs=new.cidrs,
                created_at=round(now, 3),
                created_by=new.created_by,
                expires_at=None if new.lasts_seconds is None else round(now + new.lasts_seconds, 3),
                digest=digest_of(secret),
            )
            pipe.multi()
            pipe.hset(self._names.api_keys, made.id, made.model_dump_json(exclude={"last_used_at"}))
            return made

        made = await self._change(change)
        return made.view(), token_of(made.id, secret)

    async def revoke(self, name: str) -> ApiKeyView:
        """Take a key back, by its name or id: no replica accepts it 2 s later. Raises `UnknownObject`."""

        async def change(pipe: RedisClient, _now: float) -> ApiKey:
            known = _parsed(await pipe.hgetall(self._names.api_keys))
            found = [key for key in known.values() if name in (key.name, key.id)]
            if not found:
                raise UnknownObject(f"there is no key {name[:64]!r}", next_step="list_keys shows those there are.")
            pipe.multi()
            pipe.hdel(self._names.api_keys, found[0].id)
            pipe.hdel(self._names.api_keys_used, found[0].id)
            return found[0]

        return (await self._change(change)).view()

    async def block(self, person: str) -> None:
        """Let a person in no more, whatever he brings, nor anything that acts for him."""

        async def change(pipe: RedisClient, now: float) -> None:
            pipe.multi()
            pipe.hset(self._names.blocked, person, round(now, 3))

        await self._change(change)

    async def unblock(self, person: str) -> None:
        """Let a person in again."""

        async def change(pipe: RedisClient, _now: float) -> None:
            pipe.multi()
            pipe.hdel(self._names.blocked, person)

        await self._change(change)

    async def all(self) -> list[ApiKeyView]:
        """Return every key with its last use, by name."""
        with store_errors():
            known = _parsed(await self._redis.hgetall(self._names.api_keys))
            used = await self._redis.hgetall(self._names.api_keys_used)
        seen = {key_id.decode(): float(at) for key_id, at in used.items()}
        return sorted((key.view(seen.get(key.id)) for key in known.values()), key=lambda key: key.name)

    async def known(self, since: Known | None) -> Known:
        """Return all that is known now; one small request where nothing changed since."""
        with store_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.get(self._names.access)
            pipe.time()
            count, (seconds, micros) = await pipe.execute()
            change, now = int(count or 0), float(seconds) + float(micros) / 1e6
            if since is not None and since.change == change:
                return Known(change, now, since.keys, since.blocked)
            pipe = self._redis.pipeline(transaction=True)
            pipe.get(self._names.access)
            pipe.hgetall(self._names.api_keys)
            pipe.hgetall(self._names.blocked)
            count, stored, blocked = await pipe.execute()
        return Known(int(count or 0), now, _parsed(stored), frozenset(name.decode() for name in blocked))

    async def used(self, key_id: str) -> None:
        """Note that a key was used now."""
        with store_errors():
            await self._redis.hset(self._names.api_keys_used, key_id, round(await redis_time(self._redis)))

    async def _change(self, change: Callable[[RedisClient, float], Awaitable[Result]]) -> Result:
        """Carry out `change`, which queues its writes, and let every process know; anew when another came between."""
        with store_errors():
            while True:
                async with self._redis.pipeline() as pipe:
                    await pipe.watch(self._names.api_keys)
                    outcome = await change(pipe, await redis_time(pipe))
                    pipe.incr(self._names.access)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return outcome


def _parsed(stored: Mapping[bytes, bytes]) -> dict[str, ApiKey]:
    return {key_id.decode(): ApiKey.model_validate_json(raw) for key_id, raw in stored.items()}


def _require_free(new: NewKey, known: Iterable[ApiKey]) -> None:
    """Raise `NameTaken` where two callers would be taken for each other.

    Persons call under their owner's name, machines under that of their key.
    """
    machines = {key.name for key in known if key.kind is CallerKind.MACHINE}
    persons = {key.owner for key in known}
    if any(new.name == key.name for key in known):
        raise NameTaken(f"there is a key of the name {new.name}")
    if new.owner in machines or (new.kind is CallerKind.MACHINE and new.name in persons | {new.owner}):
        raise NameTaken("a machine and a person cannot have the same name")
