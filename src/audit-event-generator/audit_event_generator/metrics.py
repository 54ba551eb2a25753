"""The metrics of the service. The registry is passed in, so that tests need no globals."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from audit_event_generator.ingest.sources import LABELS
from auditflow.telemetry.metrics import HttpMetrics

_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)


class Metrics:
    """Counters of the ledger (accepted = analysed + late + rejected + dead-lettered), and others.

    ``accepted`` counts events after the broker's confirm. ``unconfirmed`` counts events without a
    confirm: the broker may have stored them before the connection broke, and the client sends them
    again.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = Counter(
            "auditflow_events_accepted_total",
            "Events that the broker confirmed.",
            ["source"],
            registry=registry,
        )
        self.refused = Counter(
            "auditflow_events_refused_total",
            "Events that violate the contract: refused at ingest, never accepted.",
            ["source"],
            registry=registry,
        )
        self.unconfirmed = Counter(
            "auditflow_events_unconfirmed_total",
            "Events published without a confirm: they may be stored; the client sends them again.",
            ["source"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "auditflow_ingest_request_seconds",
            "Duration of ingest requests, by source and class of the status code.",
            ["source", "code"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.http = HttpMetrics(registry)
        self.scenarios = Counter(
            "auditflow_scenarios_total",
            "Attack scenarios that the synthetic stream started.",
            ["scenario"],
            registry=registry,
        )
        self.stream_rate = Gauge(
            "auditflow_stream_events_per_second",
            "Configured rate of the synthetic stream; 0 when it is off.",
            registry=registry,
        )
        self.stream_running = Gauge(
            "auditflow_stream_running",
            "1 while the synthetic stream publishes, 0 while it is off or waits for the broker.",
            registry=registry,
        )
        self.tokens_stale = Gauge(
            "auditflow_ingest_tokens_stale",
            "1 while the changed INGEST_TOKENS is invalid and the previous tokens are used.",
            registry=registry,
        )
        for source in LABELS:  # a counter that is absent until its first event breaks sums
            self.accepted.labels(source)
            self.refused.labels(source)
            self.unconfirmed.labels(source)
