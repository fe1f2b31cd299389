"""Who has which right now: the policy file, the API keys and who is blocked, as this process knows them."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.core.access import LOCAL, Caller, CallerKind, Standing
from gateway.core.api_key import ApiKey, read_token
from gateway.core.errors import StoreError, Unauthorized
from gateway.core.guard import Guards
from gateway.core.policy import ROLES, Choice, Policy, Right
from gateway.rights.policy_file import WrongPolicy, parse_selector, read_policy
from gateway.store.api_keys import ApiKeys, Known
from gateway.telemetry.logs import get_logger

FRESH_SECONDS = 0.7  # so old may be what is known of keys and policy; a revocation holds everywhere within two
NEW_SECONDS = 0.05  # so long a key that was just made may be refused; unknown ones cost no more than this
LEFT_SECONDS = 30.0  # so long keys that are known hold while Redis is away
USED_SECONDS = 60.0  # the last use of a key is noted this often
CALLERS_KEPT = 2_000

log = get_logger(__name__)

EVERYTHING = Right(allow=ROLES["admin"].allow, whose=LOCAL.name)

Stamp = tuple[int, int, int] | None
"""What tells one state of a file from the next: inode, time of change, size."""


class Directory:
    """Looks callers up. `clock` measures ages; all times that are stored are Redis'."""

    def __init__(
        self, keys: ApiKeys, policy_file: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.keys, self._file, self._clock = keys, policy_file, clock
        self._stamp = _stamp(policy_file)
        self.policy = Policy() if policy_file is None else read_policy(policy_file)
        self.version = 0  # counts what may have changed somebody's right
        self._known: Known | None = None
        self._known_at = self._tried_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self._callers: OrderedDict[object, Caller] = OrderedDict()
        self._proven: dict[tuple[str, str], tuple[ApiKey, Caller]] = {}  # by what is known now, until the next look
        self._noted: dict[str, float] = {}
        self._noting: set[asyncio.Task[None]] = set()

    # what is known

    def fresh(self, within: float = FRESH_SECONDS) -> bool:
        """Tell whether what holds now is known, at most `within` seconds late."""
        return self._clock() - self._known_at < within

    async def refresh(self, within: float = FRESH_SECONDS) -> None:
        """Know what holds now, at most `within` seconds late. Raises `StoreError` where keys cannot be known."""
        if self.fresh(within):
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="access")
        await asyncio.shield(self._refreshing)
        if self._known is None or self._clock() - self._known_at > LEFT_SECONDS:
            raise StoreError("Redis does not answer, so callers cannot be known")

    async def _refresh(self) -> None:
        self.reload()
        began = self._clock()
        if self._known is not None and began - self._tried_at < FRESH_SECONDS:
            return  # Redis was away a moment ago
        try:
            known = await self.keys.known(self._known)
        except StoreError:
            self._tried_at = began
            return
        before, self._known, self._known_at = self._known, known, began
        self._proven.clear()
        if before is None or known.change != before.change or _any_expired(known, before.now):
            self._changed()

    def look_again(self) -> None:
        """Look anew at the next call: this process has changed something itself."""
        self._known_at = min(self._known_at, self._clock() - FRESH_SECONDS)

    def reload(self) -> bool:
        """Read the policy file again where it changed; a wrong one is told and the old one kept. True for a new one."""
        stamp = _stamp(self._file)
        if self._file is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.policy = read_policy(self._file)
        except WrongPolicy as exc:
            log.warning("the policy file is wrong; the old policy goes on", detail=exc.detail)
            return False
        self._changed()
        log.info("policy read", roles=len(self.policy.roles), people=len(self.policy.people))
        return True

    def present_guards(self) -> Guards:
        """Return what the policy file protects, as it is now."""
        self.reload()
        return self.policy.guards

    def _changed(self) -> None:
        self._callers.clear()
        self._proven.clear()
        self.version += 1

    @property
    def ready(self) -> bool:
        """Whether it was ever known which keys there are."""
        return self._known is not None

    @property
    def keys_in_use(self) -> bool:
        """Whether there ever was a key: from the first one on callers must prove who they are."""
        return self._known is not None and self._known.change > 0

    # who it is

    async def by_key(self, token: str, address: str) -> Caller:
        """Return who calls with an API key. Raises `Unauthorized`, which tells nobody why; the log does."""
        caller = self.at_hand(token, address)
        if caller is None:
            key, caller = await self._prove(token, address)
            self._proven[token, address] = key, caller
        return caller

    def at_hand(self, token: str, address: str) -> Caller | None:
        """Return who proved by this key who he is since the last look at the keys; None where it has to be proven."""
        key, caller = self._proven.get((token, address), (None, None))
        return None if key is None or not key.usable(self._now()) else caller

    async def _prove(self, token: str, address: str) -> tuple[ApiKey, Caller]:
        found = read_token(token)
        if found is not None and self._known is not None and found[0] not in self._known.keys:
            with suppress(StoreError):
                await self.refresh(NEW_SECONDS)
        key = None if found is None or self._known is None else self._known.keys.get(found[0])
        if found is None or key is None or not key.fits(found[1]):
            raise refused("unknown key")
        if not key.usable(self._now()):
            raise refused("expired key", key=key.name)
        if self._blocked(key.owner):
            raise refused("blocked person", person=key.owner)
        if not key.usable_from(address):
            raise refused("key from a wrong address", key=key.name)
        caller = self._remembered(key.id) or self._remember(key.id, self._caller_of(key))
        if not caller.permissions:
            log.info("a key without any right", key=key.name, owner=key.owner)
        self._note_use(key.id)
        return key, caller

    def by_subject(self, standing: Standing) -> Caller:
        """Return who calls with a token of an identity provider that was found good. Raises `Unauthorized`.

        Jobs, sessions and limits go by a caller's name, so a token with the name of a machine is not taken.
        """
        if self._blocked(standing.person):
            raise refused("blocked person", person=standing.person)
        known = self._remembered(standing)
        if known is not None:
            return known
        caller = self._caller_by(standing)
        if caller.name == LOCAL.name or caller.name in self._machines():
            raise refused("a token with the name of a machine", person=standing.person)
        return self._remember(standing, caller)

    def subject_at_hand(self, standing: Standing) -> Caller | None:
        """Return the same where it was found out before and nothing has changed since, None otherwise."""
        return None if self._blocked(standing.person) else self._remembered(standing)

    def present(self, standing: Standing | None) -> Right | None:
        """Return the right that a standing gives now: None where it gives none any more; all for the local caller."""
        if standing is None:
            return EVERYTHING
        if standing.key is not None:
            key = None if self._known is None else self._known.keys.get(standing.key)
            return None if key is None or not key.usable(self._now()) else self._right_of(key)
        return None if self._blocked(standing.person) else self._caller_by(standing).right

    def of_name(self, name: str) -> Caller | None:
        """Return the caller that a person's or a key's name stands for, None where there is none."""
        for key in () if self._known is None else self._known.keys.values():
            if key.name == name:
                return self._caller_of(key)
        return self.of_person(name)

    def of_person(self, name: str) -> Caller | None:
        """Return who a person is by name and by his own keys, None where nothing gives him a right."""
        right = self._right_of_person(name)
        return _caller(name, right, standing=Standing(person=name)) if right.allow else None

    def _caller_of(self, key: ApiKey) -> Caller:
        owner = key.owner if key.kind is CallerKind.AGENT else ""
        return _caller(key.caller, self._right_of(key), key.kind, owner, Standing(person=key.owner, key=key.id))

    def _right_of(self, key: ApiKey) -> Right:
        if self._blocked(key.owner):
            return Right(whose=key.name)
        within = (self._right_of_person(key.owner),) if key.kind is CallerKind.AGENT else ()
        return self.policy.right(key.roles, on=_choice(key), within=within, whose=key.name)

    def _right_of_person(self, name: str) -> Right:
        """Return what a person may do by the policy file and by all keys of his own."""
        right = self.policy.of_person(name)
        for key in () if self._known is None else self._known.keys.values():
            if key.owner == name and key.kind is CallerKind.PERSON and key.usable(self._now()):
                right = right.or_also(self.policy.right(key.roles, on=_choice(key)))
        return right

    def _caller_by(self, standing: Standing) -> Caller:
        policy, person = self.policy, standing.person
        client = policy.clients.get(standing.client)
        own = policy.of_person(person, standing.groups)
        agent = client is not None and client.agent
        name = f"{person}/{standing.client}" if agent else person
        within = [policy.right(client.roles, whose=standing.client)] if client is not None and client.roles else []
        if policy.scopes:
            roles = [role for scope in standing.scopes or () for role in policy.scopes.get(scope, ())]
            within.append(policy.right(roles, whose="the token"))
        right = Right(own.allow, own.deny, tuple(within), name)
        kind = CallerKind.AGENT if agent else CallerKind.PERSON
        return _caller(name, right, kind, person if agent else "", standing)

    def _machines(self) -> set[str]:
        keys = () if self._known is None else self._known.keys.values()
        return {key.name for key in keys if key.kind is CallerKind.MACHINE}

    def _blocked(self, person: str) -> bool:
        return self._known is not None and person in self._known.blocked

    def _now(self) -> float:
        """Return Redis' time as far as it is known."""
        return time.time() if self._known is None else self._known.now + (self._clock() - self._known_at)

    def _remembered(self, by: object) -> Caller | None:
        return self._callers.get(by)

    def _remember(self, by: object, caller: Caller) -> Caller:
        while len(self._callers) >= CALLERS_KEPT:
            self._callers.popitem(last=False)
        self._callers[by] = caller
        return caller

    def _note_use(self, key_id: str) -> None:
        now = self._clock()
        if now - self._noted.get(key_id, float("-inf")) < USED_SECONDS:
            return
        self._noted[key_id] = now
        task = asyncio.create_task(self._note(key_id))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, key_id: str) -> None:
        try:
            await self.keys.used(key_id)
        except StoreError:
            self._noted.pop(key_id, None)

    async def close(self) -> None:
        """Wait for what is being asked of Redis: its connections are closed after this."""
        asking = {*self._noting, *(() if self._refreshing is None else (self._refreshing,))}
        if asking:
            await asyncio.wait(asking)


def refused(reason: str, **about: str) -> Unauthorized:
    """Return the error of a credential that is not accepted; only our log hears the reason."""
    log.info("credentials refused", reason=reason, **about)
    return Unauthorized("this token is not accepted")


def _caller(
    name: str, right: Right, kind: CallerKind = CallerKind.PERSON, owner: str = "", standing: Standing | None = None
) -> Caller:
    return Caller(name, right.permissions, kind, owner, right, standing)


def _choice(key: ApiKey) -> Choice:
    return tuple(parse_selector(text) for text in key.select)


def _any_expired(known: Known, since: float) -> bool:
    """Tell whether a key has expired since: others may have lost a right with it."""
    return any(key.expires_at is not None and since < key.expires_at <= known.now for key in known.keys.values())


def _stamp(path: Path | None) -> Stamp:
    """Return the state of a file; None where it is not there for the moment."""
    try:
        state = None if path is None else path.stat()
    except OSError:
        return None
    return None if state is None else (state.st_ino, state.st_mtime_ns, state.st_size)
