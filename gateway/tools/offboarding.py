"""Taking everything back from somebody who leaves: keys, sessions, streams, the VergeOS key, open jobs."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.calls import Call
from gateway.core.access import CallerKind, Permission, Standing
from gateway.core.api_key import ApiKeyView
from gateway.core.errors import Forbidden, InvalidArgument, JobEnded, NotEnrolled, UnknownJob
from gateway.core.guard import brings_back
from gateway.core.job import Job
from gateway.core.tool import Effect, tool
from gateway.rights.issuing import revoke
from gateway.services import Services
from gateway.tools.keys import require_whole

FATES = ("cancelled", "handed_over", "must_finish")
LOST = {Forbidden.code, NotEnrolled.code}
"""How a worker ends a job whose owner may not have it any more."""

Person = Annotated[str, Field(min_length=1, max_length=128, description="a person, or the name of a key")]


class Offboarded(BaseModel):
    """What was taken back from somebody. Whatever he still has, a token of an identity provider too, opens nothing."""

    model_config = ConfigDict(frozen=True)

    name: str
    keys: tuple[str, ...] = Field(description="API keys that were revoked, those of his agents among them")
    vergeos_key: str | None = Field(None, description="the VergeOS user whose enrolled key was forgotten")
    cancelled: tuple[str, ...] = Field(description="jobs that were withdrawn")
    handed_over: tuple[str, ...] = Field(description="jobs that others want too, and that go on for them")
    must_finish: tuple[str, ...] = Field(description="withdrawn jobs that first start a VM that they stopped")

    def words(self) -> str:
        """Return it line by line."""
        lines = [f"{self.name} is let in no more; sessions and streams end within 2 s"]
        lines.append(f"keys revoked: {', '.join(self.keys) or 'none'}")
        lines.append(f"VergeOS key forgotten: {self.vergeos_key or 'none was enrolled'}")
        for title, jobs in (
            ("jobs withdrawn", self.cancelled),
            ("jobs handed over to others who want the same", self.handed_over),
            ("jobs that MUST FINISH, for they have stopped a VM and bring it back", self.must_finish),
        ):
            lines.append(f"{title}: {'; '.join(jobs) or 'none'}")
        return "\n".join(lines)


@tool("POST /people/{name}/offboard", permission=Permission.ADMIN, effect=Effect.DESTROY)
async def offboard(call: Call, *, name: Person) -> Offboarded:
    """Take back at once all that a person, or a key, has here: keys, sessions, enrolled VergeOS key, open jobs."""
    require_whole(call, "people")
    if name == call.caller.person:
        raise InvalidArgument(f"name: you are {name}", next_step="Have another administrator do it.")
    return await take_all_back(call.services, name)


async def take_all_back(services: Services, name: str) -> Offboarded:
    """Let a person in no more and take back what he has; to do it again changes nothing. Raises `StoreError`."""
    open_before = await services.jobs.open()  # a worker ends some as soon as the right is gone
    await services.directory.keys.block(name)
    keys = [key for key in await services.directory.keys.all() if name in (key.owner, key.name)]
    for key in keys:
        await revoke(services.directory, key.id)
    services.directory.look_again()
    machines = {key.caller for key in keys if key.kind is CallerKind.MACHINE}
    forgotten = [await services.writers.enrolled.forget(who) for who in sorted({name, *machines})]
    users = [enrolment.vergeos_user for enrolment in forgotten if enrolment is not None]
    wanted = _wanted((*open_before, *await services.jobs.open()), name, keys)
    return Offboarded(
        name=name,
        keys=tuple(key.name for key in keys),
        vergeos_key=", ".join(users) or None,
        **await _withdrawn(services, wanted),
    )


async def let_in_again(services: Services, name: str) -> None:
    """Let a person in again who was offboarded; his keys stay revoked. Raises `StoreError`."""
    await services.directory.keys.unblock(name)
    services.directory.look_again()


async def _withdrawn(services: Services, wanted: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    """Withdraw from these jobs what the callers named with each want; return the jobs by what becomes of them."""
    found: dict[str, list[str]] = {fate: [] for fate in FATES}
    for job_id, names in wanted.items():
        for who in names:
            with suppress(Forbidden, JobEnded, UnknownJob):  # a worker has seen that his right is gone, and was quicker
                await services.jobs.cancel(job_id, who, may_others=False)
        with suppress(UnknownJob):
            job = await services.jobs.get(job_id)
            fate = _fate(job, names)
            if fate is not None:
                found[fate].append(f"{job.id} ({job.tool} {job.target.name})")
    return {fate: tuple(jobs) for fate, jobs in found.items()}


def _fate(job: Job, names: Collection[str]) -> str | None:
    """Return what has become of a job that these callers wanted; None where it was over before."""
    if job.cancel is not None:
        return "must_finish" if brings_back(job) and not job.state.final else "cancelled"
    if job.owner not in names:
        return "handed_over"
    return "cancelled" if job.trouble is not None and job.trouble.code in LOST else None


def _wanted(jobs: Iterable[Job], name: str, keys: Iterable[ApiKeyView]) -> dict[str, set[str]]:
    """Return under which names a person, his agents and these keys want each of the jobs that they want."""
    ids = {key.id for key in keys}

    def his(who: str, standing: Standing | None) -> bool:
        if standing is not None and (standing.person == name or standing.key in ids):
            return True
        return who == name or who.startswith(f"{name}/")

    wanted: dict[str, set[str]] = {}
    for job in jobs:
        for who, standing in ((job.owner, job.standing), *((joiner.name, joiner.standing) for joiner in job.joiners)):
            if his(who, standing):
                wanted.setdefault(job.id, set()).add(who)
    return wanted


TOOLS = (offboard,)
