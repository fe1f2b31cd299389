"""The policy file: YAML in, a `Policy` or the line that is wrong out."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from gateway.core import guard
from gateway.core.errors import GatewayError
from gateway.core.guard import Guards
from gateway.core.permission import Permission
from gateway.core.policy import ALL, FIELDS, KINDS, ROLES, Choice, Client, Person, Policy, Role, Rule, Selector
from gateway.core.text import clean

MOST_BYTES = 1 << 20
SHOWN_CHARACTERS = 60
GUARDS = ("protected", "never_force", "windows")
PERMISSIONS = [permission.value for permission in Permission]

T = TypeVar("T")


class WrongPolicy(GatewayError):
    """The policy file cannot be used."""

    code = "wrong_policy"
    next_step = "Correct the line and check the file with `vergeos-gateway policy check FILE`."


class _Wrong(Exception):
    def __init__(self, node: yaml.Node, told: str) -> None:
        self.line, self.told = node.start_mark.line + 1, told


def read_policy(path: Path) -> Policy:
    """Return the policy of a file. Raises `WrongPolicy`, which names the line."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise WrongPolicy(f"{path} cannot be read: {exc.strerror or exc}", next_step="Correct POLICY_FILE.") from None
    if not text.strip():  # so it is for a moment, too, where somebody writes it in place
        raise WrongPolicy(f"{path}, line 1: is empty; `people: {{}}` is a policy that names nobody", line=1)
    if len(text) > MOST_BYTES:
        raise WrongPolicy(f"{path} is larger than {MOST_BYTES} bytes")
    return parse_policy(text, str(path))


