"""The VergeOS keys that people enrolled, each sealed: Redis alone opens none of them."""

import json

from pydantic import BaseModel, ConfigDict

from gateway.core.errors import InvalidArgument
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import Keys
from gateway.store.sealing import Sealing


class Enrolment(BaseModel):
    """Whose VergeOS key a person's changes are made with. `enrolled_at` is in Unix seconds."""

    model_config = ConfigDict(frozen=True)

    person: str
    vergeos_user: str
    enrolled_at: float


class Enrolled:
    """The enrolled keys of one site. Every method raises `StoreError`."""

    def __init__(self, redis: RedisClient, keys: Keys, sealing: Sealing, *, durable: bool) -> None:
        self._redis, self._keys, self._sealing = redis, keys, sealing
        self._durable = durable

    def require_secret(self) -> None:
        """Raise `InvalidArgument` where keys could not be sealed with a secret that Redis does not hold."""
        if not self._durable:
            told = "no VergeOS key can be enrolled: this gateway has no GATEWAY_SECRET_KEY to encrypt it with"
            raise InvalidArgument(told, next_step="Set GATEWAY_SECRET_KEY, the same for every gateway and worker.")

    async def keep(self, person: str, user: str, key: str) -> Enrolment:
        """Keep a person's key, in place of an earlier one."""
        self.require_secret()
        sealed = await self._sealing.seal(json.dumps({"person": person, "key": key}).encode())
        with store_errors():
            enrolment = Enrolment(person=person, vergeos_user=user, enrolled_at=round(await redis_time(self._redis), 3))
            stored = {"sealed": sealed, "enrolment": enrolment.model_dump()}
            await self._redis.hset(self._keys.enrolled, person, json.dumps(stored))
        return enrolment

    async def sealed(self, person: str) -> str | None:
        """Return a person's key as it is kept, None where none is: it changes whenever the key does."""
        stored = await self._stored(person)
        return None if stored is None else str(stored["sealed"])

    async def unsealed(self, person: str, sealed: str) -> str | None:
        """Return the key of this person; None where it was sealed for another, or with another secret."""
        opened = await self._sealing.unseal(sealed, max_age_seconds=None)
        content = {} if opened is None else json.loads(opened)
        return str(content["key"]) if content.get("person") == person else None

    async def of(self, person: str) -> Enrolment | None:
        """Return what may be told of a person's key."""
        stored = await self._stored(person)
        return None if stored is None else Enrolment.model_validate(stored["enrolment"])

    async def forget(self, person: str) -> Enrolment | None:
        """Forget a person's key, for all processes at once; return what it was."""
        known = await self.of(person)
        with store_errors():
            await self._redis.hdel(self._keys.enrolled, person)
        return known

    async def _stored(self, person: str) -> dict[str, object] | None:
        with store_errors():
            raw = await self._redis.hget(self._keys.enrolled, person)
        return None if raw is None else dict(json.loads(raw))
