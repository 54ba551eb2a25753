"""From what is stored to what is answered."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Raw, UnsetType

from auditflow.contract.alert import (
    AlertDetail,
    AlertList,
    AlertSummary,
    BySeverity,
    Counts,
    FindingEvidence,
    FindingView,
    Rule,
    Status,
)
from auditflow.contract.event import Severity
from auditflow.contract.level import level_of
from notification_service.alert import Alert
from notification_service.cursor import Cursors, Place
from notification_service.database.reading import Detail, Page
from notification_service.fold import Stored

_NULL: Final = Raw(b"null")


def listing(page: Page, cursors: Cursors) -> AlertList:
    """The answer to ``GET /alerts``."""
    last = page.alerts[-1] if page.more else None
    return AlertList(
        alerts=[AlertSummary(**_summary(alert)) for alert in page.alerts],
        next_cursor=cursors.write(Place(last.opened_at, last.alert_id)) if last else None,
        counts=_counts(page.counts),
    )


def detail(found: Detail) -> AlertDetail:
    """The answer to ``GET /alerts/<alert_id>``."""
    return AlertDetail(
        **_summary(found.alert),
        findings=[
            _finding(stored, omitted=stored.finding.finding_id in found.omitted)
            for stored in found.findings
        ],
        findings_total=found.alert.finding_count,
    )


def _summary(alert: Alert) -> dict[str, Any]:
    rule = alert.rule
    shared = {
        name: getattr(alert, name)
        for name in AlertSummary.__struct_fields__
        if name != "rule" and hasattr(alert, name)
    }
    return {
        **shared,
        "rule": Rule(rule.id, rule.title, rule.level, rule.tags, rule.runbook),
        "level": level_of(rule.level, alert.severity),
    }


def _counts(numbers: Mapping[tuple[str, str], int]) -> Counts:
    def of(word: str) -> int:
        return sum(number for words, number in numbers.items() if word in words)

    return Counts(
        total=sum(numbers.values()),
        **{status.value: of(status) for status in Status},
        by_severity=BySeverity(**{severity.value: of(severity) for severity in Severity}),
    )


def _finding(stored: Stored, *, omitted: bool) -> FindingView:
    finding = stored.finding
    return FindingView(
        finding_id=finding.finding_id,
        bucket_start=finding.bucket_start,
        first_seen=finding.first_seen,
        last_seen=finding.last_seen,
        count=finding.count,
        severity=finding.severity,
        description=finding.description,
        rule_revision=finding.rule.revision,
        correlation_id=finding.correlation_id,
        approximate=finding.approximate,
        evidence=FindingEvidence(
            events=finding.evidence.events,
            first_event=_whole(finding.evidence.first_event),
            last_event=_whole(finding.evidence.last_event),
            events_omitted=omitted,
        ),
    )


def _whole(event: Raw | UnsetType) -> Raw:
    return _NULL if event is UNSET else event
