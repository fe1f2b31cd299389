"""Who spends the budget of requests to VergeOS, and who goes before whom."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.access import Caller


class Kind(StrEnum):
    """What a request is for. The first three are the engine's, the next three follow `CallerKind`."""

    ACT = "act"  # what a job does to VergeOS
    LOOK = "look"  # what a job looks at before it acts, and after
    WATCH = "watch"  # one look at all that jobs wait for
    PERSON = "person"
    AGENT = "agent"
    MACHINE = "machine"
    GATEWAY = "gateway"  # its own needs: start-up, doctor


RANKS: dict[Kind, int] = {
    Kind.ACT: 0,
    Kind.LOOK: 0,
    Kind.WATCH: 1,
    Kind.PERSON: 1,
    Kind.GATEWAY: 1,
    Kind.AGENT: 2,
    Kind.MACHINE: 3,
}
"""Who goes first where requests wait, 0 before all others; within a rank all callers are equal."""

RANK_COUNT = 4
READS = frozenset({Kind.PERSON, Kind.AGENT, Kind.MACHINE})  # what may be answered with older rows instead
ENGINE = frozenset({Kind.ACT, Kind.LOOK, Kind.WATCH})


@dataclass(frozen=True)
class Spender:
    """Who a request is made for; `name` is the caller's, empty for the engine."""

    kind: Kind
    name: str = ""

    @classmethod
    def calling(cls, caller: Caller) -> "Spender":
        """Return the spender that a caller is."""
        return cls(Kind(caller.kind.value), caller.name)

    @property
    def rank(self) -> int:
        """Return when his requests are sent: those of rank 0 first."""
        return RANKS[self.kind]


GATEWAY = Spender(Kind.GATEWAY)
