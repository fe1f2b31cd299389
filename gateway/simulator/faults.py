"""Faults on demand: what to do to which requests, how often."""

import random
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

FaultKind = Literal["latency", "status", "reset_before", "reset_after", "late", "hang", "malformed"]
KINDS: tuple[FaultKind, ...] = ("latency", "status", "reset_before", "reset_after", "late", "hang", "malformed")


@dataclass(slots=True)
class Fault:
    """One fault.

    `kind`:
      latency: wait `seconds`, then go on;
      status: answer HTTP `status`; `effect` says whether the request is carried out all the same;
      reset_before, reset_after: reset the connection before the request is carried out, or after;
      late: answer at once (`answer`: `reset` or a status such as `504`), carry the request out `seconds` later (only
        then does it stand in the list of actions);
      hang: never answer; `effect` as above;
      malformed: carry out, then answer garbage: `body` is `html`, `truncated`, `huge` or `empty`.

    It applies to requests whose method, whose path with query (`/api/v4/vm_actions`) and whose body match the regular
    expressions (searched, not anchored), with `probability`, after letting `skip` of them pass, `count` times (None:
    for ever). `seconds` are real ones, whatever the time scale.
    """

    kind: FaultKind
    method: str = ""
    path: str = ""
    body_matches: str = ""
    count: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seconds: float = 1.0
    status: int = 500
    effect: bool = False
    answer: str = "reset"
    body: Literal["html", "truncated", "huge", "empty"] = "html"
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}")
        for pattern in (self.method, self.path, self.body_matches):
            try:
                re.compile(pattern)
            except re.error as exc:
                raise ValueError(f"{pattern!r} is no regular expression: {exc}") from exc

    def matches(self, method: str, path: str, body: str) -> bool:
        """Whether method, path and body fit, whatever `count` and `probability` say."""
        return (
            re.search(self.method, method, re.IGNORECASE) is not None
            and re.search(self.path, path) is not None
            and re.search(self.body_matches, body) is not None
        )

    def as_dict(self) -> dict[str, Any]:
        """The fault as JSON."""
        return asdict(self)


class Faults:
    """The faults in force; the first one that fits a request is taken, and latency adds to what follows."""

    def __init__(self, seed: int) -> None:
        self.active: list[Fault] = []
        self._random = random.Random(seed)

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        self.active.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        self.active.clear()

    def take(self, method: str, path: str, body: str) -> list[Fault]:
        """The faults for this request: any number of latencies, then at most one other; each is counted."""
        taken: list[Fault] = []
        for fault in self.active:
            if not fault.matches(method, path, body) or not self._fires(fault):
                continue
            taken.append(fault)
            if fault.kind != "latency":
                break
        self.active = [fault for fault in self.active if fault.count is None or fault.count > 0]
        return taken

    def _fires(self, fault: Fault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.count == 0 or self._random.random() >= fault.probability:
            return False
        if fault.count is not None:
            fault.count -= 1
        fault.hits += 1
        return True
