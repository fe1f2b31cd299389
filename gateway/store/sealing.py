"""What callers carry for us between requests, sealed: they can neither read nor change it, and any replica opens it."""

import base64
import hashlib
from collections.abc import Callable
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from gateway.store.connection import RedisClient, store_errors
from gateway.store.keys import Keys

Fits = Callable[[bytes], bool]
"""Tells whether what was sealed is what its bearer may show."""

ANYTHING: Final[Fits] = bool


class Sealing:
    """Seals with a key made from `secret`; without one, with a random key that all processes share through Redis.

    Redis is asked once, when the key is first needed, and again for a token that does not open: the key may have
    been made anew after Redis lost its memory.
    """

    def __init__(self, redis: RedisClient, keys: Keys, secret: str | None) -> None:
        self._redis, self._keys = redis, keys
        self._fixed = None if secret is None else _key_of(secret)
        self._key = self._fixed

    async def seal(self, content: bytes) -> str:
        """Return the content sealed, as URL-safe text. Raises `StoreError` where the key must be fetched and cannot."""
        return Fernet(self._key or await self._fetch()).encrypt(content).decode()

    async def unseal(self, token: str, *, max_age_seconds: int | None, fits: Fits = ANYTHING) -> bytes | None:
        """Return what was sealed, None for what is not ours, was changed, is too old (None: never) or does not fit.

        Each of these costs the same. Raises `StoreError`.
        """
        opened = _opened(self._key or await self._fetch(), token, max_age_seconds, fits)
        if opened is None and self._fixed is None:
            opened = _opened(await self._fetch(), token, max_age_seconds, fits)
        return opened

    async def _fetch(self) -> bytes:
        """Return the shared key, made where there is none; ours is offered where Redis has forgotten it."""
        offered = self._key or Fernet.generate_key()
        with store_errors():
            await self._redis.set(self._keys.seal, offered, nx=True)
            self._key = bytes(await self._redis.get(self._keys.seal) or offered)
        return self._key


def _opened(key: bytes, token: str, max_age_seconds: int | None, fits: Fits) -> bytes | None:
    try:
        content = Fernet(key).decrypt(token, ttl=max_age_seconds)
    except (InvalidToken, ValueError):
        return None
    return content if fits(content) else None


def _key_of(secret: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"seal:" + secret.encode()).digest())