def parse_policy(text: str | bytes, name: str = "policy") -> Policy:
    """Return the policy that YAML holds; `name` is that of its file. Raises `WrongPolicy`, which names the line."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return Policy() if root is None else _policy(root)
    except _Wrong as wrong:
        raise WrongPolicy(f"{name}, line {wrong.line}: {wrong.told}", line=wrong.line) from None
    except yaml.MarkedYAMLError as exc:
        line = 1 if exc.problem_mark is None else exc.problem_mark.line + 1
        raise WrongPolicy(f"{name}, line {line}: {exc.problem or 'is not YAML'}", line=line) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise WrongPolicy(f"{name} is not YAML", line=1) from None


def _policy(root: yaml.Node) -> Policy:
    parts = _members(root, "roles", "people", "groups", "scopes", "clients", *GUARDS)
    own = {name: _role(name, node) for name, node in _pairs(parts["roles"])} if "roles" in parts else {}
    roles = {**ROLES, **own}

    def known(node: yaml.Node) -> tuple[str, ...]:
        return _words(node, "role", roles)

    def person(node: yaml.Node) -> Person:
        if not isinstance(node, yaml.MappingNode):
            return Person(known(node))
        told = _members(node, "roles", "on", required=("roles",))
        return Person(known(told["roles"]), _choice(told.get("on")))

    def client(node: yaml.Node) -> Client:
        told = _members(node, "kind", "roles", required=("kind",))
        (kind,) = _words(told["kind"], "kind", ("agent", "person"), most=1)
        return Client(kind == "agent", known(told["roles"]) if "roles" in told else ())

    return Policy(
        roles=roles,
        people=_named(parts.get("people"), person),
        groups=_named(parts.get("groups"), known),
        scopes=_named(parts.get("scopes"), known),
        clients=_named(parts.get("clients"), client),
        guards=_guards(parts),
    )


def _guards(parts: Mapping[str, yaml.Node]) -> Guards:
    """Return what is protected: names as globs or `tag:x`, and windows as the setting MAINTENANCE_WINDOWS has them."""

    def named(part: str) -> tuple[guard.Selector, ...]:
        return tuple(map(guard.Selector, _words(parts[part], part))) if part in parts else ()

    windows = tuple(map(_window, _items(parts["windows"]) if "windows" in parts else ()))
    return Guards(named("protected"), named("never_force"), windows)


def _window(node: yaml.Node) -> guard.Window:
    try:
        return guard.window(_text(node))
    except ValueError as exc:
        raise _Wrong(node, str(exc)) from None


def _role(name: str, node: yaml.Node) -> Role:
    if name in ROLES:
        raise _Wrong(node, f"the role {name} is built in; give yours another name")
    told = _members(node, "allow", "deny", required=("allow",))
    rules = {effect: tuple(_rules(name, effect, told[effect])) for effect in ("allow", "deny") if effect in told}
    return Role(rules["allow"], rules.get("deny", ()))


def _rules(role: str, effect: str, node: yaml.Node) -> Iterator[Rule]:
    for number, item in enumerate(_items(node), 1):
        told = _members(item, "permissions", "on", required=("permissions",))
        words = _words(told["permissions"], "permission", (*PERMISSIONS, "all"))
        permissions = ALL if "all" in words else frozenset(map(Permission, words))
        choice = _choice(told.get("on"))
        name = f"role {role}, {effect} {number} (line {item.start_mark.line + 1})"
        yield Rule(name, permissions, (choice,) if choice else ())


def _choice(node: yaml.Node | None) -> Choice:
    """Return the selectors of `on`: one, or a list of which any may match."""
    return () if node is None else tuple(_selector(item) for item in _items(node))


def _selector(node: yaml.Node) -> Selector:
    told = _members(node, *FIELDS)
    if not told:
        raise _Wrong(node, f"a selector names at least one of {', '.join(FIELDS)}")
    return Selector(
        tuple((field, _words(value, field, KINDS if field == "kind" else None)) for field, value in told.items())
    )


def parse_selector(text: str) -> Selector:
    """Return the selector of a text such as `name=web-*,tag=prod|test`. Raises ValueError that says what is wrong."""
    fields = {}
    for part in text.split(","):
        name, given, globs = (piece.strip() for piece in part.partition("="))
        values = tuple(glob.strip() for glob in globs.split("|") if glob.strip())
        if name not in FIELDS or not given or not values or name in fields:
            raise ValueError(f"{clean(part, SHOWN_CHARACTERS)!r} is not one of {', '.join(FIELDS)}, `=` and a glob")
        if name == "kind" and not set(values) <= set(KINDS):
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        fields[name] = values
    return Selector(tuple(fields.items()))


def selector_text(selector: Selector) -> str:
    """Return the text that `parse_selector` reads."""
    return ",".join(f"{name}={'|'.join(globs)}" for name, globs in selector.fields)


# nodes of YAML


def _named(node: yaml.Node | None, read: Callable[[yaml.Node], T]) -> Mapping[str, T]:
    """Return what a mapping of names holds, each value read by `read`."""
    return {} if node is None else {name: read(value) for name, value in _pairs(node)}


def _members(node: yaml.Node, *known: str, required: tuple[str, ...] = ()) -> dict[str, yaml.Node]:
    found = {}
    for name, value in _pairs(node):
        if name not in known:
            raise _Wrong(value, f"{clean(name, SHOWN_CHARACTERS)!r} is not one of {', '.join(known)}")
        found[name] = value
    for name in required:
        if name not in found:
            raise _Wrong(node, f"{name} is missing")
    return found


def _pairs(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _Wrong(node, "must be names with a value each")
    seen = set()
    for key, value in node.value:
        name = _text(key)
        if name in seen:
            raise _Wrong(key, f"{clean(name, SHOWN_CHARACTERS)!r} stands here twice")
        seen.add(name)
        yield name, value


def _items(node: yaml.Node) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def _words(
    node: yaml.Node,
    what: str,
    known: Mapping[str, object] | tuple[str, ...] | list[str] | None = None,
    most: int | None = None,
) -> tuple[str, ...]:
    """Return one word or a list of them; where `known` is given no others."""
    words = [(item, _text(item)) for item in _items(node)]
    if not words or (most is not None and len(words) > most):
        raise _Wrong(node, f"{what}: must be {'one word' if most == 1 else 'a word or a list of words'}")
    for item, word in words:
        if known is not None and word not in known:
            raise _Wrong(item, f"{what} {clean(word, SHOWN_CHARACTERS)!r} is not one of {', '.join(known)}")
    return tuple(word for _, word in words)


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise _Wrong(node, "must be a word")
    return str(node.value)
