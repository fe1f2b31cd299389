"""The VMs that our own processes run on, as each of them announces: a gateway must not switch itself off."""

import time
from collections.abc import Callable
from pathlib import Path

from gateway.core.guard import plain_uuid
from gateway.store.connection import RedisClient, redis_time, store_errors
from gateway.store.keys import DAY_SECONDS, Keys

PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
KNOWN_SECONDS = 5.0  # so long what was read holds for this process
REMEMBERED_SECONDS = 7 * DAY_SECONDS  # a replica that is away for less finds its VM still there


def system_uuid(file: Path = PRODUCT_UUID) -> str | None:
    """Return the uuid that the firmware gives this machine, plain; None where it cannot be read (it takes root)."""
    try:
        return plain_uuid(file.read_text()) or None
    except (OSError, ValueError):
        return None


class OwnVms:
    """The uuids of the machines of every gateway and worker of one site."""

    def __init__(self, redis: RedisClient, keys: Keys, uuid: Callable[[], str | None] = system_uuid) -> None:
        self._redis, self._keys = redis, keys
        self._uuid = uuid()
        self._known: frozenset[str] = frozenset()
        self._known_at = float("-inf")

    async def known(self) -> frozenset[str]:
        """Return the uuids of the last days, this machine's among them, seconds old at most. Raises `StoreError`."""
        if time.monotonic() - self._known_at >= KNOWN_SECONDS:
            self._known, self._known_at = await self._read(), time.monotonic()
        return self._known

    async def _read(self) -> frozenset[str]:
        with store_errors():
            now = await redis_time(self._redis)
            pipe = self._redis.pipeline(transaction=False)
            if self._uuid is not None:
                pipe.zadd(self._keys.own_vms, {self._uuid: now})
                pipe.expire(self._keys.own_vms, REMEMBERED_SECONDS)
            pipe.zrangebyscore(self._keys.own_vms, now - REMEMBERED_SECONDS, "+inf")
            *_, found = await pipe.execute()
        return frozenset(raw.decode() for raw in found)
