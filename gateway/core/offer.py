"""What is offered beside the tools, as data: resources that read through a tool, prompts, and names to complete."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Names:
    """Where the values of an argument come from: `member` of the rows that the list tool `tool` answers.

    `part` is the tool's parameter that narrows the list to names that hold a text, where it has one.
    """

    tool: str
    member: str = "name"
    part: str | None = None


@dataclass(frozen=True)
class Resource:
    """Something to read by its URI, through a tool: permission and freshness are the tool's.

    `{name}` in the URI makes it a template, whose values become arguments of the tool beside `arguments`.
    `follows` names the changes that it shows: views, or `job:` and an id. `{name}` in them is a member of
    what the tool answers, so that a VM subscribed to by its name is followed by its id.
    """

    uri: str
    name: str
    description: str
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    completes: Mapping[str, Names] = field(default_factory=dict)
    follows: tuple[str, ...] = ()

    @property
    def template(self) -> bool:
        """True when the URI has parts to fill in."""
        return "{" in self.uri

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = re.split(r"{(\w+)}", self.uri)  # text, name, text, name, …
        return re.compile("".join(f"(?P<{p}>[^/?#]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts)))

    def reads(self, uri: str) -> dict[str, Any] | None:
        """Return the arguments that `uri` gives to the tool, None where it is another resource's."""
        matched = self._pattern.fullmatch(uri)
        if matched is None:
            return None
        return {**self.arguments, **{name: unquote(value) for name, value in matched.groupdict().items()}}

    def changes(self, shown: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of the changes that concern it when `shown` is what its tool answers."""
        return frozenset(name.format_map(shown) for name in self.follows)


@dataclass(frozen=True)
class PromptParameter:
    """One argument of a prompt; `names` completes it."""

    name: str
    description: str
    names: Names
    required: bool = True


@dataclass(frozen=True)
class Prompt:
    """A request that a person may pick; `text` holds `{name}` for each parameter. `tools` are those it leads to."""

    name: str
    description: str
    text: str
    tools: tuple[str, ...]
    parameters: tuple[PromptParameter, ...] = ()
