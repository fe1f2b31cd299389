"""A story of reads: two gateways on one VergeOS, everything that happens to them, and what must be true of an answer.

Every state that VergeOS told of a VM is remembered with when it ended, so that each answer can be held against it.
"""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

from redis.asyncio import Redis

from gateway.core.access import CallerKind
from gateway.simulator import Simulator, SimulatorSettings
from gateway.vergeos.governor import Governor
from gateway.views.declared import LIST_SECONDS, SINGLE_SECONDS
from tests.conftest import PATIENCE_SECONDS, eventually, fast_settings
from tests.journeys.inprocess import FINAL, house, let_in

A_SECOND, AT_ONCE, AN_HOUR = 20, 6, 400  # requests to VergeOS; a place for each of five processes
STALE = 100.0  # seconds
ROUNDED, TINY = 0.01, 1e-6  # of times that are told; what was before an end that is heard of, is over
SIGHTS = {"all": "", "web": "web-", "db": "db-"}
KINDS = {"all": CallerKind.PERSON, "web": CallerKind.AGENT, "db": CallerKind.MACHINE}
VMS = ("web-1", "web-2", "db-1")
FAULTS = (
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429},
    {"kind": "reset_before"},
    {"kind": "reset_after", "count": 2},
    {"kind": "malformed", "body": "html"},
    {"kind": "malformed", "body": "truncated", "count": 1},
    {"kind": "latency", "seconds": 0.2},
)


class Watched(Simulator):
    """A simulated VergeOS that knows how many requests were open at once, and what it told of the VMs when."""

    def __init__(self, settings):
        super().__init__(settings)
        self.open = self.most_open = 0
        self.told = {}
        self._plain, self._server._handle = self._server._handle, self._seen

    async def _seen(self, request):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.note()
        try:
            return await self._plain(request)
        finally:
            self.note()
            self.open -= 1

    def note(self):
        """Remember the present states: each as (running, until when), None while it lasts."""
        for name in VMS:
            vm = self.vm(name)
            states = self.told.setdefault(vm.key, [(vm.running, None)])
            if states[-1][0] != vm.running:
                states[-1] = (states[-1][0], time.time())
                states.append((vm.running, None))

    def possible(self, key, since):
        """Return every state that a VM may have been told in at some time since."""
        return {running for running, until in self.told[key] if until is None or until >= since}


