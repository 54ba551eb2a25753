"""The counters of the analysis. They account for every event."""

from prometheus_client import CollectorRegistry, Counter

from audit_analysis.sigma.rule import Rule
from auditflow.amqp import DeadLetter
from auditflow.contract import event
from auditflow.contract.finding import Finding


class Metrics:
    """The counters, in the caller's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "auditflow_analysis_events_total",
            "Events by result: analysed; late (too late for a window, but seen by single-event "
            "rules); rejected (violates the contract, dead-lettered); dead_lettered (valid, but "
            "processing failed).",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("analysed", "late", "rejected", "dead_lettered"):
            self.events.labels(outcome)
        self.clamped = Counter(
            "auditflow_analysis_clamped_events_total",
            "Events whose timestamp was more than five minutes ahead and was set to that limit.",
            registry=registry,
        )
        self.matches = Counter(
            "auditflow_analysis_rule_matches_total",
            "Events that matched a rule. Rules come from files, so the number of titles is small.",
            ["rule"],
            registry=registry,
        )
        self.findings = Counter(
            "auditflow_analysis_findings_published_total",
            "Versions of findings that were published.",
            ["rule", "severity"],
            registry=registry,
        )

    def add_finding(self, finding: Finding) -> None:
        """Count a finding that the broker stored."""
        self.findings.labels(finding.rule.title, finding.severity.value).inc()

    def add_poison(self, dead_letter: DeadLetter) -> None:
        """Count the events of a message that was dead-lettered because processing failed."""
        self.events.labels("dead_lettered").inc(len(event.decode_message(dead_letter.body)))

    def new_batch(self) -> "BatchCounts":
        """The counts of one batch."""
        return BatchCounts(self)


class BatchCounts:
    """Counts a batch. The counters change only when the batch is complete."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._matches: dict[str, int] = {}
        self.events = 0
        self.rejected = 0
        self.clamped = 0

    def add_match(self, rule: Rule) -> None:
        """Count an event that matched a rule."""
        self._matches[rule.ref.title] = self._matches.get(rule.ref.title, 0) + 1

    def commit(self, *, late: int) -> None:
        """Add the counts to the metrics. ``late`` events were too late for a window."""
        metrics = self._metrics
        metrics.events.labels("analysed").inc(self.events - late)
        metrics.events.labels("late").inc(late)
        metrics.events.labels("rejected").inc(self.rejected)
        metrics.clamped.inc(self.clamped)
        for rule, number in self._matches.items():
            metrics.matches.labels(rule).inc(number)
