"""How much stands in Redis, and how safe it is there: for `doctor`."""

from dataclasses import dataclass
from typing import Any

from gateway.core.errors import StoreError
from gateway.store.connection import RedisClient, store_errors
from gateway.store.keys import Keys

MB = 2**20


@dataclass(frozen=True)
class Sizes:
    """Counts of what this site keeps, and the worker that watches and sweeps, None where there is none."""

    open: int
    unbegun: int
    records: int
    events: int
    views: int
    leader: str | None


@dataclass(frozen=True)
class Server:
    """How the Redis server is set up; None is what it does not tell us: an ACL or a service may forbid it."""

    used_mb: float | None = None
    most_mb: float | None = None
    policy: str | None = None
    aof: bool | None = None
    fsync: str | None = None

    def risks(self) -> list[str]:
        """Return what may lose jobs, a sentence each with what to set."""
        told = []
        if self.aof is False:
            told.append("no AOF: jobs of the last minutes are lost when Redis restarts; set appendonly yes")
        elif self.fsync == "no":
            told.append("appendfsync no: up to 30 s of jobs are lost when the machine fails; set everysec")
        if self.policy not in {None, "noeviction"}:
            told.append(f"maxmemory-policy {self.policy}: Redis may drop jobs when it is full; set noeviction")
        if self.used_mb is not None and self.most_mb and self.used_mb > 0.7 * self.most_mb:
            told.append(f"{self.used_mb / self.most_mb:.0%} of its memory is used: raise maxmemory before it is full")
        return told


async def sizes(redis: RedisClient, keys: Keys) -> Sizes:
    """Count what the site keeps; walks over all key names once. Raises `StoreError`."""
    with store_errors():
        views = 0
        async for _ in redis.scan_iter(match=keys.view("*"), count=1_000):
            views += 1
        pipe = redis.pipeline(transaction=False)
        for index in (keys.active, keys.unbegun, keys.jobs):
            pipe.zcard(index)
        pipe.xlen(keys.events)
        pipe.get(keys.leader)
        open_jobs, unbegun, records, events, leader = await pipe.execute()
    return Sizes(open_jobs, unbegun, records, events, views, None if leader is None else leader.decode())


async def server(redis: RedisClient) -> Server:
    """Return how the server is set up, as far as it tells."""
    info: dict[str, Any] = await _told(redis.info, default={})
    config: dict[str, Any] = await _told(redis.config_get, "appendfsync", default={})
    most = info.get("maxmemory", 0)
    return Server(
        used_mb=info["used_memory"] / MB if "used_memory" in info else None,
        most_mb=most / MB if most else None,
        policy=info.get("maxmemory_policy"),
        aof=bool(info["aof_enabled"]) if "aof_enabled" in info else None,
        fsync=config.get("appendfsync"),
    )


async def _told(ask: Any, *arguments: str, default: Any) -> Any:
    try:
        with store_errors():
            return await ask(*arguments)
    except StoreError:
        return default
