"""One trace through processes of their own: from the call at the gateway over Redis into the worker and to VergeOS."""

import asyncio

import pytest
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.conftest import eventually, free_port

pytestmark = pytest.mark.slow
CALLER = "b7ad6b7169203331"
MODERN = "2026-07-28"
ACT, CALL, STEP = "VergeOS POST vm_actions", "call power_off_vm", "step power_off"


def parent(trace):
    return f"00-{trace}-{CALLER}-01"


def over_mcp(vm, trace):
    """Return a tool call whose message names its parent, as MCP has it."""
    meta = {"traceparent": parent(trace), "io.modelcontextprotocol/protocolVersion": MODERN}
    meta["io.modelcontextprotocol/clientCapabilities"] = {}
    params = {"name": "power_off_vm", "arguments": {"id": vm}, "_meta": meta}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "power_off_vm"}
    headers["Accept"] = "application/json, text/event-stream"
    return "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers


def over_rest(vm, trace):
    return f"/vms/{vm}/poweroff", {}, {"traceparent": parent(trace)}


def whole(spans):
    """Tell whether the call, the act and the step that sent it have come."""
    named = {span.name: span for span in spans.values()}
    return CALL in named and ACT in named and named[ACT].parent_span_id.hex() in spans


async def test_a_call_over_mcp_or_rest_is_one_trace_with_the_steps_of_another_process(system):
    port, found = free_port(), {}
    calls = {"0af7651916cd43dd8448eb211c80319c": over_mcp, "1bf7651916cd43dd8448eb211c80319c": over_rest}
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap:

        async def collect():
            async for span in tap.stream_traces():
                found.setdefault(span.trace_id.hex(), {})[span.span_id.hex()] = span

        collecting = asyncio.create_task(collect())
        await system.gateway(**traced)
        await system.worker(**traced)
        vms = iter([vm["id"] for vm in (await system.call("GET", "/vms?running=true"))[1]])
        for trace, call in calls.items():
            path, body, headers = call(next(vms), trace)
            status, answer = await system.call("POST", path, body, headers)
            assert status in {200, 202}, answer
            await eventually(lambda trace=trace: whole(found.get(trace, {})))
        collecting.cancel()
    for trace in calls:
        spans = found[trace]
        (called,) = (span for span in spans.values() if span.name == CALL)
        assert called.parent_span_id.hex() == CALLER
        (acted,) = (span for span in spans.values() if span.name == ACT)
        step = spans[acted.parent_span_id.hex()]
        assert (step.name, step.parent_span_id) == (STEP, called.span_id)


async def test_without_an_endpoint_nothing_is_sent_though_a_receiver_listens_where_collectors_do(system):
    port, found = free_port(), set()
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap:

        async def collect():
            async for span in tap.stream_traces():
                found.add(span.name)

        collecting = asyncio.create_task(collect())
        elsewhere = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{port}/v1/traces"}
        await system.gateway(**elsewhere, OTEL_BSP_SCHEDULE_DELAY="50")
        await system.worker(**elsewhere, OTEL_BSP_SCHEDULE_DELAY="50")
        vm = (await system.call("GET", "/vms?running=true"))[1][0]["id"]
        path, body, headers = over_rest(vm, "0af7651916cd43dd8448eb211c80319c")
        _, job = await system.call("POST", path, body, headers)
        await system.ended(job["id"])
        for process in system.processes:
            process.popen.terminate()  # what it had to send it would send now
            await process.ended()
        collecting.cancel()
    assert found == set()
