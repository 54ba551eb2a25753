"""What the dashboard counts. All label values come from small closed sets."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from event_audit_dashboard import errors

#: Routes that are no page of ours are all counted as this one.
NO_ROUTE: Final = "none"
SIGN_IN_RESULTS: Final = ("accepted", "refused", "braked")


class Metrics:
    """The collectors of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Histogram(
            "auditflow_http_request_duration_seconds",
            "Time from a request to its answer, by route template and class of status code.",
            ("route", "code"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self.upstream_errors = Counter(
            "auditflow_dashboard_upstream_errors_total",
            "Questions to the notification service that it did not answer, by reason.",
            ("reason",),
            registry=registry,
        )
        self.sign_ins = Counter(
            "auditflow_dashboard_sign_ins_total",
            "Attempts to sign in, by result.",
            ("result",),
            registry=registry,
        )
        for kind in errors.ALL:
            self.upstream_errors.labels(kind.reason)
        for result in SIGN_IN_RESULTS:
            self.sign_ins.labels(result)
