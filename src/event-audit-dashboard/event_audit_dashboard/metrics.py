"""Metrics of the dashboard. All label values come from small closed sets."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from auditflow.circuit import CircuitMetrics
from auditflow.telemetry.metrics import HttpMetrics
from event_audit_dashboard import errors

SIGN_IN_RESULTS: Final = ("accepted", "refused", "throttled")


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.http = HttpMetrics(registry)
        self.circuits = CircuitMetrics(registry)
        self.upstream_errors = Counter(
            "auditflow_dashboard_upstream_errors_total",
            "Failed requests to the notification service, by reason.",
            ("reason",),
            registry=registry,
        )
        self.sign_ins = Counter(
            "auditflow_dashboard_sign_ins_total",
            "Sign-in attempts, by result.",
            ("result",),
            registry=registry,
        )
        for kind in errors.ALL:
            self.upstream_errors.labels(kind.reason)
        for result in SIGN_IN_RESULTS:
            self.sign_ins.labels(result)
