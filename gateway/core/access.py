"""Who calls, and what he may do."""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.errors import Forbidden


class Permission(StrEnum):
    """The five permissions, from harmless to grave."""

    READ = "read"
    OPERATE = "operate"  # power on, graceful off and reset, create a VM snapshot
    FORCE = "force"  # force off, hard reset, any forced fallback
    CHANGE = "change"  # resize, drives, network apply
    ADMIN = "admin"  # restore, delete, tenants, core networks, keys


class CallerKind(StrEnum):
    """What stands behind a call; persons go before agents, agents before machines."""

    PERSON = "person"
    AGENT = "agent"  # acts for a person, its owner
    MACHINE = "machine"  # a script or a dashboard


@dataclass(frozen=True)
class Caller:
    """A person, an agent or a machine behind a call; `name` is what others are told.

    `owner` is the person an agent acts for; empty for everybody else.
    """

    name: str
    permissions: frozenset[Permission] = field(default_factory=frozenset)
    kind: CallerKind = CallerKind.PERSON
    owner: str = ""

    @property
    def person(self) -> str:
        """Who answers for what the caller does."""
        return self.owner or self.name

    @property
    def agent(self) -> str | None:
        """Which agent this is, and whose; None for everybody else."""
        return f"{self.owner}/{self.name}" if self.kind is CallerKind.AGENT else None

    def may(self, permission: Permission) -> bool:
        """Tell whether the caller holds `permission`."""
        return permission in self.permissions

    def require(self, permission: Permission, what: str) -> None:
        """Raise `Forbidden` unless the caller holds `permission`; `what` names the refused thing."""
        if permission not in self.permissions:
            raise Forbidden(f"{what} needs the permission '{permission}', which {self.name} does not have")


LOCAL = Caller("local", frozenset(Permission))
"""Whoever reaches the gateway over loopback or stdio while no authentication is configured."""
