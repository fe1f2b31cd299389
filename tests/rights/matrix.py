"""The cells of the matrix: each caller x tool x face x object, and what the policy alone says of each."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.core.access import CallerKind
from gateway.core.permission import Permission
from gateway.core.policy import ROLES, Facts, Policy, Right, system_facts
from gateway.core.tool import Effect, Tool
from gateway.rights.policy_file import parse_selector
from gateway.tools import CATALOG

SITE = "matrix"
FACES = ("route", "tools", "modern", "legacy", "plain", "stdio")
PLACES = ("seen", "hidden", "absent")
SELECT = ("name=app-*|web-1", "kind=network,network=DMZ", "kind=tenant,tenant=acme", "kind=node,node=node1")
OWNER, OWNER_ROLE = "ann", "operator"
POLICY = Policy()

NAMES = {  # of each kind what a caller with these selectors sees, what he does not and what is not there
    "vm": ("web-1", "mail-1", "zzqqx"),
    "network": ("DMZ", "External", "zzqqx"),
    "tenant": ("acme", "globex", "zzqqx"),
    "node": ("node1", "node2", "node7"),
}
IDS = {
    "vm": (34, 31, 999),
    "network": (2, 3, 999),
    "tenant": (1, 2, 999),
    "node": (1, 2, 999),
    "snapshot": (1, 3, 999),
    "drive": ("os", "os", 9999),  # those of the two VMs, put in by `Subjects`
    "job": ("", "", "0123456789abcdef"),
}
BELONGS_TO = {"snapshot": "vm", "drive": "vm", "job": "vm"}
WORDS = {"VM id": "vm", "network id": "network", "tenant id": "tenant", "node id": "node", "id of a job": "job"}
MORE = {"modify_vm": {"cpu_cores": 2}}
"""What a tool needs besides what its schema requires."""


@dataclass(frozen=True)
class Who:
    """A caller of the matrix; without a role it is nobody."""

    name: str
    role: str | None
    kind: CallerKind = CallerKind.PERSON
    select: tuple[str, ...] = ()

    @property
    def right(self) -> Right:
        """What the policy gives him, worked out from the roles alone."""
        on = tuple(map(parse_selector, self.select))
        within = (POLICY.right([OWNER_ROLE]),) if self.kind is CallerKind.AGENT else ()
        return POLICY.right([self.role] if self.role else [], on=on, within=within)


def callers() -> tuple[Who, ...]:
    """Return nobody, each role with and without selectors, and two agents."""
    roles = itertools.product(ROLES, ((), SELECT))
    people = (Who(f"{role}{'-part' if select else ''}", role, select=select) for role, select in roles)
    agents = (Who(f"agent{'-part' if on else ''}", "engineer", CallerKind.AGENT, on) for on in ((), SELECT))
    return (Who("nobody", None), *people, *agents)


@dataclass(frozen=True)
class Subjects:
    """The objects that only the running gateway knows: jobs and drives of the seen and the hidden VM."""

    jobs: tuple[str, str]
    drives: tuple[int, int]

    def ref(self, kind: str, place: str, by_name: bool) -> Any:
        """Return how the object of a kind and place is called."""
        at = PLACES.index(place)
        if kind in ("job", "drive") and place != "absent":
            return (self.jobs if kind == "job" else self.drives)[at]
        return NAMES[kind][at] if by_name and kind in NAMES else IDS[kind][at]


@dataclass(frozen=True)
class Cell:
    """One call: by whom, of what, through which door, on which object; and the verdict that is expected."""

    who: Who
    tool: Tool
    face: str
    place: str
    by_name: bool = False
    raised: tuple[str, ...] = ()  # parameters that need one permission more
    kinds: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def needs(self) -> frozenset[Permission]:
        return frozenset({self.tool.permission, *(self.tool.escalates[name] for name in self.raised)})

    @property
    def lacks_permission(self) -> bool:
        """Whether the caller lacks a permission on everything, so that VergeOS need not be asked."""
        return not self.needs <= self.who.right.permissions

    @property
    def expected(self) -> str:
        """Return the verdict of the policy: `unauthorized`, `forbidden`, `absent` or `ok`."""
        if self.who.role is None:
            return "unauthorized"
        if self.lacks_permission:
            return "forbidden"
        if not self.kinds:
            whole = self.tool.permission is not Permission.ADMIN
            return "ok" if whole or self._allowed(Permission.ADMIN, system_facts(SITE)) else "forbidden"
        facts = [_facts(kind, self.place) for kind in self.kinds.values()]
        if self.place == "absent" or not all(self._allowed(Permission.READ, known) for known in facts):
            return "absent"
        return "ok" if all(self._allowed(need, known) for need in self.needs for known in facts) else "forbidden"

    def _allowed(self, permission: Permission, facts: Facts) -> bool:
        return self.who.right.decide(permission, facts).allowed

    def arguments(self, subjects: Subjects) -> dict[str, Any]:
        """Return arguments that its schema takes and that change nothing; a change that must is made wrong instead."""
        schema = self.tool.input_schema
        filled = {name: _example(schema["properties"][name]) for name in schema.get("required", ())}
        about = {name: subjects.ref(kind, self.place, self.by_name) for name, kind in self.kinds.items()}
        given = {**filled, **MORE.get(self.tool.name, {}), **about, **dict.fromkeys(self.raised, True)}
        if self.tool.makes_job:
            given["dry_run"] = True
        elif self.tool.effect is not Effect.READ and not self.kinds and self.expected == "ok":
            given["surprise"] = True
        return given

    def __str__(self) -> str:
        more = "+".join(self.raised)
        by = "name" if self.by_name else "id"
        return f"{self.who.name} {self.tool.name} {more} {self.face} {self.place} by {by}: {self.expected}"


def groups(whose: tuple[Who, ...] = (), faces: tuple[str, ...] = FACES) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells; those of a group differ in the object alone."""
    for who, tool, face in itertools.product(whose or callers(), CATALOG, faces):
        kinds = objects_of(tool)
        named = (False, True) if any(kind in NAMES for kind in kinds.values()) else (False,)
        for raised, by_name in itertools.product(((), *((name,) for name in tool.escalates)), named):
            places = PLACES if kinds else ("none",)
            yield tuple(Cell(who, tool, face, place, by_name, raised, kinds) for place in places)


def objects_of(tool: Tool) -> dict[str, str]:
    """Return the parameters that name the object of a tool, each with its kind, as the schema tells."""
    properties = tool.input_schema["properties"]
    found = {name: kind for name, said in properties.items() if (kind := _kind(name, said)) is not None}
    required = {name: kind for name, kind in found.items() if name in tool.input_schema.get("required", ())}
    return required or {name: kind for name, kind in found.items() if name in ("id", "vm_id")}


def _kind(name: str, said: dict[str, Any]) -> str | None:
    if name in ("snapshot_id", "drive_id"):
        return name.removesuffix("_id")
    if name not in ("id", "vm_id", "vm"):
        return None
    text = str(said.get("description", ""))
    return next((kind for words, kind in WORDS.items() if text.startswith(words)), None)


def _facts(kind: str, place: str) -> Facts:
    owner = BELONGS_TO.get(kind, kind)
    name = NAMES[owner][PLACES.index(place)]
    return {"kind": (owner,), "site": (SITE,), "name" if owner == "vm" else owner: (name,)}


def _example(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    simple = {"string": "matrix", "array": ["viewer"], "boolean": False}
    return simple.get(schema.get("type", "string"), schema.get("minimum", 1) or 1)
