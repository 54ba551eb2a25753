"""What the service counts. The registry is passed in, so that tests need no globals."""

from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from auditflow.telemetry.metrics import HttpMetrics

#: Where an event came from: the last part of its routing key, and the label of its counters.
Source = Literal[
    "synthetic",
    "api",
    "ndjson",
    "kubernetes",
    "cloudtrail",
    "auditd",
    "github",
    "okta",
    "gcp",
    "alertmanager",
]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)

_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)


class Metrics:
    """The first column of the ledger: accepted = analysed + late + rejected + dead-lettered.

    ``accepted`` grows when the broker has confirmed, by one an event. ``unconfirmed`` bounds what
    the ledger cannot know: the broker may have stored such events before the connection broke,
    while the client was told to send them again.
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
            "Events that do not fit the contract: refused at ingest, never accepted.",
            ["source"],
            registry=registry,
        )
        self.unconfirmed = Counter(
            "auditflow_events_unconfirmed_total",
            "Events sent to the broker without a confirm: perhaps stored, to be sent again.",
            ["source"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "auditflow_ingest_request_seconds",
            "Duration of ingest requests, by source and class of the answer.",
            ["source", "code"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.http = HttpMetrics(registry)
        self.scenarios = Counter(
            "auditflow_scenarios_total",
            "Attack scenarios that the synthetic stream began.",
            ["scenario"],
            registry=registry,
        )
        self.stream_rate = Gauge(
            "auditflow_stream_events_per_second",
            "The rate that the synthetic stream is set to; 0 when it is off.",
            registry=registry,
        )
        self.stream_running = Gauge(
            "auditflow_stream_running",
            "1 while the synthetic stream publishes, 0 while it is off or waits for the broker.",
            registry=registry,
        )
        for source in SOURCES:  # a counter that is absent until its first event breaks sums
            self.accepted.labels(source)
            self.refused.labels(source)
            self.unconfirmed.labels(source)
