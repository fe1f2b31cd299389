"""What the figures count, and that their labels stay few."""

import asyncio
import re
import time

import pytest
from prometheus_client import generate_latest

from gateway.core.access import LOCAL, Caller, CallerKind
from gateway.core.job import Condition, Job, JobState, Problem, Target
from gateway.core.step import Seen
from gateway.core.wishes import ForceOff, PowerOn, Resize
from gateway.telemetry.loop import watched_loop
from gateway.telemetry.metrics import MOST_CALLERS, PREFIX, Metrics
from worker.changes import left_off


@pytest.fixture
def metrics():
    return Metrics()


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"{PREFIX}_{name}", labels)


def job(**more):
    target = Target(key=7, machine_key=8, name="web-1", uuid="u")
    times = {"created_at": 100.0, "progress_at": 100.0, "updated_at": 100.0}
    facts = {"id": "j", "site": "s", "tool": "modify_vm", "arguments": {}, "wish": Resize(cpu_cores=2)}
    return Job(**{**facts, "target": target, "owner": "ann", "face": "rest", **times, **more})


def call(metrics, caller):
    metrics.called("list_vms", "rest", caller, "ok", 0.001)


def test_callers_have_a_series_each_up_to_a_hundred_and_the_rest_share_one(metrics):
    for number in range(MOST_CALLERS + 20):
        call(metrics, Caller(f"caller-{number}", kind=CallerKind.AGENT))
    call(metrics, Caller("caller-0", kind=CallerKind.AGENT))
    assert value(metrics, "caller_calls_total", caller="caller-0", kind="agent") == 2
    assert value(metrics, "caller_calls_total", caller="other", kind="agent") == 20
    assert value(metrics, "caller_calls_total", caller=f"caller-{MOST_CALLERS}", kind="agent") is None


def test_a_call_is_counted_with_its_time_and_the_age_of_its_answer(metrics):
    for seconds in (0.001, 0.002, 100.0):
        metrics.called("list_vms", "rest", LOCAL, "ok", seconds)
    metrics.answered("stale", 45.0)
    assert value(metrics, "calls_total", tool="list_vms", face="rest", outcome="ok") == 3
    timed = {"tool": "list_vms", "face": "rest"}
    spread = [
        value(metrics, "call_duration_seconds_bucket", le=le, **timed) for le in ("0.001", "0.0025", "60.0", "+Inf")
    ]
    assert spread == [1, 2, 2, 3]
    assert value(metrics, "call_duration_seconds_count", **timed) == 3
    assert value(metrics, "call_duration_seconds_sum", **timed) == pytest.approx(100.003)
    assert value(metrics, "answer_age_seconds_bucket", source="stale", le="30.0") == 0
    assert value(metrics, "answer_age_seconds_bucket", source="stale", le="60.0") == 1


def test_open_jobs_show_their_number_and_the_oldest_and_zeros_where_there_is_none(metrics):
    asking, working = JobState.INPUT_REQUIRED, JobState.WORKING
    metrics.show_open({("resize", working): 2, ("resize", asking): 1}, {working: 60.0, asking: 10.0})
    assert value(metrics, "jobs_open", kind="resize", state="working") == 2
    assert value(metrics, "oldest_open_job_seconds", state="working") == 60.0
    assert value(metrics, "oldest_open_job_seconds", state="input_required") == 10.0
    metrics.show_open({("resize", working): 0, ("resize", asking): 0}, {working: 0.0, asking: -0.1})
    assert value(metrics, "jobs_open", kind="resize", state="working") == 0
    assert value(metrics, "oldest_open_job_seconds", state="input_required") == 0.0


def test_a_failed_job_counts_with_its_cause(metrics):
    trouble = Problem(code="no_room", detail="", next_step="")
    metrics.ended(job(state=JobState.FAILED, trouble=trouble), 130.0, left_off=True)
    assert value(metrics, "jobs_failed_total", kind="resize", code="no_room") == 1
    assert value(metrics, "jobs_left_off_total") == 1
    assert value(metrics, "job_duration_seconds_sum", kind="resize") == 30.0


