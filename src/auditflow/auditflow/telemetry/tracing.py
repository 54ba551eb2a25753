"""Traces: one trace id from the HTTP request to the stored alert, as a W3C ``traceparent``.

Ids are always created and propagated, because logs contain them. Spans are recorded and exported
(OTLP over HTTP) only if OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set.
OpenTelemetry's other variables (OTEL_TRACES_SAMPLER, OTEL_BSP_..., headers, certificates) work as
OpenTelemetry documents them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import structlog
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from auditflow import release
from auditflow.errors import SettingsError

#: The maximum length of a header that carries a trace, in characters. Longer headers are ignored:
#: they would be copied into every message of the trace.
MAX_HEADER: Final = 512
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SUPPORTED_PROTOCOL: Final = "http/protobuf"

_propagator = TraceContextTextMapPropagator()
_FIELDS = frozenset(_propagator.fields)


def configure(service: str, *, environment: str = "local") -> None:
    """Set up the tracer of this process. Call it once, at the start.

    Raises:
        SettingsError: the variables name an unsupported exporter or protocol.
    """
    exported = is_exported(os.environ)
    resource = Resource.create(
        {
            "service.namespace": "auditflow",
            "service.name": service,
            "service.version": release.version(service),
            "deployment.environment.name": environment,
        }
    )
    if not exported:
        _unrecorded.provider = TracerProvider(sampler=ALWAYS_OFF, resource=resource)
        trace.set_tracer_provider(_unrecorded.provider)
        return
    # Imported here: most processes export nothing, and the exporter needs a tenth of their memory.
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
        SettingsError: the variables name an unsupported exporter or protocol.
    """
    named = any(environ.get(name) for name in _ENDPOINTS)
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if disabled or not named or exporter == "none":
        return False
    if exporter != "otlp":
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER: {exporter!r} is not supported; use otlp or none"
        )
    for name in _PROTOCOLS:
        if environ.get(name, _SUPPORTED_PROTOCOL) not in ("", _SUPPORTED_PROTOCOL):
            raise SettingsError(
                f"{name}: {environ[name]!r} is not supported; use {_SUPPORTED_PROTOCOL}"
            )
    return True


def headers() -> dict[str, str]:
    """The headers that propagate the current trace to the next process; empty without a trace."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def carrier(headers: Mapping[Any, Any] | None) -> dict[str, str]:
    """The headers of a message or a request that propagate its trace."""
    found = {name: headers.get(name) for name in _FIELDS} if headers else {}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, str) and 0 < len(value) <= MAX_HEADER and value.isascii()
    }


def from_wsgi(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a WSGI request that propagate its trace."""
    return carrier({name: environ.get(f"HTTP_{name.upper()}") for name in _FIELDS})


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
    """A span of work. It continues the trace in ``carrier``, or starts a new trace.

    ``began`` is the start time in nanoseconds since 1970, if the work started before this call.
    Log lines inside the span have its trace id, and ``correlation_id`` if it is given.
    """
    parent = _propagator.extract(carrier) if carrier else None
    bound = {"correlation_id": correlation_id} if correlation_id else {}
    provider = trace.get_tracer_provider()
    if provider is _unrecorded.provider:
        token = context.attach(trace.set_span_in_context(_unrecorded.span(parent), parent))
        try:
            with structlog.contextvars.bound_contextvars(**bound):
                yield trace.get_current_span()
        finally:
            context.detach(token)
        return
    with (
        _tracer(provider).start_as_current_span(
            name, context=parent, kind=kind, start_time=began, attributes=attributes
        ) as current,
        structlog.contextvars.bound_contextvars(**bound),
    ):
        if correlation_id:
            current.set_attribute("auditflow.correlation_id", correlation_id)
        yield current


class _Unrecorded:
    """Spans that are only propagated, as a provider with ALWAYS_OFF makes them, at a lower cost."""

    def __init__(self) -> None:
        #: The provider that ``configure`` made if nothing is exported.
        self.provider: TracerProvider | None = None
        self._ids = RandomIdGenerator()

    def span(self, parent: Context | None) -> Span:
        before = trace.get_current_span(parent).get_span_context()
        return trace.NonRecordingSpan(
            trace.SpanContext(
                before.trace_id if before.is_valid else self._ids.generate_trace_id(),
                self._ids.generate_span_id(),
                is_remote=False,
                trace_state=before.trace_state,
            )
        )


_unrecorded = _Unrecorded()


@lru_cache(1)
def _tracer(provider: trace.TracerProvider) -> Tracer:
    return provider.get_tracer("auditflow")
