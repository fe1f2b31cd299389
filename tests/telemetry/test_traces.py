"""Traces, received by a real OTLP receiver: one from the call over the job's record into steps and requests."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import Any

import pytest
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from gateway.telemetry import traces
from gateway.telemetry.traces import tracing
from tests.conftest import eventually, fast_settings, free_port
from tests.journeys.inprocess import house

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


WHOLE = {"call power_off_vm", "step power_off", "VergeOS POST vm_actions"}


@asynccontextmanager
async def receiver(monkeypatch):
    """Trace into a receiver during the block; yield what has come of `TRACE`, by span id."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    port = free_port()
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap:
        found: dict[bytes, Any] = {}

        async def collect():
            async for span in tap.stream_traces():  # what comes before somebody reads is lost
                if span.trace_id.hex() == TRACE:
                    found[span.span_id] = span

        collecting = asyncio.create_task(collect())
        with tracing(f"http://127.0.0.1:{port}", "vergeos-gateway"):
            yield found
        collecting.cancel()


async def complete(found):
    """Wait until the spans of the whole trace have come."""
    await eventually(lambda: {span.name for span in found.values()} >= WHOLE)


async def test_a_call_its_job_s_steps_and_their_requests_are_one_trace(sim, redis_url, monkeypatch):
    async with receiver(monkeypatch) as found, house(sim, fast_settings(sim.url, redis_url)) as served:
        job = await served.power_off(sim.vm("web-1"), headers={"traceparent": PARENT})
        await complete(found)
        record = await served.services.jobs.get(job["id"])
    call = next(span for span in found.values() if span.name == "call power_off_vm")
    assert call.parent_span_id.hex() == SPAN
    assert record.traceparent == f"00-{TRACE}-{call.span_id.hex()}-01"
    steps = [span for span in found.values() if span.name.startswith("step")]
    assert {span.parent_span_id for span in steps} == {call.span_id}
    asked = next(span for span in found.values() if span.name == "VergeOS POST vm_actions")
    assert found[asked.parent_span_id].name == "step power_off"


async def test_the_parent_that_a_message_names_is_honoured_before_its_request_s(sim, redis_url, monkeypatch):
    async with receiver(monkeypatch) as found, house(sim, fast_settings(sim.url, redis_url)) as served:
        named = {"traceparent": PARENT}
        params = {"name": "power_off_vm", "arguments": {"id": "web-1"}, "_meta": named}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        other = {"traceparent": PARENT.replace("0af7", "1bf7")}
        assert (await served.call("POST", "/message", body, other)).status == 200
        await complete(found)


def test_without_an_endpoint_there_are_no_spans_and_nothing_is_imported():
    with tracing("", "vergeos-gateway"), traces.span("call x", parent=PARENT):
        assert traces.traceparent() == ""
    script = (
        "import sys, gateway.processes\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.') "
        "and name.split('.')[1] in ('sdk', 'exporter')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


async def test_a_parent_that_is_none_begins_a_trace_of_its_own(monkeypatch):
    with tracing(f"http://127.0.0.1:{free_port()}", "x"):
        for parent in ("nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "x" * 10_000):
            with traces.span("call x", parent=parent):
                assert len(traces.traceparent()) == traces.PARENT_CHARACTERS
                assert "0" * 32 not in traces.traceparent()


def test_an_exception_is_told_by_its_code_alone():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traces._tracer = provider.get_tracer("t")
    try:
        with pytest.raises(ValueError), traces.span("call x"):
            raise ValueError("a password")
    finally:
        traces._tracer = None
        provider.shutdown()
    (span,) = kept.get_finished_spans()
    assert (span.status.description, span.events) == ("ValueError", ())
