"""Whether VergeOS' own log tells that an act was asked for: of some, nothing else does."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.errors import VergeOSForbidden, VergeOSNotFound
from gateway.core.ids import MachineKey
from gateway.core.job import Job
from gateway.services import Services
from gateway.store.job_pages import Wanted, page_of_jobs
from gateway.vergeos import journal, vms
from gateway.vergeos.together import together

LOG_LINES: Final = 100  # of the newest
OTHER_JOBS: Final = 50  # of the same object: the newest
CLOCKS_APART_SECONDS: Final = 10.0  # VergeOS' clock and Redis' may differ by this
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "poweroff": ("power off", "poweroff", "powered off", "powering off", "power down", "shut"),
    "reset": ("reset", "reboot"),
    "restore": ("restor",),
}
"""How a line of the log may put each action, in small letters; VergeOS documents no wording."""


async def asked_in_log(services: Services, job: Job, action: str, *machines: MachineKey) -> bool:
    """Tell whether the log shows that the action was asked for: since the open act's intent, or by a job that forgot.

    A power-off that a guest ignores leaves no other trace, and asking twice is what we must not do. A record that
    Redis had from an older copy may lack an act: then what other jobs did to the object since this one was made is
    left out. It may stand in the log of any of these machines; without one the platform's log tells of the object.
    Raises `UpstreamError`, `StoreError`.
    """
    act = job.open_act
    if act is not None:
        return await _lines(services, job, action, machines, act.intended_at - CLOCKS_APART_SECONDS) > 0
    since = job.created_at - CLOCKS_APART_SECONDS
    try:
        lines = await _lines(services, job, action, machines, since)
    except (VergeOSForbidden, VergeOSNotFound):
        return False  # who may not read the log cannot remember by it, and must not wait for that for ever
    return lines > 0 and lines > await _by_others(services, job, action, since)


async def _lines(services: Services, job: Job, action: str, machines: Sequence[MachineKey], since: float) -> int:
    """Count the lines since a moment that tell of the action, in that log which has the most of them."""
    client = services.vergeos
    if machines:
        async with together() as group:
            logs = [group.create_task(vms.recent_machine_log(client, machine, LOG_LINES)) for machine in machines]
        told = [[(line.at, line.text) for line in log.result()] for log in logs]
    else:
        query = journal.LogQuery(LOG_LINES, object_type=job.target.kind, object=job.target.name)
        told = [[(line.logged_at, line.text) for line in await journal.read_log(client, query)]]
    words = WORDS[action]
    return max(sum(at >= since and any(word in text.lower() for word in words) for at, text in log) for log in told)


async def _by_others(services: Services, job: Job, action: str, since: float) -> int:
    """Count how often other jobs are known to have asked for the action on the object since a moment."""
    found = await page_of_jobs(services.jobs, Wanted(target=job.target.ref), limit=OTHER_JOBS)
    acts = [act for other in found.jobs if other.id != job.id for act in other.acts]
    return sum(act.action == action and act.intended_at >= since for act in acts)
