"""What the worker processes share about seeing: who watches, what was observed, since when nothing can be seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import WatchError

from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.jobs import Watch
from gateway.store.keys import HEARTBEAT_SECONDS, OBSERVED_SECONDS, Keys


@dataclass(frozen=True)
class Observation:
    """A machine's or tenant's state as the watcher saw it; `at` is Redis' time when VergeOS was asked."""

    at: float
    running: bool
    status: str
    started_at: float | None

    def differs(self, other: "Observation | None") -> bool:
        """Tell whether something changed since `other`."""
        return other is None or (self.running, self.status, self.started_at) != (
            other.running,
            other.status,
            other.started_at,
        )


class Watching:
    """The keys behind the watcher, the sweeper and the patient clock."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self.redis = redis
        self.keys = keys

    async def lead(self, worker: str, seconds: float) -> bool:
        """Become or stay the one worker that watches; two leaders for a moment do no harm."""
        milliseconds = max(int(seconds * 1000), 1)
        with store_errors():
            if await self.redis.set(self.keys.leader, worker, nx=True, px=milliseconds):
                return True
            if await self.redis.get(self.keys.leader) != worker.encode():
                return False
            return bool(await self.redis.pexpire(self.keys.leader, milliseconds))

    async def step_down(self, worker: str) -> None:
        """Leave the lead to others at once, and be no worker any more."""
        with store_errors():
            await self.redis.zrem(self.keys.workers, worker)
            if await self.redis.get(self.keys.leader) == worker.encode():
                await self.redis.delete(self.keys.leader)

    async def led(self) -> bool:
        """Tell whether a worker watches now."""
        with store_errors():
            return bool(await self.redis.exists(self.keys.leader))

    async def beat(self, worker: str) -> None:
        """Say that this worker lives."""
        with store_errors():
            now = await redis_time(self.redis)
            pipe = self.redis.pipeline(transaction=True)
            pipe.zadd(self.keys.workers, {worker: now})
            pipe.zremrangebyscore(self.keys.workers, "-inf", now - HEARTBEAT_SECONDS)
            pipe.expire(self.keys.workers, HEARTBEAT_SECONDS)
            await pipe.execute()

    async def workers(self) -> int:
        """Return how many workers have a fresh heartbeat."""
        with store_errors():
            fresh = await redis_time(self.redis) - HEARTBEAT_SECONDS
            return int(await self.redis.zcount(self.keys.workers, fresh, "+inf"))

    async def asked(self) -> list[str]:
        """Return the jobs of which something was asked that no step has heard yet."""
        with store_errors():
            return [raw.decode() for raw in await self.redis.smembers(self.keys.asked)]

    async def waits(self) -> dict[str, Watch]:
        """Return what is waited for: job id -> object."""
        with store_errors():
            raw = await self.redis.hgetall(self.keys.waits)
        return {job_id.decode(): Watch(*orjson.loads(value)) for job_id, value in raw.items()}

    async def observe(self, fresh: Mapping[str, Observation]) -> dict[str, tuple[Observation, bool]]:
        """Keep what was seen of watched objects; return each observation and whether it differs from the last."""
        if not fresh:
            return {}
        with store_errors():
            pipe = self.redis.pipeline(transaction=False)
            pipe.hmget(self.keys.observed, list(fresh))
            pipe.hset(self.keys.observed, mapping={key: _dump(seen) for key, seen in fresh.items()})
            pipe.expire(self.keys.observed, OBSERVED_SECONDS)
            before, *_ = await pipe.execute()
        return {key: (seen, seen.differs(_load(raw))) for (key, seen), raw in zip(fresh.items(), before, strict=True)}

    async def observed(self, target: str) -> Observation | None:
        """Return the last observation of a watched object (`Target.watched`)."""
        with store_errors():
            return _load(await self.redis.hget(self.keys.observed, target))

    # the patient clock

    async def blind_seconds(self, now: float) -> float:
        """Return for how long in all VergeOS could not be seen, up to `now`."""
        with store_errors():
            since, total = await self.redis.hmget(self.keys.sight, "since", "total")
        return float(total or 0.0) + (max(now - float(since), 0.0) if since else 0.0)

    async def blind_since(self) -> float | None:
        """Return since when VergeOS cannot be seen, None while it can."""
        with store_errors():
            since = await self.redis.hget(self.keys.sight, "since")
        return None if since is None else float(since)

    async def lost_sight(self, at: float) -> None:
        """VergeOS did not answer a question sent at `at`."""
        with store_errors():
            await self.redis.hsetnx(self.keys.sight, "since", str(at))

    async def saw(self) -> bool:
        """VergeOS answered: the patient clock goes on. Return whether it stood still until now."""
        with store_errors():
            if not await self.redis.hexists(self.keys.sight, "since"):
                return False
            async with self.redis.pipeline() as pipe:
                try:
                    await pipe.watch(self.keys.sight)
                    since, total = await pipe.hmget(self.keys.sight, "since", "total")
                    if since is None:
                        return False
                    gone = max(await redis_time(pipe) - float(since), 0.0)
                    pipe.multi()
                    pipe.hset(self.keys.sight, "total", str(float(total or 0.0) + gone))
                    pipe.hdel(self.keys.sight, "since")
                    await pipe.execute()
                except WatchError:
                    return False  # another process closed the gap
        return True


def _dump(seen: Observation) -> bytes:
    return orjson.dumps([seen.at, seen.running, seen.status, seen.started_at])


def _load(raw: Any) -> Observation | None:
    return None if raw is None else Observation(*orjson.loads(raw))