class Story:
    """What may happen to two gateways, one of which has the worker, and to who reads there."""

    def __init__(self, sim, gateways, callers, server, redis, sent):
        self.sim, self.gateways, self.callers, self.server, self.redis = sim, gateways, callers, server, redis
        self.sent = sent  # when each request to VergeOS took its turn
        self.vms = [sim.vm(name) for name in VMS]
        self.heard, self.put_right = {}, {}  # by gateway and VM: since when at least; the last of lists alone
        self.seen = {}  # by gateway and caller: ETag and rows
        self.faulty = self.away = False

    # what is held against what was

    async def called(self, number, who, path, max_age, **headers):
        """Read at one gateway; return its answer with when the call began, None for one that says why there is none."""
        began, wanted = time.time(), {} if max_age is None else {"max_age": max_age}
        lifetime = LIST_SECONDS if path == "/vms" else SINGLE_SECONDS
        gateway, known = self.gateways[number % 2], self.callers[who] | headers
        longest = gateway.services.vergeos.governor.lifetime(lifetime)
        answer = await asyncio.wait_for(gateway.call("GET", path, headers=known, **wanted), PATIENCE_SECONDS)
        if answer.status == 503:
            unknown = self.away and answer.body["code"] == "store_unavailable"  # who calls, after some seconds
            assert unknown or answer.body["code"].startswith("vergeos_"), answer.text
            assert unknown or int(answer.headers["Retry-After"]) >= 1
            assert answer.body["next_step"]
            return None
        if answer.status == 404:
            return answer
        assert answer.status in (200, 304), answer.text
        longest = max(longest, gateway.services.vergeos.governor.lifetime(lifetime))
        age, why = began - float(answer.headers["X-As-Of"]), answer.headers.get("X-Older-Because")
        if answer.headers["X-Source"] == "stale":
            assert why
            assert age <= STALE + ROUNDED
        else:
            assert age <= (longest if max_age is None or why else max_age) + ROUNDED, answer.headers
        return answer

    def held(self, number, key, running, answer, put_right=None):
        """Check one VM's state in an answer, that of a list with what had been put right there before."""
        since, at = float(answer.headers["X-As-Of"]) - ROUNDED, (number % 2, key)
        if not (self.away and answer.headers["X-Source"] == "stale"):  # else it is the last there is
            since = max(since, self.heard.get(at, 0.0), (put_right or {}).get(at, 0.0))
        possible = self.sim.possible(key, since)
        assert running in possible, (key, since, answer.headers, self.sim.told[key], self.heard)

    async def read(self, number, who, max_age):
        """Read the list as somebody who has perhaps an older one."""
        (etag, rows), put_right = self.seen.get((number % 2, who), ("", [])), dict(self.put_right)
        answer = await self.called(number, who, "/vms", max_age, **({"If-None-Match": etag} if etag else {}))
        if answer is None:
            return
        rows = rows if answer.status == 304 else answer.body
        self.seen[number % 2, who] = answer.headers["ETag"], rows
        assert all(row["name"].startswith(SIGHTS[who]) for row in rows), who
        shown = {row["id"]: row["running"] for row in rows}
        for vm in self.vms:
            if vm.name.startswith(SIGHTS[who]):
                self.held(number, vm.key, shown[vm.key], answer, put_right)

    async def one(self, number, who, max_age):
        """Read one VM as somebody who may not see it."""
        vm, path = self.vms[number % 3], "/status" if number % 4 < 2 else ""
        answer = await self.called(number, who, f"/vms/{vm.key}{path}", max_age)
        if answer is None:
            return
        assert (answer.status == 200) == vm.name.startswith(SIGHTS[who]), answer.text
        if answer.status == 404:
            assert vm.name not in answer.text
            return
        self.held(number, vm.key, answer.body["running"], answer)
        if answer.headers["X-Source"] == "live" and not self.away:
            asked_at, at = float(answer.headers["X-As-Of"]) - ROUNDED, (number % 2, vm.key)
            self.put_right[at] = max(asked_at, self.put_right.get(at, 0.0))

    async def crowd(self, number):
        """Have everybody read at once, in every way."""
        wanted = [(n, who, age) for n in (0, 1) for who in SIGHTS for age in (None, 0, 0.3)]
        ones = [self.one(number + n, who, age) for n, who, age in wanted]
        await asyncio.gather(*(self.read(*told) for told in wanted), *ones)

    # what happens

    def outside(self, number):
        """Have somebody switch a VM in VergeOS' own pages."""
        vm = self.vms[number % 3]
        vm.stop() if vm.running else vm.start()
        self.sim.note()

    async def job(self, number, who):
        """Switch a VM by a job and follow it to its end on both gateways, while somebody reads."""
        if self.faulty or self.away:
            return
        vm, gateway = self.vms[number % 3], self.gateways[number % 2]
        path = f"/vms/{vm.key}/{'forceoff' if vm.running else 'poweron'}"
        job = await gateway.accepted("POST", path, {"again": True}, self.callers["root"])
        await asyncio.gather(self.read(number + 1, who, None), self.one(number, who, 0))
        for n in (number, number + 1):
            if await self._ended(n, job["id"]) == "completed":
                self.heard[n % 2, vm.key] = time.time() + TINY

    async def _ended(self, number, job_id):
        async def final():
            gateway, root = self.gateways[number % 2], self.callers["root"]
            state = (await gateway.call("GET", f"/jobs/{job_id}", headers=root, wait=5)).body["state"]
            return state if state in FINAL else None

        return await eventually(final)

    def fault(self, number):
        """Let VergeOS fail, each time in another way, or do well again."""
        self.sim.clear_faults()
        self.sim.down = number % 9 == 8
        self.faulty = number % 9 != 7
        if number % 9 < len(FAULTS):
            self.sim.fault(**{"path": "/api/v4/", "count": None, **FAULTS[number % 9]})

    async def without_redis(self):
        """Take Redis away, or bring it back."""
        self.away = not self.away
        if self.away:
            await asyncio.to_thread(self.server.stop, signal.SIGKILL)
        else:
            await asyncio.to_thread(self.server.start)
            await self._each(
                lambda gateway, root: gateway.call("GET", "/jobs", headers=root), lambda it: it.status == 200
            )

    async def _each(self, ask, well):
        """Ask both gateways until each answers well."""
        for gateway in self.gateways:

            async def answers():
                return well(await ask(gateway, self.callers["root"]))  # noqa: B023  called at once

            await eventually(answers)

    async def passes(self, seconds):
        """Let what is known grow older, for both gateways."""
        if self.away:
            return
        async for name in self.redis.scan_iter(match=self.gateways[0].services.keys.view("*")):
            if await self.redis.hexists(name, "as_of"):
                await self.redis.hincrbyfloat(name, "as_of", -seconds)
        for memo in self._memos():
            memo.asked_at -= seconds

    def _memos(self):
        for gateway in self.gateways:
            views = gateway.services.views
            yield from (reader._memo for reader in (views._vms, *views._readers.values()) if reader._memo is not None)

    async def act(self, what, number, who, seconds):
        """Take one step."""
        match what:
            case "read":
                await self.read(number, who, None)
            case "strict":
                await self.read(number, who, seconds / 100)
            case "one":
                await self.one(number, who, seconds / 100 if number % 5 else None)
            case "crowd":
                await self.crowd(number)
            case "outside":
                self.outside(number)
            case "job":
                await self.job(number, who)
            case "fault":
                self.fault(number)
            case "redis":
                await self.without_redis()
            case "passes":
                await self.passes(seconds)

    async def begin(self):
        """Let all do well, know nothing of VergeOS, and have a new hour."""
        if self.away:
            await self.without_redis()
        self.sim.clear_faults()
        self.sim.down = self.faulty = False
        for pattern in ("view*", "spent*"):
            names = [name async for name in self.redis.scan_iter(match=f"vg:{self.site}:{pattern}")]
            await self.redis.delete(*names or ["none"])
        for gateway in self.gateways:
            views = gateway.services.views
            views._vms._memo = None
            views._readers.clear()
            await gateway.services.vergeos.governor.settle()
        await self._each(_listed, lambda answer: answer.status == 200 and answer.headers["X-Source"] != "stale")
        self.heard, self.put_right, self.seen = {}, {}, {}

    @property
    def site(self):
        return self.gateways[0].settings.site

    async def tell(self, steps):
        """Tell a whole story; what was asked of VergeOS meanwhile is held against the budget."""
        await self.begin()
        self.sim.most_open = 0
        self.sent.clear()
        for step in steps:
            await self.act(*step)
        assert self.sim.most_open <= AT_ONCE
        assert most_in_a_second(self.sent) <= A_SECOND


