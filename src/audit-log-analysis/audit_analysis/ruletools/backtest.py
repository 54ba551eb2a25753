"""Events through rules in memory, without a broker: what would have fired.

Nothing is late here by default: files are read in any order, and the newest log first.
"""

import datetime as dt
from collections import Counter
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

#: How late an event may come to a window (ms): ten years, so that the order does not matter.
LATENESS: Final = 10 * 365 * 86400 * 1000
#: Later than any event, so that no clock is ahead.
_NOW: Final = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)
#: Events in hand at once.
_BATCH: Final = 500


class Fired(Struct, frozen=True, kw_only=True):
    """What one rule made of the events. ``events`` counts those in its findings."""

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
    """What became of the events. ``refused`` did not fit the contract."""

    events: int
    late: int
    refused: int
    rules: tuple[Fired, ...]
    findings: tuple[Finding, ...]


class Backtest:
    """Takes events, any number at a time, and tells in the end what fired."""

    def __init__(self, rules: RuleSet) -> None:
        self._registry = CollectorRegistry()
        self._found: dict[UUID, Finding] = {}
        self._pipeline = Pipeline(
            lambda: rules,
            MemoryWindows(),
            self._keep,
            environment="backtest",
            metrics=Metrics(self._registry),
            now=lambda: _NOW,
        )
        self.refused: list[Fault] = []

    def take(self, events: Sequence[bytes]) -> list[str]:
        """Take events as they travel. Returns why some do not fit the contract."""
        if not events:
            return []
        bodies = [b"[" + b",".join(events) + b"]"]
        if len(events) == 1 or len(bodies[0]) > event.MAX_MESSAGE_BYTES:
            bodies = list(events)
        dead = self._pipeline([Delivery(one) for one in bodies])
        return [one.reason for one in dead]

    def run(self, read: Iterable[Event | Fault]) -> Iterator[Event | Fault]:
        """Take everything that a source reads, and pass it on, so that a caller sees it go by."""
        batch: list[bytes] = []
        for one in read:
            if isinstance(one, Fault):
                self.refused.append(one)
            else:
                batch.append(event.encode(one))
            if len(batch) >= _BATCH:
                self._drain(batch)
            yield one
        self._drain(batch)

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, each finding once, by time."""
        return tuple(sorted(self._found.values(), key=lambda one: (one.first_seen, one.rule.title)))

    def report(self) -> Report:
        """The end of it."""
        findings = self.findings()
        return Report(
            events=self._count("analysed") + self._count("late"),
            late=self._count("late"),
            refused=len(self.refused),
            rules=_by_rule(findings),
            findings=findings,
        )

    def _drain(self, batch: list[bytes]) -> None:
        self.refused += [Fault("event", reason) for reason in self.take(batch)]
        batch.clear()

    def _keep(self, messages: Sequence[Message]) -> Callable[[], None]:
        for message in messages:
            try:
                one = finding.decode(message.body, now=_NOW)
            except ContractError as error:
                raise ValueError(f"a finding that nobody could read: {error}") from error
            known = self._found.get(one.finding_id)
            self._found[one.finding_id] = one if known is None else finding.merge(known, one)
        return lambda: None  # it is kept already

    def _count(self, outcome: str) -> int:
        name = "auditflow_analysis_events_total"
        return int(self._registry.get_sample_value(name, {"outcome": outcome}) or 0)


def _by_rule(findings: Sequence[Finding]) -> tuple[Fired, ...]:
    """The rules that fired: the gravest first, then the busiest."""
    numbers = Counter(one.rule.id for one in findings)
    fired = [_fired([one for one in findings if one.rule.id == name]) for name in numbers]
    return tuple(sorted(fired, key=lambda one: (-_RANKS[one.level], -one.findings, one.title)))


_RANKS: Final = {
    level: rank for rank, level in enumerate(("informational", "low", "medium", "high", "critical"))
}


def _fired(findings: Sequence[Finding]) -> Fired:
    rule = findings[0].rule
    gravest = max(findings, key=lambda one: one.count)
    return Fired(
        id=rule.id,
        title=rule.title,
        level=rule.level,
        findings=len(findings),
        entities=len({msgspec.json.encode(one.entity, order="sorted") for one in findings}),
        events=sum(one.count for one in findings),
        first_seen=min(one.first_seen for one in findings),
        last_seen=max(one.last_seen for one in findings),
        example=gravest.description,
    )
