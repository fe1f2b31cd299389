"""`vergeos-gateway audit`: show and export the window, verify archives and the window."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.core.audit import Entry, faults, written
from gateway.core.errors import GatewayError
from gateway.core.guard import moment
from gateway.core.text import clean
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
    entries, broken = read(files) if files else (window, [])
    wrong = [*broken, *faults(entries, whole=bool(files)), *(_unlike(entries, window) if files else ())]
    if wrong:
        raise BrokenAudit(f"{len(wrong)} faults: {'; '.join(wrong[:10])}")
    writers = len({entry["writer"] for entry in entries})
    return f"{len(entries)} entries of {writers} writers: each chain is whole"


def read(files: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """Return the entries of archives, and which lines are none. Raises `UnreadableAudit` for a file without any."""
    entries: list[Entry] = []
    broken: list[str] = []
    for file in files:
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError as exc:
            raise UnreadableAudit(f"{file} cannot be read: {exc.strerror}") from None
        found = [(number, line, _entry(line)) for number, line in enumerate(lines, 1) if line]
        if found and all(entry is None for _, _, entry in found):
            raise UnreadableAudit(f"{file} holds no entry of the audit")
        entries += [entry for _, _, entry in found if entry is not None]
        broken += [f"{file}, line {number} is no entry: {clean(line, 60)!r}" for number, line, e in found if e is None]
    return entries, broken


def _entry(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "writer" in entry else None


def _unlike(archived: Sequence[Entry], window: Sequence[Entry]) -> Iterator[str]:
    """Yield where the archives are not what the window knows: their ends cut off, or written anew with new hashes."""
    known = {(entry["writer"], entry.get("seq")): entry.get("hash") for entry in archived}
    writers = {entry["writer"] for entry in archived}
    newest = {entry["writer"]: entry["seq"] for entry in window}
    for writer in writers & newest.keys():
        if (writer, newest[writer]) not in known:
            yield f"{writer}: ends before {newest[writer]}, which was written"
    for entry in window:
        if known.get((entry["writer"], entry["seq"]), entry["hash"]) != entry["hash"]:
            yield f"{entry['writer']} {entry['seq']}: is not what was written"


def _line(entry: Mapping[str, object]) -> str:
    at = entry["at"]
    told = " ".join(f"{name}={entry[name]}" for name in SHOWN if entry.get(name))
    return f"{moment(float(str(at)))} {entry['event']:<6} {told}"
