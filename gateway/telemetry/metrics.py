"""Every metric, with its labels from closed sets: never a VM, a job or a user."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway import __version__
from gateway.core.errors import GatewayError

PREFIX = "vergeos_gateway"
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
UPSTREAM_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
JOB_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400)


class Outcome:
    """How a call ended, for its label; a call that ends in no other way has failed."""

    def __init__(self) -> None:
        self.label = "internal"

    def ok(self) -> None:
        """The call was answered as it was asked."""
        self.label = "ok"


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        build = Gauge(f"{PREFIX}_build_info", "The running version; always 1.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        self.calls = Counter(f"{PREFIX}_calls", "Calls of tools.", ["tool", "face", "outcome"], registry=registry)
        self.call_seconds = Histogram(
            f"{PREFIX}_call_duration_seconds",
            "Time of a call.",
            ["tool", "face"],
            buckets=CALL_SECONDS,
            registry=registry,
        )
        self.upstream = Counter(
            f"{PREFIX}_vergeos_requests", "Requests sent to VergeOS.", ["endpoint", "outcome"], registry=registry
        )
        self.upstream_seconds = Histogram(
            f"{PREFIX}_vergeos_request_duration_seconds",
            "Time of a request to VergeOS.",
            ["endpoint"],
            buckets=UPSTREAM_SECONDS,
            registry=registry,
        )
        self.reads = Counter(f"{PREFIX}_view_reads", "Reads of views.", ["view", "source"], registry=registry)
        self.jobs_ended = Counter(f"{PREFIX}_jobs_ended", "Jobs that ended.", ["kind", "state"], registry=registry)
        self.job_seconds = Histogram(
            f"{PREFIX}_job_duration_seconds",
            "From submit to end of a job.",
            ["kind"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self.jobs_open = Gauge(f"{PREFIX}_jobs_open", "Jobs that have not ended.", ["kind", "state"], registry=registry)
        self.steps = Counter(f"{PREFIX}_job_steps", "Steps of jobs.", ["outcome"], registry=registry)
        self.step_seconds = Histogram(
            f"{PREFIX}_job_step_duration_seconds", "Time of one step.", buckets=UPSTREAM_SECONDS, registry=registry
        )
        self.swept = Counter(f"{PREFIX}_jobs_swept", "Jobs whose lost step was queued again.", registry=registry)
        self.queue_lag = Gauge(f"{PREFIX}_queue_lag_seconds", "Age of the oldest step that is due.", registry=registry)
        self.queue_ready = Gauge(f"{PREFIX}_queue_ready_steps", "Steps that are due.", registry=registry)
        self.workers = Gauge(f"{PREFIX}_workers_alive", "Workers with a fresh heartbeat.", registry=registry)
        self.blind = Gauge(
            f"{PREFIX}_vergeos_unseen_seconds", "Since when VergeOS cannot be seen; 0 = it can.", registry=registry
        )
        self.followers = Gauge(f"{PREFIX}_event_followers", "Who follows a job's events now.", registry=registry)

    @contextmanager
    def timed_call(self, tool: str, face: str) -> Iterator[Outcome]:
        """Count one call and its time; a `GatewayError` counts under its code."""
        outcome, began = Outcome(), time.perf_counter()
        try:
            yield outcome
        except GatewayError as exc:
            outcome.label = exc.code
            raise
        finally:
            self.calls.labels(tool, face, outcome.label).inc()
            self.call_seconds.labels(tool, face).observe(time.perf_counter() - began)

    def sent(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count one request to VergeOS."""
        self.upstream.labels(endpoint, outcome).inc()
        self.upstream_seconds.labels(endpoint).observe(seconds)
