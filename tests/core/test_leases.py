"""Processes that share the hard limits: whatever happens to them and to Redis, VergeOS never sees more."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.leases import LEASE_SECONDS, SPARE_SECONDS, TOKEN_SECONDS, Slice, next_lease, shares

WANTS = st.tuples(*[st.integers(0, 6)] * 4)


@given(st.integers(1, 40), st.dictionaries(st.text("abcdef", min_size=1, max_size=1), WANTS, min_size=1))
def test_shares_fit_into_the_limit_and_nobody_is_left_out(capacity, wants):
    given_out = shares(capacity, wants)
    assert sum(given_out.values()) <= capacity
    if len(wants) <= capacity:
        assert min(given_out.values()) >= 1
    slice_of_all = capacity // (2 * len(wants))
    assert all(given_out[name] <= max(sum(wants[name]), 1, slice_of_all) for name in wants)


def test_acts_come_before_persons_and_persons_before_dashboards_in_all_processes():
    wants = {"dashboards": (0, 0, 0, 9), "persons": (0, 3, 0, 0), "worker": (4, 0, 0, 0)}
    assert shares(8, wants) == {"dashboards": 1, "persons": 3, "worker": 4}


def test_equals_share_evenly():
    assert shares(10, dict.fromkeys("abc", (0, 9, 0, 0))) == {"a": 4, "b": 3, "c": 3}


def test_an_idle_process_has_a_slice_in_store_so_that_it_need_not_ask():
    assert shares(10, dict.fromkeys("ab", (0, 0, 0, 0))) == {"a": 2, "b": 2}


def test_more_processes_than_units_leave_nobody_out():
    idle, busy = (0, 0, 0, 0), (0, 3, 0, 0)
    assert shares(5, dict.fromkeys("abcdefg", idle) | {"h": busy})["h"] == 1
    turns = [shares(5, dict.fromkeys("abcdefgh", busy), turn) for turn in range(2)]
    assert all(any(turn[name] for turn in turns) for name in "abcdefgh")


@dataclass
class Process:
    slice: Slice
    ends_at: float = -1.0
    settled_at: float = -1.0
    steady_since: float | None = None
    open: list[int] = field(default_factory=list)


class Site(RuleBasedStateMachine):
    """Processes start, send, leave and die; answers of Redis get lost; Redis is away for all; time goes on."""

    PLACES, TOKENS = 5, 10

    def __init__(self):
        super().__init__()
        self.now, self.away, self.born = 0.0, False, 0
        self.leases, self.processes, self.sent = {}, {}, []

    @rule()
    @precondition(lambda self: not self.away and len(self.processes) < 6)
    def start(self):
        self.born += 1
        self.processes[f"p{self.born}"] = Process(Slice(self.PLACES, self.TOKENS))
        self.settle(f"p{self.born}", (0, 0, 0, 0), lost=False)

    def settle(self, name, wants, *, lost, leaving=False):
        """As the governor does it: what is given back is given back first, what is won is held after the answer."""
        process = self.processes[name]
        steady = process.steady_since is not None and self.now - process.steady_since >= LEASE_SECONDS + SPARE_SECONDS
        dead = [one for one, lease in self.leases.items() if lease.lapsed(self.now, steady=steady)]
        others = {one: lease for one, lease in self.leases.items() if one not in (*dead, name)}
        seconds = TOKEN_SECONDS if leaving else LEASE_SECONDS
        mine = process.slice.lease(wants, self.now, self.now + seconds, leaving=leaving)
        lease = next_lease(others, name, mine, process.slice)
        process.slice.give_back(lease)
        if lost == "unheard":
            process.steady_since = None
            return
        for one in dead:
            del self.leases[one]
        self.leases[name] = lease
        if lost:
            process.steady_since = None
            return
        if process.steady_since is None or self.now - process.settled_at > LEASE_SECONDS:
            process.steady_since = self.now
        process.settled_at, process.ends_at = self.now, self.now + LEASE_SECONDS
        process.slice.hold(lease)

    @rule(pick=st.integers(0, 99), wants=WANTS, lost=st.sampled_from([False, False, False, True, "unheard"]))
    @precondition(lambda self: self.processes and not self.away)
    def settle_one(self, pick, wants, lost):
        self.settle(sorted(self.processes)[pick % len(self.processes)], wants, lost=lost)

    @rule(wants=st.lists(WANTS, min_size=6, max_size=6))
    @precondition(lambda self: self.processes and not self.away)
    def settle_all(self, wants):
        for name, wanted in zip(sorted(self.processes), wants, strict=False):
            self.settle(name, wanted, lost=False)

    @rule(pick=st.integers(0, 99), rank=st.integers(0, 3), many=st.integers(1, 12))
    @precondition(lambda self: self.processes)
    def send(self, pick, rank, many):
        name = sorted(self.processes)[pick % len(self.processes)]
        process = self.processes[name]
        for _ in range(many):
            if self.now >= process.ends_at and not self.away:
                self.settle(name, (0, 0, 0, 0), lost=False)
            if process.slice.room_in(self.now) > 0:
                return
            process.slice.take(rank, self.now)
            process.open.append(rank)
            self.sent.append(self.now)

    @rule(pick=st.integers(0, 99), many=st.integers(1, 5))
    @precondition(lambda self: self.processes)
    def end(self, pick, many):
        process = self.processes[sorted(self.processes)[pick % len(self.processes)]]
        for _ in range(min(many, len(process.open))):
            process.slice.leave(process.open.pop())

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: self.processes)
    def kill(self, pick):
        del self.processes[sorted(self.processes)[pick % len(self.processes)]]

    @rule(pick=st.integers(0, 99))
    @precondition(lambda self: self.processes and not self.away)
    def leave(self, pick):
        name = sorted(self.processes)[pick % len(self.processes)]
        process = self.processes[name]
        while process.open:
            process.slice.leave(process.open.pop())
        self.settle(name, (0, 0, 0, 0), lost=False, leaving=True)
        del self.processes[name]

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 0.999, 1.0]))
    def pass_time(self, seconds):
        """A second at most: whoever reaches Redis settles once a second, or is not running at all."""
        self.now += seconds
        for name, process in self.processes.items():
            if not self.away and self.now - process.settled_at >= 1.0:
                self.settle(name, (0, 0, 0, 0), lost=False)

    @rule(seconds=st.floats(0.1, 60.0))
    def lose_redis(self, seconds):
        self.away = True
        for process in self.processes.values():
            process.steady_since = None
        self.now += seconds

    @rule()
    @precondition(lambda self: self.away)
    def find_redis(self):
        self.away = False

    @invariant()
    def never_more_at_once(self):
        assert sum(len(process.open) for process in self.processes.values()) <= self.PLACES

    @invariant()
    def never_more_in_any_second(self):
        self.sent = [at for at in self.sent if at > self.now - 1.5]
        window = [at for at in self.sent if at > self.now - 1.0]
        assert len(window) <= self.TOKENS


Site.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestSite = Site.TestCase


def test_while_a_lower_limit_is_rolled_out_it_is_that_of_all_and_nobody_starves():
    old, new = Slice(20, 0), Slice(5, 10)
    idle, ends_at = (0, 0, 0, 0), 5.0
    before = next_lease({}, "old", old.lease(idle, 0.0, ends_at), old)
    came = next_lease({"old": before}, "new", new.lease(idle, 0.0, ends_at), new)
    assert (before.places.held, came.places.held) == (10, 0)
    old.hold(before)
    after = next_lease({"new": came}, "old", old.lease(idle, 1.0, ends_at), old)
    came = next_lease({"old": after}, "new", new.lease((3, 0, 0, 0), 1.0, ends_at), new)
    assert (after.places.held, came.places.held) == (1, 3)


def test_what_was_given_back_is_not_used_though_the_answer_got_lost():
    one, other = Slice(5, 10), Slice(5, 10)
    one.hold(next_lease({}, "one", one.lease((9, 0, 0, 0), 0.0, 5.0), one))
    less = next_lease({}, "one", one.lease((1, 0, 0, 0), 2.0, 7.0), one)
    one.give_back(less)  # Redis has noted it; this process never hears that
    other.hold(next_lease({"one": less}, "other", other.lease((9, 0, 0, 0), 2.0, 7.0), other))
    sent = 0
    for process in (one, other):
        while process.room_in(2.0) <= 0:
            process.take(0, 2.0)
            sent += 1
    assert sent == 5


def test_what_a_killed_process_held_comes_back():
    dead, alive = Slice(5, 10), Slice(5, 10)
    dead.hold(next_lease({}, "dead", dead.lease((9, 0, 0, 0), 0.0, LEASE_SECONDS), dead))
    last = dead.lease((9, 0, 0, 0), 0.0, LEASE_SECONDS)
    assert last.places.held == 5
    assert next_lease({"dead": last}, "alive", alive.lease((3, 0, 0, 0), 5.9, 9), alive).places.held == 0
    assert not last.lapsed(5.9, steady=True)
    assert last.lapsed(6.0, steady=True)
    assert not last.lapsed(100.0, steady=False)  # it may live and not have reached Redis either
    assert next_lease({}, "alive", alive.lease((3, 0, 0, 0), 6.0, 9), alive).places.held == 3
