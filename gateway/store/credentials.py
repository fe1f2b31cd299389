"""What all processes know together of the credentials for VergeOS: the session they share, and a refusal."""

from contextlib import suppress

from redis.exceptions import WatchError

from gateway.store.connection import RedisClient, redis_time, within
from gateway.store.keys import LATCH_SECONDS, SESSION_SECONDS, Keys

ANSWER_SECONDS = 1.0


class SharedCredentials:
    """One session and one refusal per fingerprint of credentials. Every method raises StoreError within a second."""

    def __init__(self, redis: RedisClient, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def session(self, fingerprint: str) -> str | None:
        """Return the session token that the processes share, or None."""
        async with within(ANSWER_SECONDS):
            token: bytes | None = await self._redis.get(self._keys.session(fingerprint))
        return None if token is None else token.decode()

    async def share_session(self, fingerprint: str, token: str) -> None:
        """Let every process use `token` from now on."""
        async with within(ANSWER_SECONDS):
            await self._redis.set(self._keys.session(fingerprint), token, ex=SESSION_SECONDS)

    async def claim_login(self, fingerprint: str, seconds: float) -> bool:
        """Return whether this process alone may log in now; the claim ends by itself after `seconds`."""
        async with within(ANSWER_SECONDS):
            return bool(await self._redis.set(self._claim(fingerprint), 1, nx=True, px=int(seconds * 1_000)))

    async def end_login(self, fingerprint: str) -> None:
        """Give the claim back."""
        async with within(ANSWER_SECONDS):
            await self._redis.delete(self._claim(fingerprint))

    async def refuse(self, fingerprint: str, *, ago: float = 0.0) -> float | None:
        """Note that VergeOS refused these credentials so many seconds ago; return since when, in Unix seconds.

        The first note counts; None where somebody let them be tried again since, and nobody was refused after that.
        """
        latch, readmitted = self._keys.latch(fingerprint), self._keys.readmitted(fingerprint)
        async with within(ANSWER_SECONDS), self._redis.pipeline() as pipe:
            while True:
                await pipe.watch(latch, readmitted)
                now = await redis_time(pipe)
                since, open_since = await pipe.get(latch), await pipe.get(readmitted)
                if since is not None:
                    return float(since)
                if open_since is not None and now - ago <= float(open_since):
                    return None
                pipe.multi()
                pipe.set(latch, now, ex=LATCH_SECONDS)
                with suppress(WatchError):
                    await pipe.execute()
                    return now

    async def forget_refusal(self, fingerprint: str) -> None:
        """Let the credentials be tried again by every process; what was refused until now is told too late."""
        async with within(ANSWER_SECONDS), self._redis.pipeline(transaction=True) as pipe:
            pipe.set(self._keys.readmitted(fingerprint), await redis_time(self._redis), ex=LATCH_SECONDS)
            pipe.delete(self._keys.latch(fingerprint))
            await pipe.execute()

    def _claim(self, fingerprint: str) -> str:
        return self._keys.session(f"{fingerprint}:login")
