"""How a tool makes a job: the object frozen as it is now, and the wish handed to the store."""

from gateway.calls import Call
from gateway.core.errors import InvalidArgument
from gateway.core.ids import NetworkKey
from gateway.core.job import REASON_LIMIT, Ordered, Plan, Target
from gateway.core.plans import plan
from gateway.core.text import clean
from gateway.core.vm import VmRow
from gateway.core.wishes import AnyWish, NetworkAction
from gateway.store.submission import Draft
from gateway.telemetry import traces
from gateway.vergeos.looks import live
from gateway.vergeos.networks import machines_on
from gateway.views.inventory import resolve_vm


async def resolve(call: Call, ref: int | str) -> VmRow:
    """Return the VM that `ref` names. Raises UnknownObject, AmbiguousName, UpstreamError."""
    return await resolve_vm(call.views, ref)


async def vm_target(call: Call, ref: int | str) -> Target:
    """Return a VM as the target of a job. Raises as `resolve`, and InvalidArgument for a VM without a machine."""
    row = await resolve(call, ref)
    if row.machine_id is None:
        raise InvalidArgument(f"VM {row.name} has no machine", next_step="Look at the VM in VergeOS.")
    return Target(key=row.id, machine_key=row.machine_id, name=row.name, uuid=row.uuid)


async def submit(call: Call, tool: str, target: Target, wish: AnyWish) -> Ordered:
    """Make a job of a wish for one object, or for a dry run say what it would do.

    Raises `Protected`, `OutsideWindow`, `NotEnrolled`, and as `store.submission.submit`; a dry run UpstreamError.
    """
    services = call.services
    await services.require_on(call.caller, call.needs, target)
    await services.protection.require(target, wish, services.jobs.now)
    if call.order.dry_run:
        return await _plan(call, target, wish)
    return await services.submit(
        Draft(
            tool=tool,
            arguments={"id": target.key, **wish.model_dump(exclude={"kind"}, exclude_none=True)},
            wish=wish,
            target=target,
            owner=call.caller.name,
            face=call.face.value,
            kind=call.caller.kind,
            client=call.client,
            may_ask=call.may_ask and not await services.protection.never_forced(target),
            key=call.idempotency_key,
            after=call.order.after,
            again=call.order.again,
            reason=clean(call.order.reason or "", REASON_LIMIT),
            agent=call.caller.agent,
            standing=call.caller.standing,
            needs=tuple(sorted(call.needs)),
            writes_as=await services.writers.require(call.caller),
            traceparent=traces.traceparent(),
        )
    )


async def _plan(call: Call, target: Target, wish: AnyWish) -> Plan:
    services = call.services
    look = await live(services.vergeos, target)
    names: tuple[str, ...] = ()
    if isinstance(wish, NetworkAction) and wish.action in {"poweroff", "reset"}:
        machines = await machines_on(services.vergeos, NetworkKey(target.key))
        listed = (await call.views.vms()).rows
        names = tuple(row.name for row in listed if row.running and row.machine_id in machines)
    return plan(wish, target, look, await services.jobs.open_on(target.ref), names=names)
