"""Traces: one id from the HTTP request to the stored alert, in W3C ``traceparent`` form.

Ids are made and passed on always, since logs carry them. Spans are recorded and exported, by OTLP
over HTTP, only where OpenTelemetry's own variables name a collector: OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. Its other variables (OTEL_TRACES_SAMPLER, OTEL_BSP_..., headers,
certificates) work as OpenTelemetry describes them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from auditflow import release
from auditflow.errors import SettingsError

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN: Final = "http/protobuf"

_propagator = TraceContextTextMapPropagator()
_FIELDS = frozenset(_propagator.fields)


def configure(service: str, *, environment: str = "local") -> None:
    """Set up the process' tracer. Once, at start.

    Raises:
        SettingsError: the variables ask for an exporter or a protocol that is not there.
    """
    wanted = is_exported(os.environ)
    resource = Resource.create(
        {
            "service.namespace": "auditflow",
            "service.name": service,
            "service.version": release.version(service),
            "deployment.environment.name": environment,
        }
    )
    if not wanted:
        trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF, resource=resource))
        return
    # Here and not above: most processes export nothing, and this is a tenth of their memory.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def is_exported(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables name a collector for traces.

    Raises:
        SettingsError: they ask for an exporter or a protocol that is not there.
    """
    named = any(environ.get(name) for name in _ENDPOINTS)
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if disabled or not named or exporter == "none":
        return False
    if exporter != "otlp":
        raise SettingsError(f"OTEL_TRACES_EXPORTER: {exporter!r} is not there; say otlp or none")
    for name in _PROTOCOLS:
        if environ.get(name, _SPOKEN) not in ("", _SPOKEN):
            raise SettingsError(f"{name}: {environ[name]!r} is not there; say {_SPOKEN}")
    return True


def headers() -> dict[str, str]:
    """The headers that carry the current trace to the next process (none outside a trace)."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def carrier(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """The part of a message's headers that carries its trace."""
    if not headers:
        return {}
    found = {name: headers.get(name) for name in _FIELDS}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def from_wsgi(environ: Mapping[str, Any]) -> dict[str, str]:
    """The part of a WSGI request's headers that carries its trace."""
    found = {name: environ.get(f"HTTP_{name.upper()}") for name in _propagator.fields}
    return {name: value for name, value in found.items() if value}


@contextmanager
def span(
    name: str,
    *,
    carrier: Mapping[str, str] | None = None,
    correlation_id: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    began: int | None = None,
    **attributes: str | int,
) -> Iterator[Span]:
    """A piece of work. It continues the trace in ``carrier``, or begins one where there is none.

    ``began`` (nanoseconds since 1970) is for work that began before it was known whose it is.
    """
    context = _propagator.extract(carrier) if carrier else None
    bound = {"correlation_id": correlation_id} if correlation_id else {}
    with (
        trace.get_tracer("auditflow").start_as_current_span(
            name, context=context, kind=kind, start_time=began, attributes=attributes
        ) as current,
        structlog.contextvars.bound_contextvars(**bound),
    ):
        if correlation_id:
            current.set_attribute("auditflow.correlation_id", correlation_id)
        yield current
