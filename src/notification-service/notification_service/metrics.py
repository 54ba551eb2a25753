"""The metrics of the service. The consumer and the Python client have their own."""

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from auditflow.telemetry.metrics import HttpMetrics


class Metrics:
    """Metrics of findings and alerts. All label values come from closed sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.findings = Counter(
            "auditflow_findings_stored_total",
            "Findings that were stored: new, updated (a newer version), or unchanged.",
            ["outcome"],
            registry=registry,
        )
        self.opened = Counter(
            "auditflow_alerts_opened_total",
            "Alerts that were opened, by the severity of the findings that opened them.",
            ["severity"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "auditflow_fold_batch_seconds",
            "Time to store the findings of a batch of messages.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.event_to_alert_seconds = Histogram(
            "auditflow_event_to_alert_seconds",
            "From the acceptance of the event that completed a new finding until it is stored.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            registry=registry,
        )
        self._circuit_open = Gauge(
            "auditflow_database_circuit_open",
            "1 while attempts to connect to the database fail at once, after several failed.",
            ["pool"],
            registry=registry,
        )
        self.http = HttpMetrics(registry)
        # Create all series now. A series that begins with its first event shows no increase for it.
        for outcome in ("new", "updated", "unchanged"):
            self.findings.labels(outcome)
        for severity in ("INFO", "WARNING", "CRITICAL"):
            self.opened.labels(severity)

    def circuit(self, pool: Literal["api", "actions"]) -> Callable[[bool], None]:
        """A function that is told whether the circuit breaker of a connection pool is open."""
        gauge = self._circuit_open.labels(pool)
        return gauge.set


class AuditLogMetrics:
    """Metrics of the signed audit logs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._size = Gauge(
            "auditflow_audit_log_size",
            "Entries of the audit log that are signed.",
            ["log"],
            registry=registry,
        )
        self._contradicted = Gauge(
            "auditflow_audit_log_contradicted",
            "1 while the stored audit log contradicts its newest signed checkpoint.",
            ["log"],
            registry=registry,
        )

    def create(self, log: str) -> None:
        """Create the series of a log."""
        self._size.labels(log)
        self._contradicted.labels(log)

    def set(self, log: str, *, contradicted: bool, size: int | None = None) -> None:
        """Set the state of a log. ``size`` None leaves the size as it is."""
        self._contradicted.labels(log).set(contradicted)
        if size is not None:
            self._size.labels(log).set(size)


class RetentionMetrics:
    """Metrics of retention."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.deleted = Counter(
            "auditflow_retention_deleted_total",
            "What retention deleted: partitions of findings (or a batch of the default partition),"
            " alerts, notifications.",
            ["kind"],
            registry=registry,
        )
        for kind in ("partitions", "alerts", "notifications"):
            self.deleted.labels(kind)
