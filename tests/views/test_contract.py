"""The contract under random callers, writes, failures and clocks: no answer is older than it says, or another's."""

import asyncio
import dataclasses
from dataclasses import dataclass

from arq import ArqRedis
from fakeredis import FakeAsyncRedisConnection, FakeServer
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import ConnectionPool

from gateway.core.answer import Source
from gateway.core.errors import UpstreamError, VergeOSUnreachable
from gateway.core.vm import VmRow
from gateway.store.connection import serving_json
from gateway.store.rows import Head, ViewStore
from gateway.telemetry.tallies import Count
from gateway.views.declared import View
from gateway.views.kept import Kept
from gateway.views.reader import Reader
from gateway.views.reads import CallReads, Reads
from gateway.views.remembered import Surroundings
from gateway.views.rows import Rows
from tests.views.conftest import KEYS, row

LIFETIME, STALE = 30.0, 100.0
VMS = range(1, 5)
TINY = 1e-6  # what was before a change that is heard of now, is over


class Spent:
    """A pace that may forbid what is asked for one caller alone."""

    spent = False

    def lifetime(self, seconds):
        return seconds

    def older_because(self):
        return "your share is spent" if self.spent else ""


class World:
    """A platform whose every state is remembered with its time; nothing takes time but what says so."""

    def __init__(self):
        self.now, self.down, self.latency, self.pace = 1_000.0, False, 0.0, Spent()
        self.history = {key: [(self.now, "s0")] for key in VMS}
        self.count = 0

    def clock(self):
        return self.now

    def change(self, key):
        self.count += 1
        self.now += 10 * TINY
        self.history[key].append((self.now, f"s{self.count}"))

    def status(self, key):
        return self.history[key][-1][1]

    def since(self, key, at):
        """Return every status that a VM has had since this time."""
        told = self.history[key]
        return {
            status for (_, status), (until, _) in zip(told, [*told[1:], (self.now + 1, "")], strict=True) if until >= at
        }

    async def query(self, _vergeos):
        if self.down:
            raise VergeOSUnreachable("no connection")
        rows = [row(key, status=self.status(key)) for key in VMS]
        await asyncio.sleep(0)
        self.now += self.latency
        return rows


class Timed(ViewStore):
    """The store by the clock of a world."""

    world = None

    async def head(self, name):
        return dataclasses.replace(await super().head(name), now=self.world.now)

    async def row(self, name, row_key):
        head, found = await super().row(name, row_key)
        return Head(head.generation, head.as_of, self.world.now), found


@dataclass
class Process:
    """One process, and when it last heard of a change of each VM."""

    reader: Reader
    heard: dict


async def check(world, process, max_age):
    """Read once, and hold what is told against all that was."""
    began = world.now
    try:
        rows = await process.reader.read(max_age)
    except UpstreamError:
        return
    age = began - rows.as_of
    if rows.source is Source.STALE:
        assert rows.older_because
        assert age <= STALE
    elif rows.older_because:
        assert age <= LIFETIME
    else:
        assert age <= (LIFETIME if max_age is None else min(max_age, LIFETIME))
    assert rows.as_of <= world.now
    for key in VMS:
        known_since = max(rows.as_of, process.heard.get(key, 0.0))
        assert rows.by_key[key].status in world.since(key, known_since), (key, rows, world.history[key])


async def act(world, processes, store, step):
    """Take one random step."""
    what, number, seconds = step
    process, key = processes[number % len(processes)], VMS[number % len(VMS)]
    if what == "read":
        await check(world, process, None)
    elif what == "strict":
        await check(world, process, seconds)
    elif what == "crowd":
        await asyncio.gather(*(check(world, one, age) for one in processes for age in (None, 0, seconds)))
    elif what == "job":
        world.change(key)
        generation = await store.patch("things", {str(key): {"status": world.status(key)}})
        for one in processes:
            one.reader.forget(generation)
            one.heard[key] = world.now + TINY
    elif what == "outside":
        world.change(key)
    elif what == "drop":
        await store.patch("others", {"1": {}}, drop=["things"])
    elif what == "passes":
        world.now += seconds
    elif what == "latency":
        world.latency = seconds / 10
    else:
        setattr(world if what == "down" else world.pace, what, bool(number % 2))


