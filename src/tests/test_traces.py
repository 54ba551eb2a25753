"""With OpenTelemetry's variables, one trace contains all spans from the request to the alert."""

from collections.abc import Iterator

import msgspec
import pytest

from auditflow_local.polling import eventually

from .collector import Collector, collecting
from .events import failed_login
from .platform import Platform

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PAGE = "80f198ee56343ba864fe8b2a57d3eff7"
CALLER = "00f067aa0ba902b7"
GENERATOR, ANALYSIS = "audit-event-generator", "audit-log-analysis"
NOTIFICATION, DASHBOARD = "notification-service", "event-audit-dashboard"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as item:
        yield item


@pytest.fixture
def traced(platform: Platform, collector: Collector) -> Iterator[Platform]:
    """The platform, whose services send traces to the collector."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    for service in platform.services:
        service.stop()
        service.variables.update(variables)
        service.respawn()
    eventually(lambda: all(service.ready() for service in platform.services), what="ready")
    yield platform
    for service in platform.services:
        service.stop()
        for name in variables:
            del service.variables[name]


def test_one_trace_leads_through_the_services(traced: Platform, collector: Collector) -> None:
    # Given a source and a person who send trace headers
    events = [failed_login(f"traced-{number}", "alice", at=number) for number in range(3)]
    with traced.ingest() as client:
        client.post(
            "/ingest/ndjson",
            content=b"\n".join(msgspec.json.encode(event) for event in events),
            headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
        ).raise_for_status()
    eventually(traced.alerts, what="the alert")
    with traced.analyst() as browser:
        browser.get("/alerts", headers={"traceparent": f"00-{PAGE}-{CALLER}-01"}).raise_for_status()
    # then the collector has the spans of the events
    expected = {
        (GENERATOR, "POST /ingest/ndjson"),
        (GENERATOR, "publish events"),
        (ANALYSIS, "analyse event"),
        (NOTIFICATION, "store finding"),
    }
    eventually(lambda: expected <= collector.of(TRACE).keys(), what="the spans of the events")
    spans = collector.of(TRACE)
    assert spans[GENERATOR, "POST /ingest/ndjson"].parent == CALLER
    publish = spans[GENERATOR, "publish events"]
    assert publish.parent == spans[GENERATOR, "POST /ingest/ndjson"].span
    assert spans[ANALYSIS, "analyse event"].parent == publish.span
    assert spans[NOTIFICATION, "store finding"].parent == publish.span
    assert all(span.seconds > 0 for span in spans.values())
    # and the spans of the page and of its requests to the API
    expected = {
        (DASHBOARD, "GET /alerts"),
        (DASHBOARD, "request notification-service"),
        (NOTIFICATION, "GET /api/v1/alerts"),
    }
    eventually(lambda: expected <= collector.of(PAGE).keys(), what="the spans of the page")
    spans = collector.of(PAGE)
    assert spans[DASHBOARD, "GET /alerts"].parent == CALLER
    requests = {
        span.span: span
        for span in collector.spans
        if (span.trace, span.name) == (PAGE, "request notification-service")
    }
    request = requests[spans[NOTIFICATION, "GET /api/v1/alerts"].parent]
    assert request.parent == spans[DASHBOARD, "GET /alerts"].span
    # and probes send no spans
    assert not {item.name for item in collector.spans} & {"GET /healthz", "GET /readyz"}


def test_an_unreachable_collector_delays_nothing(platform: Platform) -> None:
    # Given a service with spans to export, whose collector does not listen
    service = platform.generator
    service.stop()
    service.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    try:
        service.respawn()
        eventually(service.ready, what="ready")
        # when it accepts events and is stopped
        platform.send([failed_login("alone", "alice")])
        service.stop()
        # then it ends without an error
        assert service.exit_code == 0
    finally:
        service.variables.pop("OTEL_EXPORTER_OTLP_ENDPOINT")
        service.stop()
