"""Which calls the audit tells of, and what it tells: every change, and every refusal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gateway.core.audit import AtHand, listening, shown_arguments
from gateway.core.errors import GatewayError
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
) -> Iterator[None]:
    """Tell the audit of the call in this block; a job that it makes is told at once, everything else at its end.

    Raises `AuditUnavailable` for a change that could not be told of.
    """
    told = []

    def tell(outcome: str, detail: str = "", rule: str = "", job: str | None = None) -> None:
        told.append(outcome)
        shown = shown_arguments(_plain(raw))
        trail.record("call", **who(), tool=tool, arguments=shown, outcome=outcome, detail=detail, rule=rule, job=job)

    call = AtHand(lambda job, note: tell("accepted", note, "; ".join(call.rules), job))
    if changes:
        trail.require()
    try:
        with listening(call):
            yield
    except GatewayError as error:
        if changes or error.status in REFUSED:
            tell(error.code, error.detail, str(error.extra.get("rule") or "; ".join(call.rules)))
        raise
    except BaseException as error:
        if changes and not told:
            tell(type(error).__name__, rule="; ".join(call.rules))
        raise
    if changes and not told:
        tell("done", rule="; ".join(call.rules))


def _plain(raw: Mapping[str, Any] | Arguments) -> Mapping[str, Any]:
    """Return arguments by name; those that are secret by their type are hidden."""
    return raw.model_dump(mode="json", exclude_unset=True) if isinstance(raw, Arguments) else raw
