"""Connections to Redis: pools with deadlines that fit who uses them, and our errors instead of the library's."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from arq import ArqRedis
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff

from gateway.core.errors import StoreError

RedisClient: TypeAlias = Any
"""An open client. redis-py 5 annotates each command as sync or async, so its own types would only mislead."""

AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
)


@dataclass(frozen=True)
class Deadlines:
    """How patient a pool is, in seconds; `tries` counts the attempts after the first one."""

    connect: float
    answer: float
    tries: int


FOLLOWING = Deadlines(connect=1.0, answer=8.0, tries=0)  # blocks on the event stream, which starts over by itself
WORKING = Deadlines(connect=2.0, answer=5.0, tries=12)  # a worker rides out a restart of Redis


def serving(answer_seconds: float) -> Deadlines:
    """Return the deadlines of a pool that serves callers: they are told at once that Redis is out."""
    return Deadlines(connect=answer_seconds / 2, answer=answer_seconds, tries=0)


class _Heard:
    """Sends so that a cancel is heard: before Python 3.12 `asyncio.wait_for`, which the library uses, may lose it."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        me: Any = self
        limit, me.socket_timeout = me.socket_timeout, None  # without it the library waits plainly
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError:
            await me.disconnect(nowait=True)
            raise exceptions.TimeoutError("Redis takes no commands") from None
        finally:
            me.socket_timeout = limit


class _Tcp(_Heard, Connection):
    pass


class _Tls(_Heard, SSLConnection):
    pass


class _Unix(_Heard, UnixDomainSocketConnection):
    pass


CONNECTIONS: Mapping[type, type] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


@asynccontextmanager
async def open_redis(url: str, deadlines: Deadlines, *, connections: int = 50) -> AsyncIterator[RedisClient]:
    """Yield a client of the Redis at `url` (redis://, rediss:// or unix://); it connects when first used.

    It is arq's class of client, which is redis-py's with arq's queue functions beside it.
    """
    pool: Any = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=deadlines.connect + deadlines.answer,
        socket_connect_timeout=deadlines.connect,
        socket_timeout=deadlines.answer,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05) if deadlines.tries else NoBackoff(), deadlines.tries),
        retry_on_error=list(AWAY) if deadlines.tries else [],
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
    pool.connection_class = CONNECTIONS[pool.connection_class]
    async with serving_json(ArqRedis(pool)) as redis:
        yield redis
    await pool.disconnect()


@asynccontextmanager
async def serving_json(redis: ArqRedis) -> AsyncIterator[RedisClient]:
    """Give the client arq's settings as JSON, and close it at the end."""
    redis.job_serializer = orjson.dumps
    redis.job_deserializer = orjson.loads
    try:
        yield redis
    finally:
        await redis.aclose()


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the library's failures into `StoreError`, which says what a caller can do."""
    try:
        yield
    except exceptions.OutOfMemoryError:
        raise StoreError("Redis is full; nothing was written", retry_after=60.0) from None
    except AWAY:
        raise StoreError("Redis does not answer") from None
    except exceptions.RedisError as exc:
        raise StoreError(f"Redis refused: {type(exc).__name__}") from exc


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Give Redis at most `seconds`, whatever the patience of its pool; raises StoreError."""
    with store_errors():
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise StoreError(f"Redis does not answer within {seconds:g} s") from None


async def redis_time(redis: RedisClient) -> float:
    """Return Redis' time in Unix seconds; the one clock of all that is stored."""
    seconds, micros = await redis.time()
    return float(seconds) + float(micros) / 1e6