@pytest.mark.parametrize(
    ("more", "running", "left"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"state": JobState.COMPLETED}, False, False),
        ({"wish": ForceOff()}, False, False),
        ({"wish": PowerOn(), "before": Condition(running=False, started_at=None)}, False, False),
    ],
)
def test_left_off_is_what_ran_before_and_was_not_meant_to_end(more, running, left):
    facts = {"state": JobState.FAILED, "before": Condition(running=True, started_at=1.0), **more}
    seen = Seen(at=1.0, running=running, status="", started_at=None)
    assert left_off(job(**facts), seen) is left


async def test_a_loop_that_is_held_up_is_seen(monkeypatch):
    late = []
    monkeypatch.setattr("gateway.telemetry.loop.SLEEP_SECONDS", 0.01)
    heard = asyncio.Event()
    async with watched_loop(lambda delay: (late.append(delay), heard.set())):
        await heard.wait()
        time.sleep(0.06)  # noqa: ASYNC251  this is what is to be seen
        heard.clear()
        await heard.wait()
    assert max(late) > 0.03


def test_every_name_has_the_prefix_and_no_label_names_an_object(metrics):
    text = generate_latest(metrics.registry).decode()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert len(names) > 30
    assert all(name.startswith(f"{PREFIX}_") for name in names)
    labels = {
        label
        for metric in metrics.registry._names_to_collectors.values()
        for label in getattr(metric, "_labelnames", ())
    }
    assert not labels & {"vm", "job", "id", "name", "key"}


PROMISED = {
    "calls by tool, face and outcome": {"calls": {"tool", "face", "outcome"}},
    "durations": {"call_duration_seconds": {"tool", "face"}, "vergeos_request_duration_seconds": {"endpoint"}},
    "VergeOS requests by endpoint class and outcome": {"vergeos_requests": {"endpoint", "outcome"}},
    "budget headroom by limit": {"budget_left": {"limit"}, "budget_limit": {"limit"}},
    "views hits, misses, stale": {"view_reads": {"view", "source"}},
    "flights shared": {"view_flights_shared": {"view"}},
    "age served": {"answer_age_seconds": {"source"}},
    "jobs by kind and state": {"jobs_open": {"kind", "state"}, "jobs_ended": {"kind", "state"}},
    "step and job durations": {"job_step_duration_seconds": set(), "job_duration_seconds": {"kind"}},
    "queue lag, ready, deferred": {
        "queue_lag_seconds": set(),
        "queue_ready_steps": set(),
        "queue_deferred_steps": set(),
    },
    "oldest": {"oldest_open_job_seconds": {"state"}},
    "fenced saves": {"job_steps": {"outcome"}},
    "swept, leader": {"jobs_swept": set(), "leader_alive": set(), "workers_alive": set()},
    "sessions, SSE listeners": {"mcp_sessions": set(), "mcp_streams": set(), "event_followers": set()},
    "dropped": {"event_followers_dropped": set()},
    "auth and policy outcomes": {"authentications": {"outcome"}, "limit_refusals": {"limit"}},
    "event-loop delay": {"event_loop_delay_seconds": set()},
    "build info": {"build_info": {"version"}},
    "callers": {"caller_calls": {"caller", "kind"}},
}
"""What a team was promised to see, in the words of the promise: metrics with their labels."""


@pytest.mark.parametrize("words", PROMISED)
def test_what_was_promised_is_there_with_its_labels(metrics, words):
    labels = {
        metric._name: set(getattr(metric, "_labels", getattr(metric, "_labelnames", ())))
        for metric in metrics.registry._collector_to_names
        if hasattr(metric, "_name")
    }
    for name, wanted in PROMISED[words].items():
        assert labels[f"{PREFIX}_{name}"] == wanted, name


def test_the_first_job_of_a_kind_to_fail_is_a_rise(metrics):
    assert value(metrics, "jobs_ended_total", kind="resize", state="failed") == 0
    assert value(metrics, "job_steps_total", outcome="fenced") == 0
    assert value(metrics, "jobs_left_off_total") == 0
