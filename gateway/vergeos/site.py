"""Is this still the VergeOS system that this site's jobs belong to?"""

from gateway.core.errors import VergeOSNotFound, WrongSite
from gateway.store.connection import RedisClient, store_errors
from gateway.store.keys import Keys
from gateway.vergeos.client import VergeClient


class SiteCheck:
    """Pins the system that the site was first seen as, and refuses another one behind the same address.

    The address alone may be moved to another system while jobs wait; nothing that was asked of the one
    may reach the other.
    """

    def __init__(self, client: VergeClient, redis: RedisClient, keys: Keys) -> None:
        self._client = client
        self._redis = redis
        self._keys = keys
        self._sure = False

    def doubt(self) -> None:
        """Ask again before the next act: the connection was away, so another system may answer now."""
        self._sure = False

    async def require(self) -> None:
        """Raise `WrongSite` where another system answers; one request to VergeOS after each doubt."""
        if self._sure:
            return
        try:
            name = (await self._client.identity()).name
        except VergeOSNotFound:
            name = ""  # a system that does not tell; its keys are then all there is to compare
        with store_errors():
            await self._redis.set(self._keys.identity, name, nx=True)
            pinned = (await self._redis.get(self._keys.identity) or b"").decode()
        if pinned != name:
            raise WrongSite(f"this address was the system {pinned!r} and answers now as {name!r}")
        self._sure = True