KINDS = [
    *("read", "read", "strict", "crowd", "job", "job", "outside", "outside"),
    *("drop", "passes", "passes", "down", "spent", "latency"),
]
STEPS = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 20),
    st.sampled_from([0.0, 0.5, 4.0, 29.0, 31.0, 90.0]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_no_answer_is_older_than_it_says_nor_behind_what_its_process_heard(steps):
    asyncio.run(_story(steps))


async def _story(steps):
    world, server = World(), FakeServer()
    pool = ConnectionPool(connection_class=FakeAsyncRedisConnection, server=server)
    async with serving_json(ArqRedis(pool)) as redis:
        store = Timed(redis, KEYS)
        store.world = world
        processes = []
        for number in range(2):
            view = View("things", "things", VmRow, world.query, lambda r: r.id, lambda r: r.name, LIFETIME)
            clocks = (world.clock, world.clock)
            around = Surroundings(None, store, f"process-{number}", *clocks, pace=world.pace, stale_seconds=STALE)
            processes.append(Process(Reader(view, around), {}))
        for step in steps:
            await act(world, processes, store, step)
        for process in processes:
            await process.reader.close()
    await pool.disconnect()


# whose it is


@dataclass(frozen=True)
class Sees:
    """A sight of some VMs."""

    keys: frozenset

    @property
    def key(self):
        return self.keys

    def needs(self, view):
        return ()

    def knows(self, view):
        return True

    async def look(self, view, rows):
        if self not in rows.rendered:
            seen = tuple(vm for vm in rows.rows if vm.id in self.keys)
            by_key, by_name = {vm.id: vm for vm in seen}, {vm.name: (vm,) for vm in seen}
            rows.rendered[self] = dataclasses.replace(
                rows, rows=seen, by_key=by_key, by_name=by_name, rendered={}, answers={}
            )
        return rows.rendered[self]

    def seen(self, view, rows):
        return rows.rendered.get(self)


class Memory(Reads):
    """Views that are all in memory and stand for ever."""

    def __init__(self):
        ordered = tuple(row(key) for key in VMS)
        names = {one.name: (one,) for one in ordered}
        self.listed = Rows(ordered, 1, 1.0, Source.CACHE, {one.id: one for one in ordered}, names)

    async def rows(self, view, *, max_age=None):
        return self.listed

    async def known(self, view, *, max_age=None):
        return self.listed

    async def known_row(self, view, key, *, max_age=None):
        return self.listed.by_key.get(key)

    def at_hand(self, view):
        return self.listed

    def crowded(self, view, wanted):
        return False

    async def named(self, view, find, name):
        return self.listed.by_name.get(name, ())


SIGHTS = st.one_of(st.none(), st.frozensets(st.sampled_from(list(VMS))).map(Sees))


@given(st.lists(st.tuples(SIGHTS, st.sampled_from(["a", "b"])), max_size=30))
def test_nobody_is_shown_what_was_made_for_another_sight(calls):
    async def story():
        memory = Memory()
        kept = Kept(lambda view, max_age: memory.listed, lambda view: Count())
        for sight, call in calls:
            reads = CallReads(memory, sight=sight)
            seen = {one.id for one in (await reads.vms()).rows}
            allowed = set(VMS) if sight is None else set(sight.keys)
            assert seen == allowed
            for key in VMS:
                assert (await reads.known_row(_VIEW, key, max_age=5) is not None) == (key in allowed)
                assert bool(await reads.named(_VIEW, None, f"vm-{key}")) == (key in allowed)
            listed = CallReads(memory, sight=sight)
            answer = (call, frozenset(one.id for one in (await listed.vms()).rows))
            assert kept.get(call, sight, None) in (None, answer)
            kept.put(call, sight, listed, answer)
            assert kept.get(call, sight, None) == answer

    asyncio.run(story())


_VIEW = View("vms", "vms", VmRow, None, lambda r: r.id, lambda r: r.name, LIFETIME)
