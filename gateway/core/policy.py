"""Who may do what to which object: one pure engine, asked for every call and for everything that is shown.

Nothing is allowed that no rule allows, and a rule that denies beats all that allow.
"""

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from gateway.core.guard import NOTHING, Guards
from gateway.core.permission import Permission

KINDS = ("vm", "network", "tenant", "node", "cluster", "system")
"""What a rule can be about; `system` is all that belongs to no single object: storage tiers, volumes, other logs."""

FIELDS = ("kind", "site", "tenant", "name", "tag", "network", "node", "cluster")
"""What a selector can ask of an object; `name` is a VM's, the others that name a kind hold for what is on it too."""

ALL = frozenset(Permission)

Facts = Mapping[str, tuple[str, ...]]
"""What is known of an object, by the fields of selectors: of each as many values as it has."""

ANY: Facts = {}


def system_facts(site: str) -> Facts:
    """Return the facts of what belongs to no single object of a site."""
    return {"kind": ("system",), "site": (site,)}


@dataclass(frozen=True)
class Verdict:
    """Whether something is allowed, and the rule that decided it."""

    allowed: bool
    rule: str


@dataclass(frozen=True)
class Selector:
    """Some objects: those that match one of the globs of every field. Upper and lower case are the same."""

    fields: tuple[tuple[str, tuple[str, ...]], ...]

    @cached_property
    def _matchers(self) -> tuple[tuple[str, Callable[[str], object]], ...]:
        return tuple((name, _matcher(globs)) for name, globs in self.fields)

    def matches(self, facts: Facts) -> bool:
        """Tell whether an object is one of them."""
        for name, match in self._matchers:
            for value in facts.get(name, ()):
                if match(value):
                    break
            else:
                return False
        return True

    def blind_to(self, unknown: frozenset[str]) -> "Selector":
        """Return the selector without what it asks of these fields."""
        return Selector(tuple((name, globs) for name, globs in self.fields if name not in unknown))

    def __str__(self) -> str:
        return ", ".join(f"{name} {'|'.join(globs)}" for name, globs in self.fields)


Choice = tuple[Selector, ...]
"""Objects that any of these selectors matches."""


@dataclass(frozen=True)
class Rule:
    """Allows or denies some permissions on the objects that are in every choice of `on`; without any, on all."""

    name: str
    permissions: frozenset[Permission]
    on: tuple[Choice, ...] = ()

    def covers(self, permission: Permission, facts: Facts) -> bool:
        """Tell whether the rule is about this."""
        if permission not in self.permissions:
            return False
        return not self.on or all(any(selector.matches(facts) for selector in choice) for choice in self.on)

    def narrowed(self, choice: Choice) -> "Rule":
        """Return the rule for those of its objects that are in `choice` too."""
        return replace(self, on=(*self.on, choice)) if choice else self

    def blind_to(self, unknown: frozenset[str]) -> "Rule":
        """Return the rule without what it asks of these fields."""
        blinded = (tuple(selector.blind_to(unknown) for selector in choice) for choice in self.on)
        return replace(self, on=tuple(blinded))

    @property
    def fields(self) -> frozenset[str]:
        """What must be known of an object for it."""
        return frozenset(name for choice in self.on for selector in choice for name, _ in selector.fields)


