"""The metrics of every service, and their registry.

docs/reference/metrics.md lists all metrics with their labels. A test compares it with the services.
"""

from collections.abc import Iterable
from typing import Final

import prometheus_client
from opentelemetry import trace
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from auditflow import release
from auditflow.http.health import Health
from auditflow.settings import ServiceSettings

#: Routes that are not measured: programs request them often, and people do not.
OPERATIONAL_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
#: The route label of all requests that match no route.
NO_ROUTE: Final = "none"


def create_registry(service: str, settings: ServiceSettings) -> CollectorRegistry:
    """The registry of a process, with the metrics of the Python client and the build.

    ``service`` is the name of the service.
    """
    # Nothing uses the creation times of counters, and they double the number of series.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    made = CollectorRegistry()
    prometheus_client.ProcessCollector(registry=made)
    prometheus_client.PlatformCollector(registry=made)
    prometheus_client.GCCollector(registry=made)
    build = Gauge(
        "auditflow_build_info",
        "Always 1. The labels are the release and the commit of the build.",
        ["service", "version", "revision"],
        registry=made,
    )
    build.labels(service, release.version(service), settings.auditflow_revision).set(1)
    return made


class HttpMetrics:
    """The requests of a service: their number, their failures and their duration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "auditflow_http_request_duration_seconds",
            "Time from a request to its response, by route template and class of status code.",
            ["route", "code"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )

    def observe(self, route: str | None, status: int, seconds: float) -> None:
        """Record a response. ``route`` is the template of the route; None if no route matched."""
        if route not in OPERATIONAL_ROUTES:
            labels = route or NO_ROUTE, f"{status // 100}xx"
            self._seconds.labels(*labels).observe(seconds, exemplar())


class Dependencies(Collector):
    """The states of ``/readyz`` as a metric."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "auditflow_dependency_up",
            "1 while /readyz reports the dependency as up.",
            labels=["dependency"],
        )
        for name, dependency in self._health.dependencies().items():
            family.add_metric([name], dependency.state == "up")
        yield family


def exemplar(context: trace.SpanContext | None = None) -> dict[str, str] | None:
    """The trace id of a measurement, which leads to its logs and its trace; None outside a span.

    ``context`` is the span context of the measured work; None for the current span.
    """
    context = context or trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else None
