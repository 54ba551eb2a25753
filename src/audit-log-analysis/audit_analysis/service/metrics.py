"""What the analysis counts. The ledger says of every event what became of it."""

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
            "Events by what became of them: analysed; late (for a window; single-event rules saw "
            "it); rejected (it does not fit the contract and is in the dead letters); "
            "dead_lettered (it fits, processing failed, and it is in the dead letters).",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("analysed", "late", "rejected", "dead_lettered"):
            self.events.labels(outcome)
        self.clamped = Counter(
            "auditflow_analysis_clamped_events_total",
            "Events whose clock ran ahead and was set back to five minutes from now.",
            registry=registry,
        )
        self.matches = Counter(
            "auditflow_analysis_rule_matches_total",
            "Events that matched a rule. The rules are ours, so their titles are few.",
            ["rule"],
            registry=registry,
        )
        self.findings = Counter(
            "auditflow_analysis_findings_published_total",
            "Versions of findings that were published.",
            ["rule", "severity"],
            registry=registry,
        )

    def found(self, finding: Finding) -> None:
        """A finding was stored by the broker."""
        self.findings.labels(finding.rule.title, finding.severity.value).inc()

    def set_aside(self, dead: DeadLetter) -> None:
        """A message that cannot be processed is in the dead letters, with all its events."""
        self.events.labels("dead_lettered").inc(len(event.decode_message(dead.body)))

    def ledger(self) -> "Ledger":
        """The account of one batch."""
        return Ledger(self)


class Ledger:
    """Counts a batch, and enters the sums when it is done: a batch that fails leaves none."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._matches: dict[str, int] = {}
        self.events = 0
        self.rejected = 0
        self.clamped = 0

    def matched(self, rule: Rule) -> None:
        """An event matched a rule."""
        self._matches[rule.ref.title] = self._matches.get(rule.ref.title, 0) + 1

    def settle(self, *, late: int) -> None:
        """Enter the sums. ``late`` are the events that came too late for a window."""
        metrics = self._metrics
        metrics.events.labels("analysed").inc(self.events - late)
        metrics.events.labels("late").inc(late)
        metrics.events.labels("rejected").inc(self.rejected)
        metrics.clamped.inc(self.clamped)
        for rule, number in self._matches.items():
            metrics.matches.labels(rule).inc(number)