@dataclass(frozen=True)
class Right:
    """What somebody may do: what a rule of `allow` covers and none of `deny`, and each right of `within` as well."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    within: tuple["Right", ...] = ()
    whose: str = "the caller"

    def decide(self, permission: Permission, facts: Facts) -> Verdict:
        """Decide whether `permission` holds on the object of these facts."""
        for outer in self.within:
            verdict = outer.decide(permission, facts)
            if not verdict.allowed:
                return verdict
        for rule in self.deny:
            if rule.covers(permission, facts):
                return Verdict(False, rule.name)
        for rule in self.allow:
            if rule.covers(permission, facts):
                return Verdict(True, rule.name)
        return Verdict(False, f"no rule gives {self.whose} '{permission}' here")

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        """What may be done to some object at least."""
        held = {permission for rule in self.allow for permission in rule.permissions}
        held -= {permission for rule in self.deny if not rule.on for permission in rule.permissions}
        for outer in self.within:
            held &= outer.permissions
        return frozenset(held)

    @cached_property
    def fields(self) -> frozenset[str]:
        """What must be known of an object before anything is decided; empty where all are the same."""
        own = frozenset[str]().union(*(rule.fields for rule in (*self.allow, *self.deny)))
        return own.union(*(outer.fields for outer in self.within))

    @cached_property
    def sight_fields(self) -> frozenset[str]:
        """What must be known of an object before it is shown; empty for whoever sees all or nothing."""
        own = (rule.fields for rule in (*self.allow, *self.deny) if Permission.READ in rule.permissions)
        return frozenset[str]().union(*own, *(outer.sight_fields for outer in self.within))

    @cached_property
    def sees_all(self) -> bool:
        """Whether everything is shown, whatever it is. Who may do something and read nothing sees nothing."""
        return Permission.READ in self.permissions and not self.sight_fields

    def blind_to(self, unknown: frozenset[str]) -> "Right":
        """Return the right for objects of which these fields are not known: what a denial asks of them may hold."""
        if unknown.isdisjoint(self.fields):
            return self
        deny = tuple(rule.blind_to(unknown) for rule in self.deny)
        return replace(self, deny=deny, within=tuple(outer.blind_to(unknown) for outer in self.within))

    @cached_property
    def token(self) -> str:
        """A short text that equal rights share."""
        return hashlib.sha256(repr((self.allow, self.deny, self.within)).encode()).hexdigest()[:24]

    def or_also(self, other: "Right") -> "Right":
        """Return what one or the other gives; what either denies stays denied. Neither is within a third."""
        return replace(self, allow=self.allow + other.allow, deny=self.deny + other.deny)


@dataclass(frozen=True)
class Role:
    """Rules under one name."""

    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...] = ()


def _plain(name: str, *permissions: Permission) -> Role:
    return Role((Rule(f"role {name}", frozenset(permissions)),))


ROLES: Mapping[str, Role] = {
    "viewer": _plain("viewer", Permission.READ),
    "operator": _plain("operator", Permission.READ, Permission.OPERATE),
    "engineer": _plain("engineer", Permission.READ, Permission.OPERATE, Permission.FORCE, Permission.CHANGE),
    "admin": _plain("admin", *Permission),
}
"""The roles that need no policy file."""


@dataclass(frozen=True)
class Person:
    """What the policy says of one person."""

    roles: tuple[str, ...]
    on: Choice = ()


@dataclass(frozen=True)
class Client:
    """A program that signs persons in; an agent acts for whoever signed in, within its own roles if it has any."""

    agent: bool
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """Roles, and who has them. `groups` and `scopes` are those of an identity provider's tokens.

    Where `scopes` are mapped a token gives no more than its scopes do.
    """

    roles: Mapping[str, Role] = field(default_factory=lambda: ROLES)
    people: Mapping[str, Person] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)
    guards: Guards = NOTHING

    def right(
        self, roles: Iterable[str], *, on: Choice = (), within: Iterable[Right] = (), whose: str = "the caller"
    ) -> Right:
        """Return what these roles give together, on the objects of `on` alone; a role that is not there gives none."""
        known = [self.roles[name] for name in dict.fromkeys(roles) if name in self.roles]
        return Right(
            allow=tuple(rule.narrowed(on) for role in known for rule in role.allow),
            deny=tuple(rule for role in known for rule in role.deny),
            within=tuple(within),
            whose=whose,
        )

    def of_person(self, name: str, groups: Iterable[str] = ()) -> Right:
        """Return what a person has by name and by groups."""
        said = self.people.get(name, Person(()))
        own = self.right(said.roles, on=said.on, whose=name)
        return own.or_also(self.right([role for group in groups for role in self.groups.get(group, ())]))

    def scopes_for(self, permission: Permission) -> tuple[str, ...]:
        """Return the scopes that give a permission on some object."""
        return tuple(name for name, roles in self.scopes.items() if permission in self.right(roles).permissions)


def _matcher(globs: Iterable[str]) -> Callable[[str], object]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs), re.IGNORECASE).match
