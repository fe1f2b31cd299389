"""What all processes know together of the credentials for VergeOS: the session they share, and a refusal."""

from redis.asyncio import Redis

from gateway.store.connection import redis_time
from gateway.store.keys import LATCH_SECONDS, SESSION_SECONDS, Keys
from gateway.store.limits import within

ANSWER_SECONDS = 1.0


class SharedCredentials:
    """One session and one refusal per fingerprint of credentials. Every method raises StoreError within a second."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
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

    async def refuse(self, fingerprint: str) -> float:
        """Note that VergeOS refuses these credentials; return since when, in Unix seconds: the first note counts."""
        latch = self._keys.latch(fingerprint)
        async with within(ANSWER_SECONDS):
            now = await redis_time(self._redis)
            await self._redis.set(latch, now, nx=True, ex=LATCH_SECONDS)
            return float(await self._redis.get(latch) or now)

    async def forget_refusal(self, fingerprint: str) -> None:
        """Let the credentials be tried again by every process."""
        async with within(ANSWER_SECONDS):
            await self._redis.delete(self._keys.latch(fingerprint))

    def _claim(self, fingerprint: str) -> str:
        return self._keys.session(f"{fingerprint}:login")
