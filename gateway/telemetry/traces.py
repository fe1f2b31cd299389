"""Traces through OpenTelemetry: off, and nothing of it imported, until `tracing` has an endpoint to send to."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from gateway.core.errors import GatewayError

PARENT_CHARACTERS = 55  # of a `traceparent` of version 00
EXPORT_SECONDS = 1.0  # what a stopping process gives a collector that does not answer
_NOTHING: AbstractContextManager[None] = nullcontext()
_tracer: Any = None
"""The tracer of the process while it traces. OpenTelemetry keeps its provider like this; ours can be put back."""


class CannotTrace(GatewayError):
    """Traces are asked for, and what sends them is not installed."""

    code = "wrong_settings"
    next_step = "Install vergeos-gateway[traces], or unset OTEL_EXPORTER_OTLP_ENDPOINT."


@contextmanager
def tracing(endpoint: str, service: str) -> Iterator[None]:
    """Send spans by OTLP over HTTP to `endpoint` while the block lasts; where it is empty there are none.

    `service` is the name unless OTEL_SERVICE_NAME gives one. Raises `CannotTrace`.
    """
    global _tracer
    if not endpoint:
        yield
        return
    provider = _provider(endpoint, service)
    _tracer = provider.get_tracer("vergeos-gateway")
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()  # sends what is left


def traced() -> bool:
    """Tell whether this process sends spans."""
    return _tracer is not None


def span(
    name: str, *, parent: str = "", kind: Literal["internal", "server", "client"] = "internal", **attributes: str | int
) -> AbstractContextManager[None]:
    """Return the context of one span; `parent` is a `traceparent`, without which the present span is its parent."""
    return _NOTHING if _tracer is None else _span(name, parent, kind, attributes)


def traceparent() -> str:
    """Return what makes later spans, in whichever process, children of the present one; empty without traces."""
    if _tracer is None:
        return ""
    return _carrier().get("traceparent", "")


def _carrier() -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


@contextmanager
def _span(name: str, parent: str, kind: str, attributes: dict[str, str | int]) -> Iterator[None]:
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = None
    if parent:  # what is no traceparent is as none
        above = TraceContextTextMapPropagator().extract({"traceparent": parent[:PARENT_CHARACTERS]})
    # An exception is told by its name alone: its text may hold what is nobody's business.
    with _tracer.start_as_current_span(
        name, above, SpanKind[kind.upper()], attributes, record_exception=False, set_status_on_exception=False
    ) as begun:
        try:
            yield
        except BaseException as exc:
            begun.set_status(Status(StatusCode.ERROR, getattr(exc, "code", None) or type(exc).__name__))
            raise


def _provider(endpoint: str, service: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise CannotTrace("OTEL_EXPORTER_OTLP_ENDPOINT is set, but what sends traces is not installed") from None
    named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or service}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
