"""What the tools about drives and snapshots share: whose a machine is, and whether there is room for one more."""

from collections.abc import Collection
from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.calls import Call
from gateway.core.errors import Conflict, InvalidArgument, UnknownObject
from gateway.core.ids import MachineKey
from gateway.core.job import Target
from gateway.core.vm import VmRow
from gateway.tools.parameters import Ref, Whole
from gateway.views.cluster import tier_fill
from gateway.views.vm_parts import owner_of


def _read(value: object) -> object:
    """Take the digits of a path for the number that they are."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


Key = Annotated[Whole, BeforeValidator(_read), Field(ge=1, le=10**12)]
MaybeVmRef = Annotated[Ref | None, Field(description="VM id or exact name")]
DESCRIPTION_LIMIT = 1_900  # VergeOS takes 2,048 characters; the job's mark follows
Description = Annotated[str, Field(max_length=DESCRIPTION_LIMIT)]
AllowTight = Annotated[bool, Field(description="even where a storage tier is nearly full")]


class StorageTight(Conflict):
    """A storage tier is fuller than the gateway's limit; nothing was done."""

    code = "storage_tight"
    next_step = "Free space first (list_vm_snapshots shows old ones), or call again with allow_tight=true."


def machine_of(row: VmRow) -> MachineKey:
    """Return a VM's machine, by which its parts are found; raises UnknownObject where VergeOS tells none."""
    if row.machine_id is None:
        raise UnknownObject(f"VM {row.name} has no machine", next_step="Look at the VM in VergeOS.")
    return row.machine_id


async def owner_target(call: Call, machine_key: int | None) -> Target | None:
    """Return the VM of a machine as the target of a job, None for any other machine, or for none. As `owner_of`."""
    machine = None if machine_key is None else MachineKey(machine_key)
    row = await owner_of(call.views, call.services.vergeos, machine)
    return None if row is None else Target(key=row.id, machine_key=machine, name=row.name, uuid=row.uuid)


async def require_room(call: Call, tiers: Collection[int]) -> None:
    """Raise StorageTight where one of `tiers` is filled to STORAGE_TIGHT_PERCENT or more; no request when warm.

    Tiers whose fill VergeOS does not tell count as free.
    """
    limit = call.services.settings.storage_tight_percent
    fill = await tier_fill(call.services.views) if tiers else {}
    tight = {tier: fill[tier] for tier in sorted(tiers) if fill.get(tier, 0.0) >= limit}
    if tight:
        told = ", ".join(f"tier {tier} is {percent:.0f} % full" for tier, percent in tight.items())
        raise StorageTight(f"{told}; the limit is {limit:g} %", tiers=sorted(tight))


async def some_tier_is_tight(call: Call) -> bool:
    """Tell whether it matters at all on which tiers something lies; no request when warm."""
    limit = call.services.settings.storage_tight_percent
    return any(percent >= limit for percent in (await tier_fill(call.services.views)).values())


async def tiers_to_check(call: Call, tier: int | None) -> Collection[int]:
    """Return the tiers that must have room for a new drive. Raises InvalidArgument for a tier that there is not.

    Where VergeOS chooses the tier, it is in the way only if all are tight: then the least filled stands for them.
    """
    fill = await tier_fill(call.services.views)
    if tier is None:
        return [min(fill, key=lambda known: fill[known])] if fill else []
    if fill and tier not in fill:
        known = ", ".join(str(number) for number in sorted(fill))
        raise InvalidArgument(f"there is no storage tier {tier}", next_step=f"The tiers are {known}.")
    return [tier]
