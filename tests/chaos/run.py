"""One run: a plan is carried out on a house of processes, everything settles, and the judge sees what is left."""

import asyncio
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from gateway.core.audit import faults
from gateway.core.events import JobEvent
from gateway.core.job import Job
from gateway.store.census import census
from gateway.store.connection import redis_time
from gateway.store.jobs import Jobs, read_many
from gateway.store.keys import Keys
from tests.chaos.callers import Callers
from tests.chaos.evidence import Action, Evidence
from tests.chaos.house import AUDIT, SITE, House
from tests.chaos.judge import Violation, judge, taken_back
from tests.chaos.plan import Call, Event, Plan
from tests.chaos.trouble import Trouble
from tests.chaos.visitors import VISITED, Visitors
from tests.conftest import eventually
from tests.deploy.prometheus import prometheus
from tests.deploy.questions import Answers, ask

SETTLE_SECONDS = 240.0  # for everything that is under way when the plan is over
FEW_AT_ONCE = 50
WORDS = 50  # characters of a log line that tell what it is about


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    violations: list[Violation]
    evidence: Evidence
    taken_back: list[str]
    explained: list[Violation]
    calls: Counter[str]
    troubles: Counter[str]
    seconds: float
    folder: Path
    unsettled: str = ""
    errors: Counter[str] = field(default_factory=Counter)
    answers: Answers | None = None

    @property
    def right(self) -> bool:
        """True where no rule was broken, everything ended in time, and no panel or alert that was asked was silent."""
        return not self.violations and not self.unsettled and not (self.answers and self.answers.silent)


async def run(
    plan: Plan,
    *,
    speed: float,
    mutant: str = "",
    folder: Path | None = None,
    settle_seconds: float = SETTLE_SECONDS,
    watched: bool = False,
) -> Outcome:
    """Carry out a plan and judge it; what the processes logged stays in the folder.

    Where it is `watched` a Prometheus scrapes them all, visitors come, and every panel and rule is asked at the end.
    """
    began = time.monotonic()
    folder = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    house = House(folder, vms=plan.vms + watched * VISITED, speed=speed, mutant=mutant)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(house.close)
        await house.open()
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout, connector=connector))
        every_vm = await vm_keys_of(http, house)
        vm_keys, visited = (every_vm[:-VISITED], every_vm[-VISITED:]) if watched else (every_vm, [])
        await _characters(http, house, plan, vm_keys)
        ran = await _running(http, house, vm_keys)
        trouble = Trouble(house, http, vm_keys[: plan.vms])
        callers = Callers(house.urls(), http, vm_keys[: plan.vms])
        operator = asyncio.create_task(trouble.operate())
        async with _watched(trouble, visited) if watched else nullcontext() as seen:
            await _carry_out(plan, callers, trouble)
            await trouble.calm()
        unsettled = await _settled(house, settle_seconds)
        operator.cancel()
        evidence = await _evidence(callers, trouble, ran, vm_keys, visited)
    violations, explained = judge(evidence)
    return Outcome(
        plan=plan,
        violations=violations,
        explained=explained,
        evidence=evidence,
        taken_back=taken_back(evidence),
        calls=callers.counted,
        troubles=house.done,
        seconds=time.monotonic() - began,
        folder=folder,
        unsettled=unsettled,
        errors=_logged(folder),
        answers=seen[0] if seen else None,
    )


@asynccontextmanager
async def _watched(trouble: Trouble, vms: list[int]) -> AsyncIterator[list[Answers]]:
    """Let a Prometheus scrape and visitors come during the block; the answers stand in the list after it."""
    await trouble.house.open_door()
    async with prometheus(trouble.house.folder, trouble.house.scraped) as known:
        began, found = time.time(), []
        visitors = Visitors(trouble, vms)
        await visitors.come()
        yield found
        waited_for = await visitors.leave()
        await known.has_seen(time.time())
        found.append(await ask(known, began, time.time()))
        found[0].silent += waited_for
        for port in (port for ports in trouble.house.scraped.values() for port in ports):
            async with trouble.http.get(f"http://127.0.0.1:{port}/metrics") as response:
                found[0].figures.append(await response.text())


async def _carry_out(plan: Plan, callers: Callers, trouble: Trouble) -> None:
    """Let everything happen at its moment; return when the last caller has his answer."""
    began = time.monotonic()

    async def at(moment: Call | Event, act: Callable[[Any], Awaitable[None]]) -> None:
        await asyncio.sleep(max(began + moment.at - time.monotonic(), 0.0))
        await act(moment)

    async with asyncio.TaskGroup() as group:
        for call in plan.calls:
            group.create_task(at(call, callers.carry_out))
        for event in plan.events:
            group.create_task(at(event, trouble.happen))


