"""With whose VergeOS key changes are made: the gateway's own, or the one that the caller enrolled."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from fnmatch import fnmatchcase

from gateway.core.access import Caller
from gateway.core.errors import InvalidArgument, NotEnrolled, VergeOSUnauthorized
from gateway.core.text import NAME_LIMIT, clean
from gateway.settings import Settings
from gateway.store.enrolled import Enrolled, Enrolment
from gateway.vergeos.client import VergeClient
from gateway.vergeos.filters import eq

Open = Callable[[str], AbstractAsyncContextManager[VergeClient]]
"""Opens a client that shows this API key, with a budget and a latch of its own."""


class Writers:
    """The clients that change VergeOS. `service` is the gateway's own; a person's is opened when first needed."""

    def __init__(self, settings: Settings, service: VergeClient, enrolled: Enrolled, open_as: Open) -> None:
        self._as_caller = settings.write_as == "caller"
        self._excepted = settings.service_writers
        self.service, self.enrolled = service, enrolled
        self._open_as = open_as
        self._opened: dict[str, tuple[str, VergeClient]] = {}
        self._stack = AsyncExitStack()
        self.close: Callable[[], Awaitable[None]] = self._stack.aclose

    async def require(self, caller: Caller) -> str:
        """Return the person whose key a change by this caller is made with, "" for the gateway's.

        An agent's changes are made with its owner's key. Raises `NotEnrolled`, `StoreError`.
        """
        if not self._as_caller or any(fnmatchcase(caller.name, name) for name in self._excepted):
            return ""
        if await self.enrolled.sealed(caller.person) is None:
            raise NotEnrolled(f"changes are made with each caller's own VergeOS key, and {caller.person} enrolled none")
        return caller.person

    async def holds(self, person: str) -> bool:
        """Tell whether there is a key to write with; "" is the gateway itself. Raises `StoreError`."""
        return not person or await self.enrolled.sealed(person) is not None

    async def client(self, person: str) -> VergeClient | None:
        """Return the client of a person, the gateway's own for ""; None where no key of his is enrolled any more.

        Raises `StoreError`.
        """
        if not person:
            return self.service
        sealed = await self.enrolled.sealed(person)
        known = self._opened.get(person)
        if sealed is None or (known is not None and known[0] == sealed):
            return None if sealed is None or known is None else known[1]
        key = await self.enrolled.unsealed(person, sealed)
        if key is None:
            return None
        client = await self._stack.enter_async_context(self._open_as(key))
        self._opened[person] = sealed, client
        return client

    async def enrol(self, person: str, user: str, key: str) -> Enrolment:
        """Keep a person's key after one request with it has shown that VergeOS takes it and knows that user.

        VergeOS tells nobody whose key it is shown, so the name is what the person says. Raises `InvalidArgument`,
        `UpstreamError`, `StoreError`.
        """
        self.enrolled.require_secret()
        async with self._open_as(key) as client:
            try:
                found = await client.rows("users", fields="$key,name", filter=eq("name", user), limit=1)
            except VergeOSUnauthorized:
                told, mend = "VergeOS refuses this key", "Make a new API key in VergeOS and enrol that."
                raise InvalidArgument(told, next_step=mend) from None
        if not found:
            named = clean(user, NAME_LIMIT)
            told = f"this key sees no VergeOS user {named!r}"
            raise InvalidArgument(told, next_step="Say the name of the VergeOS user whose key it is.")
        return await self.enrolled.keep(person, user, key)
