"""Who calls, and what he may do."""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from gateway.core.errors import Forbidden
from gateway.core.permission import Permission
from gateway.core.policy import ANY, Facts, Right, Verdict

__all__ = ["LOCAL", "Caller", "CallerKind", "Permission", "Standing"]


class CallerKind(StrEnum):
    """What stands behind a call; persons go before agents, agents before machines."""

    PERSON = "person"
    AGENT = "agent"  # acts for a person, its owner
    MACHINE = "machine"  # a script or a dashboard


class Standing(BaseModel):
    """By what a caller has his right, so that the right of then can be looked up later, when a job acts for him.

    `key` is the id of an API key; `groups`, `scopes` and `client` are those of a token of an identity provider.
    """

    model_config = ConfigDict(frozen=True)

    person: str = ""
    key: str | None = None
    groups: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    client: str = ""


@dataclass(frozen=True)
class Caller:
    """A person, an agent or a machine behind a call; `name` is what others are told.

    `owner` is the person an agent acts for; empty for everybody else. Without a `right` the permissions hold
    for every object. `standing` is None for whoever is not known by a key or token.
    """

    name: str
    permissions: frozenset[Permission] = field(default_factory=frozenset)
    kind: CallerKind = CallerKind.PERSON
    owner: str = ""
    right: Right | None = None
    standing: Standing | None = None

    @property
    def person(self) -> str:
        """Who answers for what the caller does."""
        return self.owner or self.name

    @property
    def agent(self) -> str | None:
        """Which agent this is, and whose; None for everybody else."""
        return f"{self.owner}/{self.name.removeprefix(f'{self.owner}/')}" if self.kind is CallerKind.AGENT else None

    def may(self, permission: Permission) -> bool:
        """Tell whether the caller holds `permission` on some object at least."""
        return permission in self.permissions

    def require(self, permission: Permission, what: str) -> None:
        """Raise `Forbidden` unless the caller holds `permission`; `what` names the refused thing."""
        if permission not in self.permissions:
            told = f"{what} needs the permission '{permission}', which {self.name} does not have"
            raise Forbidden(told, permission=permission.value)

    def decide(self, permission: Permission, facts: Facts = ANY) -> Verdict:
        """Decide whether the caller holds `permission` on the object of these facts."""
        if self.right is not None:
            return self.right.decide(permission, facts)
        return Verdict(permission in self.permissions, "without a policy permissions hold for everything")


LOCAL = Caller("local", frozenset(Permission))
"""Whoever reaches the gateway over loopback or stdio while no authentication is configured."""
