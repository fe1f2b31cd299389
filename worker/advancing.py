"""One step of one job, whatever becomes of it: within its time, in its trace, with one line and one outcome told."""

import asyncio
import logging
import time
from contextlib import suppress

from gateway.core.errors import NewerRecord, StoreError
from gateway.core.spender import Kind, Spender
from gateway.core.trail import Sent, kept
from gateway.services import Services
from gateway.store.jobs import Fenced, Moved
from gateway.telemetry import logs, traces
from gateway.vergeos import spending
from worker.changes import spread
from worker.steps import AT_ONCE_SECONDS, StepRun

NEWER_SECONDS = 1.0  # a job that only a newer worker understands is put back for it
LOOKING = Spender(Kind.LOOK)

LEVELS = {"waiting": logging.DEBUG, "timeout": logging.WARNING, "store": logging.WARNING, "error": logging.ERROR}
"""Of the line of a step by its outcome: a job that waits looks often, and nothing happened."""

log = logs.get_logger(__name__)


async def advance(services: Services, job_id: str) -> float | None:
    """Take one step of a job; return in how many seconds it wants the next one, None when it has ended.

    Raises nothing but cancellation: whatever goes wrong is tried again, and only the decider ends a job.
    """
    times, began, outcome = services.settings.times, time.perf_counter(), "error"
    due: float | None = times.backoff_last
    with logs.bound(site=services.keys.site, job=job_id), spending.bound(LOOKING):
        try:
            with kept() as sent:
                due = await _step(services, job_id, sent)
            outcome = "ended" if due is None else "waiting"
        except Moved:
            due, outcome = AT_ONCE_SECONDS, "moved"
        except Fenced:
            due, outcome = times.fallback, "fenced"
        except TimeoutError:
            due, outcome = AT_ONCE_SECONDS, "timeout"
        except NewerRecord:
            due, outcome = spread(NEWER_SECONDS), "newer"
        except StoreError:
            due, outcome = times.backoff_first, "store"
        except Exception:
            log.exception("step failed")
        seconds = time.perf_counter() - began
        logs.line(LEVELS.get(outcome, logging.INFO), "step", outcome=outcome, seconds=round(seconds, 6))
    services.metrics.steps.labels(outcome).inc()
    services.metrics.step_seconds.observe(seconds)
    return due


async def _step(services: Services, job_id: str, sent: list[Sent]) -> float | None:
    """Take the step within its time, in the trace of the call that made the job.

    What it sent to VergeOS is told even where nothing else of it could be saved.
    """
    try:
        async with asyncio.timeout(services.settings.times.step):
            held = await services.jobs.hold(job_id)
            if held is None:
                return None
            with traces.span(f"step {held.job.wish.kind}", parent=held.job.traceparent, job=job_id):
                return await StepRun(services, held, sent).advance()
    finally:
        with suppress(StoreError):
            await _tell_rest(services, job_id, sent)


async def _tell_rest(services: Services, job_id: str, sent: list[Sent]) -> None:
    if sent:
        clock = await services.jobs.now() - time.monotonic()
        await services.jobs.note_calls(job_id, [request.call(clock) for request in sent])
