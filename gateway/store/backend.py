"""Which Redis a process uses: the one that is set, the embedded one, or fakeredis inside the process."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arq import ArqRedis
from redis.asyncio import ConnectionPool

from gateway.settings import Settings
from gateway.store.connection import Deadlines, RedisClient, open_redis, serving_json
from gateway.store.embedded import embedded_redis, state_folder

if TYPE_CHECKING:  # it takes a while to import, and is the last resort
    from fakeredis import FakeServer


@dataclass(frozen=True)
class Backend:
    """A Redis, and how to reach it; every part of the process opens its own client."""

    url: str | None
    durable: bool
    words: str
    fake: "FakeServer | None" = None

    def open(self, deadlines: Deadlines) -> AbstractAsyncContextManager[RedisClient]:
        """Return the context manager of a client with these deadlines."""
        return open_redis(self.url, deadlines) if self.url is not None else _open_fake(self.fake)


@asynccontextmanager
async def open_backend(settings: Settings, *, keep: bool = True) -> AsyncIterator[Backend]:
    """Yield the Redis of these settings; with `keep` false an embedded one forgets everything at its end."""
    if settings.redis_url is not None:
        yield Backend(settings.redis_url.get_secret_value(), durable=True, words="Redis at REDIS_URL")
        return
    folder = state_folder(settings.state_dir, settings.site)
    async with embedded_redis(folder, durable=keep) as embedded:
        if embedded.url is None:
            from fakeredis import FakeServer

            yield Backend(None, durable=False, words="fakeredis, not durable", fake=FakeServer())
        else:
            yield Backend(embedded.url, embedded.durable, f"embedded Redis in {folder}")


@asynccontextmanager
async def _open_fake(server: "FakeServer | None") -> AsyncIterator[RedisClient]:
    from fakeredis.aioredis import FakeAsyncRedisConnection

    pool = ConnectionPool(connection_class=FakeAsyncRedisConnection, server=server)
    async with serving_json(ArqRedis(pool)) as redis:
        yield redis
    await pool.disconnect()