async def _listed(gateway, root):
    return await gateway.call("GET", "/vms", headers=root)


def most_in_a_second(sent):
    """Return the most of these moments that lie within one second."""
    most = first = 0
    for last, at in enumerate(sent):
        while at - sent[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


async def opened(stack: AsyncExitStack, server, sent) -> Story:
    """Open the stage of all stories: VergeOS, Redis, two gateways, one of them with a worker, and who calls."""
    sim = await stack.enter_async_context(Watched(SimulatorSettings(vms=12, seed=7, time_scale=20.0)))
    redis = await stack.enter_async_context(Redis.from_url(server.url))
    await redis.flushall()
    bounded = fast_settings(
        sim.url,
        server.gateway_url,
        vergeos_requests_per_second=A_SECOND,
        vergeos_max_concurrent=AT_ONCE,
        vergeos_requests_per_hour=AN_HOUR,
        stale_seconds=STALE,
    )
    gateways = [await stack.enter_async_context(house(sim, bounded, workers=number)) for number in (1, 0)]
    callers = {"root": await let_in(gateways, "root", "admin")}
    for name, prefix in SIGHTS.items():
        select = (f"name={prefix}*",) if prefix else ()
        callers[name] = await let_in(gateways, name, "viewer", *select, kind=KINDS[name], owner="root")
    return Story(sim, gateways, callers, server, redis, sent)


def wired(monkeypatch):
    """Have every request to VergeOS noted at the moment that it takes its turn, in whichever process' part."""
    sent, spend = [], Governor.spend

    def noted(self, spender, refill):
        sent.append(time.monotonic())
        spend(self, spender, refill)

    monkeypatch.setattr(Governor, "spend", noted)
    return sent
