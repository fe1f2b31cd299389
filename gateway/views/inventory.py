"""Which VM somebody means: by id or by exact name, in as few requests as may be."""

import asyncio
import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress

from gateway.core.errors import AmbiguousName, UnknownObject, UpstreamError, VergeOSNotFound
from gateway.core.ids import VmKey
from gateway.core.text import NAME_LIMIT, clean
from gateway.core.vm import VmRow
from gateway.vergeos.client import VergeClient
from gateway.vergeos.vms import find_vms
from gateway.views.reader import STALE_SECONDS, cannot_be_asked
from gateway.views.views import Views

NAME_PREFIX = "name:"
KEY_DIGITS = 18  # every number of so many digits fits into the 64 bits of a key
NEAREST = 3
SIMILAR = 0.6  # of 1.0, as difflib counts


def parse_ref(ref: int | str) -> VmKey | str:
    """Return what `ref` means: all digits are an id, all else an exact name; `name:34` is the name 34."""
    if isinstance(ref, int):
        return VmKey(ref)
    if ref.startswith(NAME_PREFIX):
        return ref.removeprefix(NAME_PREFIX)
    return VmKey(int(ref)) if ref.isascii() and ref.isdigit() and len(ref) <= KEY_DIGITS else ref


def matches(ref: int | str, vm_key: int, name: str) -> bool:
    """Tell whether `ref` means the VM of this id and name."""
    return parse_ref(ref) in (vm_key, name)


async def resolve_vm(views: Views, vergeos: VergeClient, ref: int | str) -> VmRow:
    """Return the VM that `ref` means, as `parse_ref` reads it; a snapshot is never meant.

    No request where a fresh list is known and has the VM, else one. While VergeOS cannot be asked, a list of the
    last ten minutes decides. Raises UnknownObject with the nearest names, AmbiguousName with the ids of that
    name, and an UpstreamError.
    """
    meant = parse_ref(ref)
    found = await (_named(views, vergeos, meant) if isinstance(meant, str) else _keyed(views, meant))
    if not found:
        raise await _unknown(views, meant)
    if len(found) > 1:
        ids = ", ".join(str(row.id) for row in found)
        raise AmbiguousName(f"{len(found)} VMs are named {_quoted(meant)}: ids {ids}", matches=_told(found))
    return found[0]


async def _keyed(views: Views, vm_key: VmKey) -> Sequence[VmRow]:
    if not 0 <= vm_key < 10**KEY_DIGITS:
        return ()
    known = await views.known_vm(vm_key)
    if known is not None:
        return (known,)
    try:
        vm = (await views.vm(vm_key)).value
    except VergeOSNotFound:
        return ()
    except UpstreamError as error:
        older = await views.known_vm(vm_key, max_age=STALE_SECONDS)
        if older is None or not cannot_be_asked(error):
            raise
        return (older,)
    return () if vm.is_snapshot else (vm,)


async def _named(views: Views, vergeos: VergeClient, name: str) -> Sequence[VmRow]:
    """Return the VMs of a name as it is shown, or exactly as VergeOS has it where the list knows none."""
    known = await views.known_vms()
    if known is not None and name in known.by_name:
        return known.by_name[name]
    try:
        return await find_vms(vergeos, name)
    except UpstreamError as error:
        older = await views.known_vms(max_age=STALE_SECONDS)
        if older is None or name not in older.by_name or not cannot_be_asked(error):
            raise
        return older.by_name[name]


async def _unknown(views: Views, meant: VmKey | str) -> UnknownObject:
    """Return the error for a VM that is not there, with what may have been meant."""
    what = f"there is no VM {'named' if isinstance(meant, str) else 'with the id'} {_quoted(meant)}"
    near: Sequence[VmRow] = ()
    with suppress(UpstreamError):  # the answer is right without them
        listed = await views.vms()
        names = await asyncio.to_thread(_nearest, str(meant), tuple(listed.by_name))
        near = [row for name in names for row in listed.by_name[name]][:NEAREST]
    if near:
        what += "; the nearest names are " + ", ".join(f"{_quoted(row.name)} (id {row.id})" for row in near)
    return UnknownObject(what, nearest=_told(near))


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return the names most like `name`, best first, upper and lower case being the same; slow for thousands."""
    by_folded = {known.casefold(): known for known in names}
    folded = name[:NAME_LIMIT].casefold()
    return [by_folded[near] for near in difflib.get_close_matches(folded, by_folded, n=NEAREST, cutoff=SIMILAR)]


def _quoted(name: object) -> str:
    return f"'{clean(str(name), NAME_LIMIT)}'"


def _told(rows: Iterable[VmRow]) -> list[dict[str, object]]:
    return [{"id": row.id, "name": row.name} for row in rows]
