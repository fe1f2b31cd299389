"""`vergeos-gateway audit`: show and export the window, verify archives and the window."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.core.audit import Entry, faults, written
from gateway.core.errors import GatewayError
from gateway.core.guard import moment
from gateway.store.audit import AuditTrail
from gateway.store.keys import AUDIT_WINDOW_LENGTH

SHOWN = ("by", "owner", "address", "face", "tool", "act", "outcome", "rule", "job", "state", "detail")


class BrokenAudit(GatewayError):
    """Entries of the audit were changed, or are missing."""

    code = "broken_audit"
    next_step = "Keep these files as they are and find out who could write to them."


class UnreadableAudit(GatewayError):
    """A file holds no audit."""

    code = "unreadable_audit"
    next_step = "Name the files that AUDIT_LOG pointed at, the oldest first."


async def run(trail: AuditTrail, options: argparse.Namespace) -> None:
    """Carry out the command. Raises `BrokenAudit`, `UnreadableAudit`, `StoreError`."""
    if options.action == "verify":
        print(await verified(trail, options.files))
        return
    limit = options.limit if options.action == "show" else AUDIT_WINDOW_LENGTH
    for entry in await trail.newest(limit):
        print(_line(entry) if options.action == "show" else written(entry))


async def verified(trail: AuditTrail, files: Sequence[Path]) -> str:
    """Return in words that the archives, or the window where there are none, are whole.

    Archives are compared with the window too: what was cut off at their end still stands there.
    Raises `BrokenAudit`, `UnreadableAudit`, `StoreError`.
    """
    window = await trail.newest(AUDIT_WINDOW_LENGTH)
    entries = list(read(files)) if files else window
    wrong = [*faults(entries, whole=bool(files)), *(_cut_off(entries, window) if files else ())]
    if wrong:
        raise BrokenAudit(f"{len(wrong)} faults: {'; '.join(wrong[:10])}")
    writers = len({entry["writer"] for entry in entries})
    return f"{len(entries)} entries of {writers} writers: each chain is whole"


def read(files: Sequence[Path]) -> Iterator[Entry]:
    """Yield the entries of archives. Raises `UnreadableAudit`."""
    for file in files:
        try:
            for number, line in enumerate(file.read_text().splitlines(), 1):
                entry = json.loads(line)
                if not isinstance(entry, dict) or "writer" not in entry:
                    raise UnreadableAudit(f"{file}, line {number} is no entry of the audit")
                yield entry
        except OSError as exc:
            raise UnreadableAudit(f"{file} cannot be read: {exc.strerror}") from None
        except ValueError:
            raise UnreadableAudit(f"{file} holds a line that is not JSON") from None


def _cut_off(archived: Sequence[Entry], window: Sequence[Entry]) -> Iterator[str]:
    """Yield the writers of the archives of whom the window knows later entries."""
    last = {str(entry["writer"]): entry["seq"] for entry in archived}
    newest = {str(entry["writer"]): entry["seq"] for entry in window}
    for writer, number in newest.items():
        if writer in last and number > last[writer]:
            yield f"{writer}: ends with {last[writer]}, yet {number} was written"


def _line(entry: Mapping[str, object]) -> str:
    at = entry["at"]
    told = " ".join(f"{name}={entry[name]}" for name in SHOWN if entry.get(name))
    return f"{moment(float(str(at)))} {entry['event']:<6} {told}"
