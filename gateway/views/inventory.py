"""Which VM, network, tenant or node somebody means: by id or by exact name, in as few requests as may be."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic

from gateway.core.errors import AmbiguousName, UnknownObject, UpstreamError, VergeOSNotFound
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.vm import VmRow
from gateway.vergeos.client import VergeClient
from gateway.vergeos.vms import find_vms
from gateway.views.declared import VMS, T, View, vm_view
from gateway.views.reads import ANY_AGE, Reads
from gateway.views.remembered import cannot_be_asked

NAME_PREFIX = "name:"
KEY_DIGITS = 18  # every number of so many digits fits into the 64 bits of a key
NEAREST = 3
SIMILAR = 0.6  # of 1.0, as difflib counts


def _never(_row: object) -> bool:
    return False


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of object that callers name.

    `listing` is the view of all of them, `single` the view of one by its key, whose rows may tell more than
    those of the list. `find` asks VergeOS for those of exactly this name, in one request. `what` is the word
    for one of them ("network"; its tool is `list_networks`), `hidden` tells which single rows nobody may mean.
    """

    what: str
    listing: View[T]
    single: Callable[[Any], View[Any]]
    find: Callable[[VergeClient, str], Awaitable[Sequence[T]]]
    hidden: Callable[[Any], bool] = _never


VM_KIND: Kind[VmRow] = Kind("VM", VMS, vm_view, find_vms, hidden=lambda vm: vm.is_snapshot)


def parse_ref(ref: int | str) -> int | str:
    """Return what `ref` means: all digits are an id, all else an exact name; `name:34` is the name 34."""
    if isinstance(ref, int):
        return ref
    if ref.startswith(NAME_PREFIX):
        return ref.removeprefix(NAME_PREFIX)
    return int(ref) if ref.isascii() and ref.isdigit() and len(ref) <= KEY_DIGITS else ref


def matches(ref: int | str, key: int, name: str) -> bool:
    """Tell whether `ref` means the object of this id and name."""
    return parse_ref(ref) in (key, name)


async def resolve_vm(views: Reads, ref: int | str) -> VmRow:
    """Return the VM that `ref` means, as `resolve` does; a snapshot is never meant."""
    return await resolve(views, VM_KIND, ref)


async def resolve(views: Reads, kind: Kind[T], ref: int | str) -> T:
    """Return the object that `ref` means, as `parse_ref` reads it.

    No request where a fresh list is known and has it, else one (or as many as the kind's single view asks).
    While VergeOS cannot be asked, an older list decides, as old as stale answers may be. Raises UnknownObject with
    the nearest names, AmbiguousName with the ids of that name, and an UpstreamError.
    """
    meant = parse_ref(ref)
    if views.limited:
        found = await _listed(views, kind, meant)
    else:
        found = await (_named(views, kind, meant) if isinstance(meant, str) else _keyed(views, kind, meant))
    if not found:
        raise await _unknown(views, kind, meant)
    if len(found) > 1:
        ids = ", ".join(str(kind.listing.key(row)) for row in found)
        told = f"{len(found)} {kind.what}s are named {_quoted(meant)}: ids {ids}"
        raise AmbiguousName(told, matches=_told(kind, found))
    return found[0]


async def _listed(views: Reads, kind: Kind[T], meant: int | str) -> Sequence[T]:
    """Return the objects that somebody who does not see everything may mean: what he does not see costs the same."""
    listed = await views.rows(kind.listing, max_age=ANY_AGE)
    if isinstance(meant, str):
        return listed.by_name.get(meant, ())
    return (listed.by_key[meant],) if meant in listed.by_key else ()


async def _keyed(views: Reads, kind: Kind[T], key: int) -> Sequence[T]:
    if not 0 <= key < 10**KEY_DIGITS:
        return ()
    single: View[Any] = kind.single(key)
    known = _in_memory(views, kind, single, key) or await views.known_row(kind.listing, key)
    if known is not None:
        return (known,)
    try:
        if views.crowded(kind.listing, key) and key in (listed := await views.rows(kind.listing)).by_key:
            return (listed.by_key[key],)
        row: T = (await views.one(single, max_age=ANY_AGE)).value
    except VergeOSNotFound:
        return ()
    except UpstreamError as error:
        older = await views.known_row(kind.listing, key, max_age=ANY_AGE)
        if older is None or not cannot_be_asked(error):
            raise
        return (older,)
    return () if kind.hidden(row) else (row,)


def _in_memory(views: Reads, kind: Kind[T], single: View[Any], key: int) -> T | None:
    """Return the object from the list or the single view of this process' memory, as a read of one mostly can."""
    listed = views.at_hand(kind.listing)
    if listed is not None and key in listed.by_key:
        return listed.by_key[key]
    alone = views.at_hand(single)
    row = None if alone is None else alone.by_key.get(key)
    return None if row is None or kind.hidden(row) else row


async def _named(views: Reads, kind: Kind[T], name: str) -> Sequence[T]:
    """Return the objects of a name as it is shown, or exactly as VergeOS has it where the list knows none."""
    known = await views.known(kind.listing)
    if known is not None and name in known.by_name:
        return known.by_name[name]
    try:
        if views.crowded(kind.listing, name) and name in (listed := await views.rows(kind.listing)).by_name:
            return listed.by_name[name]
        return await views.named(kind.listing, kind.find, name)
    except UpstreamError as error:
        older = await views.known(kind.listing, max_age=ANY_AGE)
        if older is None or name not in older.by_name or not cannot_be_asked(error):
            raise
        return older.by_name[name]


async def _unknown(views: Reads, kind: Kind[T], meant: int | str) -> UnknownObject:
    """Return the error for an object that is not there, with what may have been meant."""
    what = f"there is no {kind.what} {'named' if isinstance(meant, str) else 'with the id'} {_quoted(meant)}"
    near: Sequence[T] = ()
    with suppress(UpstreamError):  # the answer is right without them
        listed = await views.rows(kind.listing)
        names = await asyncio.to_thread(_nearest, str(meant), tuple(listed.by_name))
        near = [row for name in names for row in listed.by_name[name]][:NEAREST]
    told = _told(kind, near)
    if told:
        what += "; the nearest names are " + ", ".join(f"{_quoted(row['name'])} (id {row['id']})" for row in told)
    next_step = f"Look it up with list_{kind.what.lower()}s and use its id or exact name."
    return UnknownObject(what, next_step=next_step, nearest=told)


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return the names most like `name`, best first, upper and lower case being the same; slow for thousands."""
    by_folded = {known.casefold(): known for known in names}
    folded = name[:NAME_LIMIT].casefold()
    return [by_folded[near] for near in difflib.get_close_matches(folded, by_folded, n=NEAREST, cutoff=SIMILAR)]


def _quoted(name: object) -> str:
    return f"'{clean(str(name), NAME_LIMIT)}'"


def _told(kind: Kind[T], rows: Iterable[T]) -> list[dict[str, object]]:
    return [{"id": kind.listing.key(row), "name": kind.listing.label(row)} for row in rows]
