"""What all processes of a site share about asking VergeOS: the limits, what was spent, how it does, the refusal."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson
from redis.exceptions import WatchError

from gateway.core.breaker import Health
from gateway.core.errors import StoreError
from gateway.core.leases import Lease, Units
from gateway.core.pace import HOUR_SECONDS, LIVE_PARTS, PART_SECONDS
from gateway.core.spender import Kind, Spender
from gateway.store.connection import RedisClient, redis_time, store_errors, within
from gateway.store.keys import GOVERNOR_SECONDS, SPENT_SECONDS, WARNED_SECONDS, Keys

ANSWER_SECONDS = 0.5  # a read must not wait long for a Redis that is away
TRIES = 8  # of one round, where others settle at the same moment
APART_SECONDS = 0.01  # at most, between these
HEALTH = "health"
KINDS = frozenset(Kind)
PARTS = HOUR_SECONDS // PART_SECONDS


@dataclass(frozen=True)
class Standing:
    """What the processes have noted, at `now` in Redis' time."""

    now: float
    leases: Mapping[str, Lease]
    health: Health


@dataclass(frozen=True)
class Settlement:
    """What one process notes: its lease, those of the dead, and how VergeOS does."""

    lease: Lease
    dead: tuple[str, ...]
    health: Health


@dataclass(frozen=True)
class Report:
    """What one process spent since it was heard last, and which requests refill views (until Redis' time) again."""

    spent: Mapping[Spender, int] = field(default_factory=dict)
    hot: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Shared:
    """What came back: the time, since when the credentials are refused, and what was spent in the last hour.

    `lately` is what was spent in the parts of the hour that began last.
    """

    now: float
    refused_at: float | None
    spent: Mapping[Spender, int]
    lately: Mapping[Spender, int]
    hot: int


class RequestLimits:
    """The keys behind the governor of one VergeOS key, which its fingerprint names."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._over: dict[str, Mapping[Spender, int]] = {}  # by key: parts of the hour that change no more

    async def settle(
        self, fingerprint: str, process: str, decide: Callable[[Standing], Settlement], report: Report
    ) -> Shared:
        """Note what `decide` makes of what all have noted, and the report; return what was spent by all.

        `decide` may be asked again where another process came first. Raises StoreError, and within half a second
        where Redis does not answer: it may have been noted then.
        """
        governor = self._keys.governor(fingerprint)
        async with within(ANSWER_SECONDS), self._redis.pipeline() as pipe:
            for _ in range(TRIES):
                try:
                    await pipe.watch(governor)
                    leases, health = _read(await pipe.hgetall(governor))
                    now = await redis_time(pipe)
                    settled = decide(Standing(now, leases, health))
                    pipe.multi()
                    noted = {process: _lease_json(settled.lease), HEALTH: orjson.dumps(asdict(settled.health))}
                    pipe.hset(governor, mapping=noted)
                    if settled.dead:
                        pipe.hdel(governor, *settled.dead)
                    pipe.expire(governor, GOVERNOR_SECONDS)
                    return await self._reported(pipe, fingerprint, now, report)
                except WatchError:
                    await asyncio.sleep(random.uniform(0, APART_SECONDS))
        raise StoreError("the other processes settle all the time")

    async def first_to_warn(self, fingerprint: str) -> bool:
        """Tell whether nobody was told in the last hour that it is nearly spent. Raises StoreError."""
        with store_errors():
            return bool(await self._redis.set(self._keys.warned(fingerprint), b"1", nx=True, ex=WARNED_SECONDS))

    async def _reported(self, pipe: Any, fingerprint: str, now: float, report: Report) -> Shared:
        """Add the report to the transaction, carry it out, and return what was read in it."""
        part, hot = int(now // PART_SECONDS), self._keys.hot(fingerprint)
        present = self._keys.spent(fingerprint, part)
        if report.spent:
            for spender, count in report.spent.items():
                pipe.hincrby(present, f"{spender.kind}|{spender.name}", count)
            pipe.expire(present, SPENT_SECONDS)
        if report.hot:
            pipe.zadd(hot, dict(report.hot))
            pipe.expire(hot, GOVERNOR_SECONDS)
        parts = [self._keys.spent(fingerprint, part - back) for back in range(PARTS + 1)]
        self._over = {key: spent for key, spent in self._over.items() if key in parts[2:]}
        wanted = [key for key in parts if key not in self._over]
        pipe.zremrangebyscore(hot, "-inf", now)
        pipe.zcard(hot)
        pipe.get(self._keys.latch(fingerprint))
        for key in wanted:
            pipe.hgetall(key)
        answers = await pipe.execute()
        count, refused, *found = answers[-2 - len(wanted) :]
        spent = {**self._over, **{key: _spent(raw) for key, raw in zip(wanted, found, strict=True)}}
        self._over = {key: spent[key] for key in parts[2:]}  # of the one before this a process may still report
        return Shared(
            now,
            None if refused is None else float(refused),
            _sum(spent[key] for key in parts),
            _sum(spent[key] for key in parts[:LIVE_PARTS]),
            count,
        )


def _read(raw: Mapping[bytes, bytes]) -> tuple[dict[str, Lease], Health]:
    """Return the leases and the health that a hash holds."""
    noted = {name.decode(): orjson.loads(value) for name, value in raw.items()}
    health = Health(**_known(Health, noted.pop(HEALTH, {})))
    return {name: _lease(value) for name, value in noted.items()}, health


def _lease_json(lease: Lease) -> bytes:
    return orjson.dumps(asdict(lease))


def _lease(noted: Mapping[str, Any]) -> Lease:
    units = {"places": _units(noted["places"]), "tokens": _units(noted["tokens"])}
    return Lease(**{**_known(Lease, noted), **units})


def _known(shape: type, noted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this version knows of a shape that another one may have noted."""
    return {one.name: noted[one.name] for one in fields(shape) if one.name in noted}


def _units(noted: Mapping[str, Any]) -> Units:
    return Units(noted["held"], noted["busy"], tuple(noted["wants"]), noted.get("limit", 0))


def _spent(raw: Mapping[bytes, bytes]) -> dict[Spender, int]:
    spent: dict[Spender, int] = {}
    for name, count in raw.items():
        kind, _, who = name.decode().partition("|")
        spender = Spender(Kind(kind) if kind in KINDS else Kind.GATEWAY, who)  # another version may know more kinds
        spent[spender] = spent.get(spender, 0) + int(count)
    return spent


def _sum(parts: Any) -> dict[Spender, int]:
    total: dict[Spender, int] = {}
    for part in parts:
        for spender, count in part.items():
            total[spender] = total.get(spender, 0) + count
    return total
