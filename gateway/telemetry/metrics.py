"""Every metric, with its labels from closed sets: never a VM or a job; callers by name, and not too many of them."""

from collections import Counter as Occurrences
from collections.abc import Iterable, Mapping
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from gateway import __version__
from gateway.core.access import Caller
from gateway.core.decide import DECIDERS
from gateway.core.job import Job, JobState
from gateway.telemetry.tallies import Count, Counts, Spread, Spreads

PREFIX = "vergeos_gateway"
AGE_SECONDS = (0.0, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
UPSTREAM_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LOOP_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
MOST_CALLERS = 100  # with a series of their own; the calls of all others are counted as OTHER
OTHER = "other"
FROZEN_BY = ("freeze", "setting")
STEP_OUTCOMES = ("ended", "waiting", "moved", "fenced", "timeout", "newer", "store", "error")
MOST_AT_HAND = 10_000  # tools by faces, callers and outcomes whose series are not looked up each time
JOB_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, *, platform: bool = False) -> None:
        self.registry = CollectorRegistry()
        self.platform = PlatformMetrics(self.registry) if platform else None
        self._declare_calls(self.registry)
        self._declare_vergeos(self.registry)
        self._declare_jobs(self.registry)
        self._declare_queue(self.registry)
        self._declare_listeners(self.registry)
        self._declare_process(self.registry)
        self._callers: dict[str, str] = {}
        self._ages: dict[str, Spread] = {}
        self._called: dict[tuple[str, str, str, str], tuple[Count, Count, Spread]] = {}

    def _declare_calls(self, registry: CollectorRegistry) -> None:
        self.calls = Counts(f"{PREFIX}_calls", "Calls of tools.", ["tool", "face", "outcome"], registry)
        self.call_seconds = Spreads(
            f"{PREFIX}_call_duration_seconds", "Time of a call.", ["tool", "face"], CALL_SECONDS, registry
        )
        self.answer_age = Spreads(
            f"{PREFIX}_answer_age_seconds",
            "Time since VergeOS was asked for what was answered.",
            ["source"],
            AGE_SECONDS,
            registry,
        )
        self.caller_calls = Counts(
            f"{PREFIX}_caller_calls",
            f"Calls by who made them; past {MOST_CALLERS} callers `{OTHER}`.",
            ["caller", "kind"],
            registry,
        )
        proofs = Counts(
            f"{PREFIX}_authentications", "Callers who proved who they are, or could not.", ["outcome"], registry
        )
        self.known_callers, self.unknown_callers = proofs.labels("ok"), proofs.labels("unauthorized")
        self.refusals = Counter(
            f"{PREFIX}_limit_refusals",
            "Calls and waits that were too many for one caller.",
            ["limit"],
            registry=registry,
        )
        for limit in ("calls", "waits"):
            self.refusals.labels(limit)

    def _declare_vergeos(self, registry: CollectorRegistry) -> None:
        self.upstream = Counter(
            f"{PREFIX}_vergeos_requests", "Requests sent to VergeOS.", ["endpoint", "outcome"], registry=registry
        )
        self.budget_spent = Counter(
            f"{PREFIX}_budget_spent_requests",
            "Requests sent to VergeOS, by who spent them.",
            ["kind"],
            registry=registry,
        )
        self.budget_limit = Gauge(
            f"{PREFIX}_budget_limit", "Limit of requests to VergeOS; 0 = none.", ["limit"], registry=registry
        )
        self.budget_left = Gauge(
            f"{PREFIX}_budget_left", "What is left of a limit over all processes.", ["limit"], registry=registry
        )
        self.circuit_open = Gauge(
            f"{PREFIX}_circuit_open",
            "1 while nobody asks VergeOS because it failed again and again.",
            registry=registry,
        )
        self.upstream_seconds = Histogram(
            f"{PREFIX}_vergeos_request_duration_seconds",
            "Time of a request to VergeOS.",
            ["endpoint"],
            buckets=UPSTREAM_SECONDS,
            registry=registry,
        )
        self.blind = Gauge(
            f"{PREFIX}_vergeos_unseen_seconds", "Since when VergeOS cannot be seen; 0 = it can.", registry=registry
        )
        self.reads = Counts(f"{PREFIX}_view_reads", "Reads of views.", ["view", "source"], registry)
        self.flights_shared = Counts(
            f"{PREFIX}_view_flights_shared", "Reads of views that joined one under way.", ["view"], registry
        )

    def _declare_jobs(self, registry: CollectorRegistry) -> None:
        self.jobs_ended = Counter(f"{PREFIX}_jobs_ended", "Jobs that ended.", ["kind", "state"], registry=registry)
        # The first of a kind is a rise only where there was a zero before it.
        for kind, state in product(DECIDERS, (state for state in JobState if state.final)):
            self.jobs_ended.labels(kind, state.value)
        self.jobs_failed = Counter(
            f"{PREFIX}_jobs_failed", "Jobs that failed, by cause.", ["kind", "code"], registry=registry
        )
        self.left_off = Counter(
            f"{PREFIX}_jobs_left_off", "Jobs that found a VM running and left it off unasked.", registry=registry
        )
        self.job_seconds = Histogram(
            f"{PREFIX}_job_duration_seconds",
            "From submit to end of a job.",
            ["kind"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self.jobs_open = Gauge(f"{PREFIX}_jobs_open", "Jobs that have not ended.", ["kind", "state"], registry=registry)
        self.audit_entries = Counter(f"{PREFIX}_audit_entries", "Entries of the audit.", ["event"], registry=registry)
        self.steps = Counter(f"{PREFIX}_job_steps", "Steps of jobs.", ["outcome"], registry=registry)
        for outcome in STEP_OUTCOMES:
            self.steps.labels(outcome)
        self.step_seconds = Histogram(
            f"{PREFIX}_job_step_duration_seconds", "Time of one step.", buckets=UPSTREAM_SECONDS, registry=registry
        )

    def _declare_queue(self, registry: CollectorRegistry) -> None:
        self.swept = Counter(f"{PREFIX}_jobs_swept", "Jobs whose lost step was queued again.", registry=registry)
        self.queue_lag = Gauge(f"{PREFIX}_queue_lag_seconds", "Age of the oldest step that is due.", registry=registry)
        self.queue_ready = Gauge(f"{PREFIX}_queue_ready_steps", "Steps that are due.", registry=registry)
        self.queue_deferred = Gauge(f"{PREFIX}_queue_deferred_steps", "Steps that are due later.", registry=registry)
        self.oldest_job = Gauge(
            f"{PREFIX}_oldest_open_job_seconds", "Age of the oldest open job.", ["state"], registry=registry
        )
        self.leader = Gauge(f"{PREFIX}_leader_alive", "1 while a worker watches and sweeps.", registry=registry)
        self.workers = Gauge(f"{PREFIX}_workers_alive", "Workers with a fresh heartbeat.", registry=registry)
        self.frozen = Gauge(
            f"{PREFIX}_changes_frozen", "1 while no change is accepted, by what stops them.", ["by"], registry=registry
        )

    def _declare_listeners(self, registry: CollectorRegistry) -> None:
        self.followers = Gauge(f"{PREFIX}_event_followers", "Who follows a job's events now.", registry=registry)
        self.followers_dropped = Counter(
            f"{PREFIX}_event_followers_dropped", "Followers cut off for reading too slowly.", registry=registry
        )
        self.sessions = Gauge(f"{PREFIX}_mcp_sessions", "MCP sessions known to this process.", registry=registry)
        self.streams = Gauge(f"{PREFIX}_mcp_streams", "MCP sessions that listen on a stream here.", registry=registry)

    def _declare_process(self, registry: CollectorRegistry) -> None:
        build = Gauge(f"{PREFIX}_build_info", "The running version; always 1.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        self.loop_delay = Histogram(
            f"{PREFIX}_event_loop_delay_seconds",
            "How late the event loop wakes a sleeper.",
            buckets=LOOP_SECONDS,
            registry=registry,
        )
        ProcessCollector(namespace=PREFIX, registry=registry)

    def called(self, tool: str, face: str, caller: Caller, outcome: str, seconds: float) -> None:
        """Count one call; `outcome` is "ok" or the code of its error. Series are looked up once and kept at hand."""
        found = self._called.get((tool, face, caller.name, outcome))
        if found is None:
            found = (
                self.calls.labels(tool, face, outcome),
                self.caller_calls.labels(self._label_of(caller.name), caller.kind.value),
                self.call_seconds.labels(tool, face),
            )
            if len(self._called) < MOST_AT_HAND:
                self._called[tool, face, caller.name, outcome] = found
        calls, callers, duration = found
        calls.value += 1
        callers.value += 1
        duration.add(seconds)

    def limited(self, limit: str) -> None:
        """Count one refusal by a caller's limit, of "calls" or of "waits"."""
        self.refusals.labels(limit).inc()

    def show_freeze(self, by: str | None) -> None:
        """Show what stops all changes, one of `FROZEN_BY`; None = nothing."""
        for cause in FROZEN_BY:
            self.frozen.labels(cause).set(cause == by)

    def show_open(self, counts: Mapping[tuple[str, JobState], int], ages: Mapping[JobState, float]) -> None:
        """Show how many jobs are open by kind and state, and how many seconds the oldest is in its state."""
        for (kind, state), count in counts.items():
            self.jobs_open.labels(kind, state.value).set(count)
        for state, age in ages.items():
            self.oldest_job.labels(state.value).set(max(age, 0.0))

    def ended(self, job: Job, now: float, *, left_off: bool) -> None:
        """Count the end of a job at `now`, with its cause where it failed."""
        self.jobs_ended.labels(job.wish.kind, job.state.value).inc()
        self.job_seconds.labels(job.wish.kind).observe(max(now - job.created_at, 0.0))
        if job.state is JobState.FAILED and job.trouble is not None:
            self.jobs_failed.labels(job.wish.kind, job.trouble.code).inc()
        if left_off:
            self.left_off.inc()

    def _label_of(self, caller: str) -> str:
        """Return the caller's name, or `OTHER` where so many have a series of their own already."""
        if caller not in self._callers and len(self._callers) < MOST_CALLERS:
            self._callers[caller] = caller
        return self._callers.get(caller, OTHER)

    def read(self, view: str, source: str) -> None:
        """Count one read of a view."""
        self.reads.labels(view, source).value += 1

    def shared(self, view: str) -> None:
        """Count one read of a view that joined one under way."""
        self.flights_shared.labels(view).value += 1

    def answered(self, source: str, age_seconds: float) -> None:
        """Count one answer that was made of what VergeOS told so long ago."""
        (self._ages.get(source) or self._ages.setdefault(source, self.answer_age.labels(source))).add(age_seconds)

    def audited(self, event: str) -> None:
        """Count one entry of the audit."""
        self.audit_entries.labels(event).inc()

    def sent(self, endpoint: str, outcome: str, seconds: float, kind: str) -> None:
        """Count one request to VergeOS."""
        self.budget_spent.labels(kind).inc()
        self.upstream.labels(endpoint, outcome).inc()
        self.upstream_seconds.labels(endpoint).observe(seconds)


class PlatformMetrics:
    """The platform as our own reads show it, for teams without the VergeOS exporter; these names are that one's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str, label: str) -> Gauge:
            return Gauge(f"vergeos_{name}", words, [label], registry=registry)

        self.vms = gauge("vms", "VMs by state.", "state")
        self.nodes = gauge("nodes", "Nodes by state.", "state")
        self.tier_used_bytes = gauge("tier_used_bytes", "Used part of a storage tier.", "tier")
        self.tier_capacity_bytes = gauge("tier_capacity_bytes", "Size of a storage tier.", "tier")
        self.alarms = gauge("alarms", "Alarms that are raised, by level.", "level")

    @staticmethod
    def counted(gauge: Gauge, values: Iterable[str]) -> None:
        """Show how often each value comes, in place of what was shown before."""
        gauge.clear()
        for value, times in Occurrences(values).items():
            gauge.labels(value).set(times)
