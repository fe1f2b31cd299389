"""What a step does to VergeOS and asks of it: the one place where a job's words become requests."""

from gateway.core.ids import MachineKey, VmKey
from gateway.core.job import Act, Job, Look, Seen
from gateway.services import Services
from gateway.vergeos import nodes, vms

LOG_LINES = 20
EXPLAINING_LINES = 3
CLOCKS_APART_SECONDS = 10.0  # VergeOS' clock and Redis' may differ by this
POWER_OFF_WORDS = ("power off", "poweroff", "powered off", "powering off", "power down", "shut")


async def look(services: Services, job: Job, wanted: Look) -> Seen:
    """Return a live look at a job's object, with what else the decider asked for. Raises `UpstreamError`."""
    await services.site.require()
    at = await services.jobs.now()
    vm = await vms.look(services.vergeos, VmKey(job.target.key))
    return Seen(
        at=at,
        running=vm.running,
        status=vm.status,
        started_at=vm.started_at,
        vm=vm,
        asked_in_log=await _asked_in_log(services, job) if wanted.log else None,
        rooms=wanted.rooms,
        room_mb=await nodes.most_free_ram_mb(services.vergeos, vm) if wanted.rooms else None,
    )


async def perform(services: Services, job: Job, act: Act) -> None:
    """Send one act to VergeOS. Raises `UpstreamError`; its `maybe_done` tells whether it may have happened."""
    client = services.vergeos.patient(wait=True)  # the look before it has paid its turn: do not waste that
    if act.action == "set_size":
        await vms.set_vm_size(client, VmKey(job.target.key), **act.params)
    else:
        await vms.vm_action(client, VmKey(job.target.key), act.action, act.params)


async def explanation(services: Services, job: Job) -> str:
    """Return the last lines of the machine's own log, newest first: the only place that tells why a start failed."""
    lines = await vms.recent_machine_log(services.vergeos, MachineKey(job.target.machine_key or 0), EXPLAINING_LINES)
    return " / ".join(line.text for line in lines)


async def _asked_in_log(services: Services, job: Job) -> bool:
    """Tell whether the machine's log shows a power-off since the open act was intended.

    A power-off that a guest ignores leaves no other trace, and asking twice is what we must not do.
    """
    act = job.open_act
    if act is None:
        return False
    lines = await vms.recent_machine_log(services.vergeos, MachineKey(job.target.machine_key or 0), LOG_LINES)
    since = act.intended_at - CLOCKS_APART_SECONDS
    return any(line.at >= since and any(word in line.text.lower() for word in POWER_OFF_WORDS) for line in lines)