async def _settled(house: House, seconds: float) -> str:
    """Wait until no job is open, nor counted as such; return what is not so after so many seconds, else nothing."""
    async with Redis.from_url(house.redis.url) as redis:
        keys = Keys(SITE)

        async def none_open() -> bool:
            return await redis.zcard(keys.active) == 0

        async def none_counted() -> bool:
            return not any((await census(Jobs(redis, keys, days=1))).open.values())

        for settled, words in ((none_open, "jobs are still open"), (none_counted, "jobs are counted that have ended")):
            try:
                await eventually(settled, seconds)
            except AssertionError:
                return words
    return ""


async def _evidence(
    callers: Callers, trouble: Trouble, ran: dict[str, bool], vms: list[int], visited: list[int]
) -> Evidence:
    """Gather what is judged: all that was done to any object but the VMs of visitors."""
    house, http = trouble.house, trouble.http
    await asyncio.sleep(trouble.times.settle)  # whatever should still come of a request
    strange = {f"vm:{key}" for key in visited}
    jobs = [(job, told) for job, told in await _records(house) if job.target.ref not in strange]
    async with http.get(f"{house.vergeos}/_sim/actions") as response:
        rows = [Action(**row) for row in await response.json()]
    actions = tuple(row for row in rows if row.table not in {"vm_actions", "vms"} or row.key not in visited)
    return Evidence(
        actions=actions,
        records={job.id: job for job, _ in jobs},
        events={job.id: told for job, told in jobs},
        accepted=tuple(callers.accepted),
        told=await _told(callers),
        gone_back=tuple(house.gone_back),
        ran=ran,
        runs=await _running(http, house, vms),
        replaced=tuple(trouble.replaced),
        step_seconds=trouble.times.step,
        **_audit(house.folder / AUDIT, strange),
    )


def _audit(archive: Path, strange: set[str]) -> dict[str, Any]:
    """Return what the audit tells of acts on any but the strange objects, and what is wrong with its chains."""
    entries = [json.loads(line) for line in archive.read_text().splitlines()]
    acts = [entry for entry in entries if entry["event"] == "act"]
    theirs = {act["job"] for act in acts if f"{act['target']['kind']}:{act['target']['key']}" in strange}
    answers = [entry for entry in entries if entry["event"] == "answer" and entry["outcome"] == "ok"]
    audited, answered = (
        Counter((entry["job"], entry["act"]) for entry in told if entry["job"] not in theirs)
        for told in (acts, answers)
    )
    return {"audited": audited, "answered": answered, "audit_faults": tuple(faults(entries, whole=True))}


async def _records(house: House) -> list[tuple[Job, tuple[JobEvent, ...]]]:
    async with Redis.from_url(house.redis.url) as redis:
        store = Jobs(redis, Keys(SITE), days=30)
        await redis_time(redis)
        ids = [raw.decode() for raw in await redis.zrange(store.keys.jobs, 0, -1)]
        records = await read_many(redis, store.keys, ids)
        return [(job, tuple(await store.events(job.id))) for job in records]


async def _told(callers: Callers) -> dict[str, str]:
    """Return the state of each accepted job as REST tells it."""
    places = asyncio.Semaphore(FEW_AT_ONCE)

    async def told(job: str) -> tuple[str, str]:
        async with places:
            _, body = await callers.rest("GET", f"/jobs/{job}")
            return job, body.get("state", body.get("code"))

    accepted = {seen.job for seen in callers.accepted}
    return {job: state for job, state in await asyncio.gather(*map(told, accepted)) if state != "job_not_found"}


async def vm_keys_of(http: aiohttp.ClientSession, house: House) -> list[int]:
    """Return the keys of the VMs, lowest first."""
    headers = {"Authorization": "Bearer demo"}
    url = f"{house.vergeos}/api/v4/vms?fields=$key&filter=is_snapshot eq false"
    async with http.get(url, headers=headers) as response:
        return sorted(row["$key"] for row in await response.json())


async def _running(http: aiohttp.ClientSession, house: House, vm_keys: list[int]) -> dict[str, bool]:
    running = {}
    for key in vm_keys:
        async with http.get(f"{house.vergeos}/_sim/vms/{key}") as response:
            running[f"vm:{key}"] = (await response.json())["running"]
    return running


async def _characters(http: aiohttp.ClientSession, house: House, plan: Plan, vm_keys: list[int]) -> None:
    for vm, character in plan.characters.items():
        async with http.patch(f"{house.vergeos}/_sim/vms/{vm_keys[vm]}", json=character) as response:
            response.raise_for_status()


def _logged(folder: Path) -> Counter[str]:
    """Return what the processes logged as warnings and errors, by process and the event's own words."""
    counted: Counter[str] = Counter()
    for log in folder.glob("*[01].log"):
        for line in log.read_text(errors="replace").splitlines():
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                words = re.sub(r"[0-9a-f]{16}|[\d.]+s|\n.*", "…", str(entry["event"]))[:WORDS]
                more = entry.get("outcome") or entry.get("code") or entry.get("error") or ""
                counted[f"{log.stem.rstrip('01')} {entry['level']} '{words}' {more}".strip()] += 1
    return counted
