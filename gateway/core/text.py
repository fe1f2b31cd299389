"""Text from outside, made fit to be shown."""

NAME_LIMIT = 128  # of VergeOS' own names

_JOINERS = frozenset("\u200c\u200d")  # ordinary spelling in several scripts and in emoji


def clean(text: str, limit: int) -> str:
    """Return `text` on one line, at most `limit` characters long, without control or direction characters.

    Line ends and odd spaces become spaces; what cannot be seen (controls, bidi marks, tags, lone
    surrogates) goes, so that a name shows what it is and cannot carry hidden words. Longer text ends in "…".
    """
    kept = text[: 2 * limit] if len(text) > 2 * limit else text  # bounds the work on absurdly long text
    if not kept.isprintable():
        kept = "".join(_shown(character) for character in kept)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return " " if character.isspace() else ""
