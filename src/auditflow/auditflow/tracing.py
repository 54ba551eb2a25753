"""Trace context: one id from the HTTP request to the stored alert, in W3C ``traceparent`` form.

Ids are made and passed on always, since logs carry them. Nothing is recorded or exported.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()


def configure(service: str) -> None:
    """Set up the process' tracer. Once, at start."""
    resource = Resource.create({"service.name": service})
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF, resource=resource))


def headers() -> dict[str, str]:
    """The headers that carry the current trace to the next process (none outside a trace)."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def carrier(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """The part of a message's headers that carries its trace."""
    found = {name: (headers or {}).get(name) for name in _propagator.fields}
    return {name: value for name, value in found.items() if isinstance(value, str)}


@contextmanager
def span(
    name: str, *, carrier: Mapping[str, str] | None = None, correlation_id: str | None = None
) -> Iterator[None]:
    """A piece of work. It continues the trace in ``carrier``, or begins one where there is none."""
    context = _propagator.extract(carrier) if carrier else None
    bound = {"correlation_id": correlation_id} if correlation_id else {}
    with (
        trace.get_tracer("auditflow").start_as_current_span(name, context=context),
        structlog.contextvars.bound_contextvars(**bound),
    ):
        yield
