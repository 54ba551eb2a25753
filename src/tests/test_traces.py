"""With OpenTelemetry's variables set, one trace leads from the request to the stored alert."""

from collections.abc import Iterator

import msgspec
import pytest

from .collector import Collector, collecting
from .events import failed_login
from .platform import Platform, eventually

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
    """The platform with its services told where the collector is."""
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
    # Given a source and a person who trace what they ask for
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
    # then the collector has the way of the events
    way = {
        (GENERATOR, "POST /ingest/ndjson"),
        (GENERATOR, "publish events"),
        (ANALYSIS, "analyse event"),
        (NOTIFICATION, "store finding"),
    }
    eventually(lambda: way <= collector.of(TRACE).keys(), what="the spans of the events")
    spans = collector.of(TRACE)
    assert spans[GENERATOR, "POST /ingest/ndjson"].parent == CALLER
    publish = spans[GENERATOR, "publish events"]
    assert publish.parent == spans[GENERATOR, "POST /ingest/ndjson"].span
    assert spans[ANALYSIS, "analyse event"].parent == publish.span
    assert spans[NOTIFICATION, "store finding"].parent == publish.span
    assert all(span.seconds > 0 for span in spans.values())
    # and that of the page, down to the service that it asks
    way = {
        (DASHBOARD, "GET /alerts"),
        (DASHBOARD, "request notification-service"),
        (NOTIFICATION, "GET /alerts"),
    }
    eventually(lambda: way <= collector.of(PAGE).keys(), what="the spans of the page")
    spans = collector.of(PAGE)
    assert spans[DASHBOARD, "GET /alerts"].parent == CALLER
    question = spans[DASHBOARD, "request notification-service"]
    assert question.parent == spans[DASHBOARD, "GET /alerts"].span
    assert spans[NOTIFICATION, "GET /alerts"].parent == question.span
    # and nobody is told of probes
    assert not {item.name for item in collector.spans} & {"GET /healthz", "GET /readyz"}


def test_a_collector_that_is_away_holds_nobody_up(platform: Platform) -> None:
    # Given a service whose collector is not there, with spans to export
    service = platform.generator
    service.stop()
    service.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    try:
        service.respawn()
        eventually(service.ready, what="ready")
        # when events come in, and the process is told to stop
        platform.send([failed_login("alone", "alice")])
        service.stop()
        # then it ends in order, as always
        assert service.exit_code == 0
    finally:
        service.variables.pop("OTEL_EXPORTER_OTLP_ENDPOINT")
        service.stop()
