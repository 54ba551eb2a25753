"""The metrics of routing and delivery. Receivers have the names of the routing file."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STATUSES = ("pending", "sending", "dead")


class Metrics:
    """Metrics of notifications."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "auditflow_notification_attempts_total",
            "Attempts to deliver a notification: sent, failed, or dead (the last attempt failed).",
            ["receiver", "outcome"],
            registry=registry,
        )
        self.merged = Counter(
            "auditflow_notifications_merged_total",
            "Notifications that became part of a digest, because too many were waiting.",
            ["receiver"],
            registry=registry,
        )
        self.created = Counter(
            "auditflow_notifications_created_total",
            "Notifications that were created for groups of alerts.",
            registry=registry,
        )
        self.routed = Counter(
            "auditflow_alert_changes_routed_total",
            "Changes of alerts that were routed to groups.",
            registry=registry,
        )
        self.seconds = Histogram(
            "auditflow_notification_delivery_seconds",
            "Time from the creation of a notification until its receiver has it.",
            buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
            registry=registry,
        )
        self.stored = Gauge(
            "auditflow_notifications",
            "Notifications that are not delivered, by status; counted every 15 s.",
            ["status"],
            registry=registry,
        )
        self.reloads = Counter(
            "auditflow_notification_routes_reloads_total",
            "Attempts to load the routing file, or a file next to it, after a change.",
            ["outcome"],
            registry=registry,
        )
        self.stale = Gauge(
            "auditflow_notification_routes_stale",
            "1 while the newest routing file has errors and the previous file is used.",
            registry=registry,
        )
        self.breaker = Gauge(
            "auditflow_receiver_circuit_open",
            "1 while nothing is sent to a receiver, because it failed several times in a row.",
            ["receiver"],
            registry=registry,
        )
        for status in STATUSES:
            self.stored.labels(status)
        for outcome in ("loaded", "refused"):
            self.reloads.labels(outcome)

    def reloaded(self, loaded: bool) -> None:
        """The routing file changed."""
        self.reloads.labels("loaded" if loaded else "refused").inc()
        self.stale.set(0 if loaded else 1)
