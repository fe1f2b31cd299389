"""Which calls the audit tells of, and what it tells: every change, and every refusal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gateway.core.audit import judged, listening, shown_arguments
from gateway.core.errors import GatewayError, TooManyCalls
from gateway.core.tool import Arguments
from gateway.store.audit import AuditTrail

REFUSED = frozenset({401, 403, 423, 429})
"""Of what changes nothing only these are told: its caller may not have it, or not now."""


@contextmanager
def audited(
    trail: AuditTrail,
    tool: str,
    raw: Mapping[str, Any] | Arguments,
    who: Callable[[], Mapping[str, Any]],
    *,
    changes: bool,
    rule: Callable[[], str] = str,
) -> Iterator[None]:
    """Tell the audit of the call in this block; a job that it makes is told at once, everything else at its end.

    `who` and `rule` are asked only where there is something to tell; a refusal may name its own rule.
    Of the calls of one minute that were too many the first alone is told.
    Raises `AuditUnavailable` for a change that could not be told of.
    """
    with judged() as on_object:
        told: list[str] = []

        def tell(outcome: str, detail: str = "", job: str | None = None, by_rule: object = None) -> None:
            told.append(outcome)
            decided = str(by_rule or on_object() or rule())
            about = {"tool": tool, "arguments": shown_arguments(_plain(raw)), "rule": decided}
            trail.record("call", **who(), **about, outcome=outcome, detail=detail, job=job)

        if changes:
            trail.require()
        try:
            with listening(lambda job, note: tell("accepted", note, job)):
                yield
        except GatewayError as error:
            told_before = isinstance(error, TooManyCalls) and error.told_before
            if (changes or error.status in REFUSED) and not told_before:
                tell(error.code, error.detail, by_rule=error.extra.get("rule"))
            raise
        except BaseException as error:
            if changes and not told:
                tell(type(error).__name__)
            raise
        if changes and not told:
            tell("done")


def _plain(raw: Mapping[str, Any] | Arguments) -> Mapping[str, Any]:
    """Return arguments by name; those that are secret by their type are hidden."""
    return raw.model_dump(mode="json", exclude_unset=True) if isinstance(raw, Arguments) else raw
