"""Taking everything back from somebody who leaves: keys, sessions, streams, the VergeOS key, open jobs."""

from contextlib import suppress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.calls import Call
from gateway.core.access import CallerKind, Permission, Standing
from gateway.core.api_key import ApiKeyView
from gateway.core.errors import InvalidArgument, JobEnded, UnknownJob
from gateway.core.guard import brings_back
from gateway.core.job import Job
from gateway.core.tool import Effect, tool
from gateway.rights.issuing import revoke
from gateway.services import Services
from gateway.tools.keys import require_whole

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
    await services.directory.keys.block(name)
    keys = [key for key in await services.directory.keys.all() if name in (key.owner, key.name)]
    for key in keys:
        await revoke(services.directory, key.id)
    services.directory.look_again()
    machines = {key.caller for key in keys if key.kind is CallerKind.MACHINE}
    forgotten = [await services.writers.enrolled.forget(who) for who in sorted({name, *machines})]
    users = [enrolment.vergeos_user for enrolment in forgotten if enrolment is not None]
    cancelled, handed_over, must_finish = await _withdrawn(services, name, keys)
    return Offboarded(
        name=name,
        keys=tuple(key.name for key in keys),
        vergeos_key=", ".join(users) or None,
        cancelled=cancelled,
        handed_over=handed_over,
        must_finish=must_finish,
    )


async def let_in_again(services: Services, name: str) -> None:
    """Let a person in again who was offboarded; his keys stay revoked. Raises `StoreError`."""
    await services.directory.keys.unblock(name)
    services.directory.look_again()


async def _withdrawn(
    services: Services, name: str, keys: list[ApiKeyView]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Withdraw what he, his agents and his keys want; return the jobs: withdrawn, handed over, to be finished."""
    revoked = {key.id for key in keys}

    def his(who: str, standing: Standing | None) -> bool:
        if standing is not None and (standing.person == name or standing.key in revoked):
            return True
        return who == name or who.startswith(f"{name}/")

    cancelled: list[str] = []
    handed_over: list[str] = []
    must_finish: list[str] = []
    for job in await services.jobs.open():
        wanting = {job.owner: job.standing} | {joiner.name: joiner.standing for joiner in job.joiners}
        wanted_by = [who for who, standing in wanting.items() if his(who, standing)]
        for who in wanted_by:
            with suppress(JobEnded, UnknownJob):
                job = await services.jobs.cancel(job.id, who, may_others=False)
        if not wanted_by or job.state.final:
            continue
        if job.cancel is None:
            handed_over.append(_named(job))
        else:
            (must_finish if brings_back(job) else cancelled).append(_named(job))
    return tuple(cancelled), tuple(handed_over), tuple(must_finish)


def _named(job: Job) -> str:
    return f"{job.id} ({job.tool} {job.target.name})"


TOOLS = (offboard,)
