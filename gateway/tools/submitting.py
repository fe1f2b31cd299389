"""How a tool makes a job: the object frozen as it is now, and the wish handed to the store."""

from gateway.calls import Call
from gateway.core.errors import InvalidArgument
from gateway.core.job import Job, Target
from gateway.core.vm import VmRow
from gateway.core.wishes import AnyWish
from gateway.store.submission import Draft
from gateway.views.inventory import resolve_vm


async def resolve(call: Call, ref: int | str) -> VmRow:
    """Return the VM that `ref` names. Raises UnknownObject, AmbiguousName, UpstreamError."""
    return await resolve_vm(call.services.views, call.services.vergeos, ref)


async def vm_target(call: Call, ref: int | str) -> Target:
    """Return a VM as the target of a job. Raises as `resolve`, and InvalidArgument for a VM without a machine."""
    row = await resolve(call, ref)
    if row.machine_id is None:
        raise InvalidArgument(f"VM {row.name} has no machine", next_step="Look at the VM in VergeOS.")
    return Target(key=row.id, machine_key=row.machine_id, name=row.name, uuid=row.uuid)


async def submit(
    call: Call, tool: str, target: Target, wish: AnyWish, *, after: str | None = None, again: bool = False
) -> Job:
    """Make a job of a wish for one object. Raises as `store.submission.submit`."""
    return await call.services.submit(
        Draft(
            tool=tool,
            arguments={"id": target.key, **wish.model_dump(exclude={"kind"}, exclude_none=True)},
            wish=wish,
            target=target,
            owner=call.caller.name,
            face=call.face.value,
            client=call.client,
            may_ask=call.may_ask,
            key=call.idempotency_key,
            after=after,
            again=again,
        )
    )
