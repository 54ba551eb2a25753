"""Runs events through rules in memory, without a broker, and reports which rules would fire.

By default no event is late, because logs may be read in any order.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry

from audit_analysis.service.metrics import Metrics
from audit_analysis.service.pipeline import Pipeline
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows.memory import MemoryWindows
from auditflow.amqp import Delivery, Message
from auditflow.contract import event, finding
from auditflow.contract.event import Event
from auditflow.contract.finding import Finding
from auditflow.errors import ContractError
from auditflow.http.problem import Fault

#: The default lateness of windows (ms): ten years, so that the order of events does not matter.
LATENESS: Final = 10 * 365 * 86400 * 1000
#: The current time for the pipeline: later than any event, so that no timestamp is clamped.
_NOW: Final = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)
#: Number of events in a batch.
_BATCH: Final = 500


class FiredRule(Struct, frozen=True, kw_only=True):
    """The findings of one rule. ``events`` is the number of events in its findings."""

    id: str
    title: str
    level: str
    findings: int
    entities: int
    events: int
    first_seen: dt.datetime
    last_seen: dt.datetime
    example: str


class Report(Struct, frozen=True, kw_only=True):
    """The result of a backtest. ``refused`` events violate the contract.

    ``staged`` and ``staged_findings`` are what staged rules (status: experimental) would have
    found. In production they make no findings.
    """

    events: int
    late: int
    refused: int
    rules: tuple[FiredRule, ...]
    findings: tuple[Finding, ...]
    staged: tuple[FiredRule, ...] = ()
    staged_findings: tuple[Finding, ...] = ()


class Backtest:
    """Runs events through the rules in any number of calls, and reports the findings.

    With ``run_staged`` staged rules are run too, and their findings are reported separately.
    """

    def __init__(self, rules: RuleSet, *, run_staged: bool = False) -> None:
        self._staged: set[str] = set()
        if run_staged:
            self._staged = {rule.ref.id for rule in rules.rules if rule.staged}
            rules = rules.with_staged_rules_active()
        self._registry = CollectorRegistry()
        self._findings: dict[UUID, Finding] = {}
        self._pipeline = Pipeline(
            lambda: rules,
            MemoryWindows(),
            self._publish,
            environment="backtest",
            metrics=Metrics(self._registry),
            now=lambda: _NOW,
        )
        self.refused: list[Fault] = []

    def take(self, events: Sequence[bytes]) -> list[str]:
        """Process encoded events. Returns the reasons of the events that violate the contract."""
        if not events:
            return []
        bodies = [b"[" + b",".join(events) + b"]"]
        if len(events) == 1 or len(bodies[0]) > event.MAX_MESSAGE_BYTES:
            bodies = list(events)
        dead_letters = self._pipeline([Delivery(body) for body in bodies])
        return [dead_letter.reason for dead_letter in dead_letters]

    def run(self, read: Iterable[Event | Fault]) -> Iterator[Event | Fault]:
        """Process everything that a source yields, and yield it again for the caller."""
        batch: list[bytes] = []
        for item in read:
            if isinstance(item, Fault):
                self.refused.append(item)
            else:
                batch.append(event.encode(item))
            if len(batch) >= _BATCH:
                self._drain(batch)
            yield item
        self._drain(batch)

    def findings(self) -> tuple[Finding, ...]:
        """All findings so far, ordered by time. Versions are merged."""
        return tuple(
            sorted(self._findings.values(), key=lambda found: (found.first_seen, found.rule.title))
        )

    def report(self) -> Report:
        """The result so far."""
        findings: list[Finding] = []
        staged: list[Finding] = []
        for found in self.findings():
            (staged if found.rule.id in self._staged else findings).append(found)
        return Report(
            events=self._count("analysed") + self._count("late"),
            late=self._count("late"),
            refused=len(self.refused),
            rules=_by_rule(findings),
            findings=tuple(findings),
            staged=_by_rule(staged),
            staged_findings=tuple(staged),
        )

    def _drain(self, batch: list[bytes]) -> None:
        self.refused += [Fault("event", reason) for reason in self.take(batch)]
        batch.clear()

    def _publish(self, messages: Sequence[Message]) -> Callable[[], None]:
        for message in messages:
            try:
                version = finding.decode(message.body, now=_NOW)
            except ContractError as error:
                raise ValueError(f"the pipeline made an invalid finding: {error}") from error
            known = self._findings.get(version.finding_id)
            self._findings[version.finding_id] = (
                version if known is None else finding.merge(known, version)
            )
        return lambda: None  # There is nothing to wait for.

    def _count(self, outcome: str) -> int:
        name = "auditflow_analysis_events_total"
        return int(self._registry.get_sample_value(name, {"outcome": outcome}) or 0)


def _by_rule(findings: Sequence[Finding]) -> tuple[FiredRule, ...]:
    """The rules that fired, by level and then by number of findings."""
    by_rule: dict[str, list[Finding]] = {}
    for found in findings:
        by_rule.setdefault(found.rule.id, []).append(found)
    fired = [_fired_rule(own) for own in by_rule.values()]
    return tuple(sorted(fired, key=lambda rule: (-_RANKS[rule.level], -rule.findings, rule.title)))


_RANKS: Final = {
    level: rank for rank, level in enumerate(("informational", "low", "medium", "high", "critical"))
}


def _fired_rule(findings: Sequence[Finding]) -> FiredRule:
    rule = findings[0].rule
    largest = max(findings, key=lambda found: found.count)
    return FiredRule(
        id=rule.id,
        title=rule.title,
        level=rule.level,
        findings=len(findings),
        entities=len({msgspec.json.encode(found.entity, order="sorted") for found in findings}),
        events=sum(found.count for found in findings),
        first_seen=min(found.first_seen for found in findings),
        last_seen=max(found.last_seen for found in findings),
        example=largest.description,
    )
