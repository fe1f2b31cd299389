"""What Redis must hold after a test: keys that `store/keys.py` declares, each with an expiry or among the live ones."""

import inspect
from functools import cache

from gateway.store.keys import LIVE, Keys


@cache
def declared():
    """Return the kinds of key that there are: what follows the site in their names."""
    keys, kinds = Keys("site"), set()
    for name, member in inspect.getmembers(Keys, lambda m: inspect.isfunction(m) or isinstance(m, property)):
        if not name.startswith("_") and name != "arq_queue":
            wanted = [] if isinstance(member, property) else list(inspect.signature(member).parameters)[1:]
            made = getattr(keys, name) if isinstance(member, property) else getattr(keys, name)(*wanted)
            kinds.add(made.split(":")[2])
    return kinds


def kind_of(key):
    """Return the kind of a key; one of arq's goes by its first two parts."""
    parts = key.split(":")
    return parts[2] if parts[0] == "vg" and len(parts) > 2 else ":".join(parts[:2])


async def kinds_without_expiry(redis):
    """Return the kinds of the keys that never expire."""
    keys = [key async for key in redis.scan_iter(count=1_000)]
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.ttl(key)
    return {kind_of(key.decode()) for key, life in zip(keys, await pipe.execute(), strict=True) if life == -1}


async def leaks(redis):
    """Return the kinds of the keys that no declaration covers, and of those that would stay for ever."""
    kinds = {kind_of(key.decode()) async for key in redis.scan_iter(count=1_000)}
    strange = {kind for kind in kinds if kind not in declared() and not kind.startswith("arq:")}
    return strange | (await kinds_without_expiry(redis) - LIVE - {"arq:queue"})
