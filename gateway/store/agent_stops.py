"""How much one agent has stopped of late: counted in the very transaction that accepts its next wish."""

from dataclasses import dataclass
from typing import Any

from gateway.core.errors import AgentLimit
from gateway.core.guard import stops
from gateway.core.wishes import Wish
from gateway.store.keys import DAY_SECONDS, Keys

SHORT_SECONDS = 600


@dataclass(frozen=True)
class AgentStops:
    """How many jobs of one agent may stop something in 10 minutes, and in a day; 0 = any number."""

    in_10_minutes: int = 0
    in_a_day: int = 0

    async def watch(self, pipe: Any, keys: Keys, wish: Wish, agent: str | None, now: float) -> str | None:
        """Watch and return the key that counts this wish; None where it counts for nothing.

        Raises `AgentLimit`, and `WatchError` where the very call may have been accepted meanwhile.
        """
        if agent is None or not stops(wish):
            return None
        key = keys.agent_stops(agent)
        await pipe.watch(key)
        for most, seconds, span in (
            (self.in_10_minutes, SHORT_SECONDS, "10 minutes"),
            (self.in_a_day, DAY_SECONDS, "a day"),
        ):
            latest = await pipe.zrevrangebyscore(key, "+inf", f"({now - seconds}", withscores=True)
            if most and len(latest) >= most:
                await _require_unchanged(pipe)
                raise AgentLimit(
                    f"agent {agent} has stopped {len(latest)} in {span}; without a person it may stop {most}",
                    retry_after=latest[most - 1][1] + seconds - now,
                )
        return key

    @staticmethod
    def count(pipe: Any, key: str, job_id: str, now: float) -> None:
        """Add the commands that count an accepted job."""
        pipe.zadd(key, {job_id: now})
        pipe.zremrangebyscore(key, "-inf", now - DAY_SECONDS)
        pipe.expire(key, DAY_SECONDS)


async def _require_unchanged(pipe: Any) -> None:
    """Raise `WatchError` where something that is watched has changed."""
    pipe.multi()
    pipe.time()
    await pipe.execute()


ANY_NUMBER = AgentStops()
