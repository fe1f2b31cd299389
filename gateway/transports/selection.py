"""Which tools a connection is offered: those that need `read`, the core, all, or those it names; of what is served."""

from collections.abc import Iterable

from gateway.core.errors import InvalidArgument
from gateway.core.permission import Permission
from gateway.core.text import clean
from gateway.core.tool import Catalog, Tool

ALL, CORE, READ = "all", "core", "read"
SHOWN_CHARACTERS = 60


def select(catalog: Catalog, choice: str) -> Catalog:
    """Return the part of `catalog` that `choice` names: `all`, `read`, `core`, names of tools, or several by commas.

    Empty means all. Raises `InvalidArgument` for a word that is neither a choice nor a tool of `catalog`.
    """
    words = [word.strip() for word in choice.split(",") if word.strip()]
    if not words or ALL in words:
        return catalog
    names = frozenset(name for word in words for name in _named(catalog, word))
    return catalog.only(lambda tool: tool.name in names)


def _named(catalog: Catalog, word: str) -> Iterable[str]:
    if word == CORE:
        return catalog.core
    if word == READ:
        return (tool.name for tool in catalog if _reads(tool))
    if word not in catalog:
        raise InvalidArgument(
            f"tools: {clean(word, SHOWN_CHARACTERS)!r} is neither a tool here nor one of {READ}, {CORE}, {ALL}",
            next_step="GET /tools lists the tools that this gateway serves.",
        )
    return (word,)


def _reads(tool: Tool) -> bool:
    return tool.permission is Permission.READ


class Selections:
    """The parts of one catalog that connections ask for; the latest are kept, as a client asks the same each time."""

    KEPT = 100

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: dict[str, Catalog] = {}

    def __call__(self, choice: str) -> Catalog:
        """Return the part that `choice` names. Raises as `select`."""
        kept = self._kept.get(choice)
        if kept is None:
            kept = select(self._catalog, choice)
            if len(self._kept) >= self.KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[choice] = kept
        return kept
