"""How the processes of a site share the hard limits: each holds units for a while, gives them back, or loses them.

A *place* is in use for as long as a request is open; a *token* is in use for a second from the moment a request is
sent, so no window of a second ever sees more requests than there are tokens. All times are arguments.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

LEASE_SECONDS = 5.0  # what a killed process held comes back after this, and a second
TOKEN_SECONDS = 1.0
SPARE_SECONDS = 1.0  # a lease is given to others this long after its end: what was sent last is over then
TURN_SECONDS = 2.0  # where there are more processes than units, others come first after this
SLICE = 2  # the n-th part of a limit is spread over the processes before they need it, so that they need not ask
UNKNOWN_PROCESSES = 2  # how many a process takes to be there that never reached Redis

Wants = tuple[int, ...]
"""How many units the requests of each rank want, those that are under way included; the first rank goes first."""


@dataclass(frozen=True)
class Units:
    """What one process has of one limit: units that it holds, those of them in use, what it wants, and its setting."""

    held: int
    busy: int
    wants: Wants
    limit: int = 0


@dataclass(frozen=True)
class Lease:
    """What one process holds until `ends_at`, in Redis' time. One that is `leaving` takes no more."""

    places: Units
    tokens: Units
    ends_at: float
    leaving: bool = False

    def lapsed(self, now: float, *, steady: bool) -> bool:
        """Tell whether others may have what it holds.

        Only one who has reached Redis all the time (`steady`) can tell a process that died from one that
        could not reach Redis either.
        """
        return now >= self.ends_at + (0.0 if self.leaving else SPARE_SECONDS) and (self.leaving or steady)


def shares(capacity: int, wants: Mapping[str, Wants], turn: int = 0) -> dict[str, int]:
    """Return how many units each process should have: one each, then rank by rank evenly, then a slice in store.

    Where there are more processes than units, those that want something have theirs before those that are idle, and
    with each turn others are the first.
    """
    names = sorted(wants)
    first = turn * capacity % max(len(names), 1)
    given = dict.fromkeys(names[first:] + names[:first], 0)
    ranks = max(map(len, wants.values()), default=0)
    goals = [{process: min(sum(wants[process]), 1) for process in given}, dict.fromkeys(given, 1)]
    goals += [{process: sum(wants[process][: rank + 1]) for process in given} for rank in range(ranks)]
    goals += [dict.fromkeys(given, capacity // (SLICE * max(len(given), 1)))]
    left = capacity
    for goal in goals:
        left -= _raise(given, goal, left)
    return given


def _raise(given: dict[str, int], goal: Mapping[str, int], left: int) -> int:
    """Give up to `left` units, one after the other to who has least of those below their goal; return how many."""
    for spent in range(left):
        short = [process for process in given if given[process] < goal[process]]
        if not short:
            return spent
        given[min(short, key=given.__getitem__)] += 1
    return left


def renewed(capacity: int, me: str, mine: Units, others: Mapping[str, Units], turn: int) -> Units:
    """Return what this process holds from now on: never more than others leave, never less than it uses.

    Where processes are set to different limits, as while a setting is rolled out, the lowest is that of all.
    """
    if not capacity:
        return mine
    capacity = min([capacity, *(units.limit for units in others.values() if units.limit)])
    fair = shares(capacity, {me: mine.wants, **{other: units.wants for other, units in others.items()}}, turn)[me]
    free = capacity - sum(units.held for units in others.values())
    return replace(mine, held=max(mine.busy, min(fair, free)))


@dataclass
class Slice:
    """One process' units of both limits; a limit of 0 is none. `held` are None until Redis was reached once."""

    concurrent: int
    per_second: int
    places_held: int | None = None
    tokens_held: int | None = None
    open: list[int] = field(default_factory=list)  # the rank of each request under way
    sent: deque[tuple[float, int]] = field(default_factory=deque)  # when and of which rank, in the last second

    def room_in(self, now: float) -> float:
        """Return in how many seconds a request may be sent: 0 = now, infinite = when others leave something."""
        if self.concurrent and len(self.open) >= _or_own(self.places_held, self.concurrent):
            return math.inf
        self._cool(now)
        held = _or_own(self.tokens_held, self.per_second)
        if not self.per_second or len(self.sent) < held:
            return 0.0
        return self.sent[-held][0] + TOKEN_SECONDS - now if held else math.inf

    def take(self, rank: int, now: float) -> None:
        """Use a place and a token."""
        self.open.append(rank)
        self.sent.append((now, rank))

    def leave(self, rank: int) -> None:
        """Give the place back."""
        self.open.remove(rank)

    def lease(self, waiting: Wants, now: float, ends_at: float, *, leaving: bool = False) -> Lease:
        """Return what this process holds, uses and wants, with `waiting` requests of each rank."""
        self._cool(now)
        places = _units(self.places_held, self.open, waiting, self.concurrent)
        tokens = _units(self.tokens_held, [rank for _, rank in self.sent], waiting, self.per_second)
        return Lease(places, tokens, ends_at, leaving)

    def give_back(self, lease: Lease) -> None:
        """Hold no more than this lease, before Redis hears of it: the answer may get lost."""
        if self.places_held is not None and self.tokens_held is not None:
            self.places_held = min(self.places_held, lease.places.held)
            self.tokens_held = min(self.tokens_held, lease.tokens.held)

    def hold(self, lease: Lease) -> None:
        """Hold what Redis has noted."""
        self.places_held, self.tokens_held = lease.places.held, lease.tokens.held

    def lacks(self, lease: Lease) -> bool:
        """Tell whether a lease holds less than its process wanted."""
        limited = ((self.concurrent, lease.places), (self.per_second, lease.tokens))
        return any(limit and units.held < min(sum(units.wants), limit) for limit, units in limited)

    def _cool(self, now: float) -> None:
        while self.sent and now - self.sent[0][0] >= TOKEN_SECONDS:
            self.sent.popleft()


def _or_own(held: int | None, limit: int) -> int:
    return max(limit // (SLICE * UNKNOWN_PROCESSES), 1) if held is None else held


def _units(held: int | None, used: list[int], waiting: Wants, limit: int) -> Units:
    wants = tuple(used.count(rank) + more for rank, more in enumerate(waiting))
    return Units(held or 0, len(used), wants, limit)


def next_lease(others: Mapping[str, Lease], me: str, mine: Lease, limits: Slice) -> Lease:
    """Return this process' lease as it goes on beside those of the others."""
    if mine.leaving:
        return replace(mine, places=_used(mine.places), tokens=_used(mine.tokens))
    turn = int(mine.ends_at // TURN_SECONDS)
    places = renewed(limits.concurrent, me, mine.places, {name: lease.places for name, lease in others.items()}, turn)
    tokens = renewed(limits.per_second, me, mine.tokens, {name: lease.tokens for name, lease in others.items()}, turn)
    return replace(mine, places=places, tokens=tokens)


def _used(units: Units) -> Units:
    return replace(units, held=units.busy)
