"""Aggregation: how findings that arrive change the stored findings and alerts.

This module is pure. The adapter reads what ``aggregate`` needs under locks, and writes the changes.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract import finding as findings
from auditflow.contract import identity
from auditflow.contract.alert import Status
from auditflow.contract.finding import Finding
from notification_service.alert import Alert, add_finding, open_alert


class StoredFinding(Struct, frozen=True):
    """A finding as it is stored. It belongs to the same alert forever."""

    finding: Finding
    fingerprint: UUID
    alert_id: UUID


class Changes(Struct):
    """The rows to write. Unchanged findings and alerts are not listed."""

    new: list[StoredFinding] = msgspec.field(default_factory=list)
    updated: list[StoredFinding] = msgspec.field(default_factory=list)
    unchanged: int = 0
    opened: list[Alert] = msgspec.field(default_factory=list)
    changed: list[Alert] = msgspec.field(default_factory=list)
    #: Those of ``changed`` whose snooze ended because their event rate escalated, as they were.
    escalated: list[Alert] = msgspec.field(default_factory=list)
    #: Findings with the identifier of a stored finding, but another rule or entity.
    conflicting: list[Finding] = msgspec.field(default_factory=list)


def fingerprint_of(finding: Finding) -> UUID:
    """The fingerprint of the finding's rule and entity, which all findings of an alert share."""
    return _fingerprint(finding.rule.id, tuple(finding.entity.items()))


@lru_cache(4096)
def _fingerprint(rule_id: str, entity: tuple[tuple[str, str], ...]) -> UUID:
    return identity.fingerprint(rule_id, dict(entity))


def aggregate(
    incoming: Iterable[Finding],
    *,
    stored: Mapping[UUID, StoredFinding],
    existing: Iterable[Alert],
    now: dt.datetime,
) -> Changes:
    """Merge findings, one version of each, into the stored findings and alerts.

    ``stored`` contains the stored versions of the incoming findings. ``existing`` contains their
    alerts and, for each fingerprint, its last alert and the alert that is not resolved.
    """
    changes = Changes()
    alerts = _Alerts(existing)
    for finding in incoming:
        fingerprint = fingerprint_of(finding)
        earlier = stored.get(finding.finding_id)
        if earlier is None:
            alert = alerts.add_new(finding, fingerprint, now)
            changes.new.append(StoredFinding(finding, fingerprint, alert.alert_id))
        elif earlier.fingerprint != fingerprint:
            changes.conflicting.append(finding)
        elif (merged := findings.merge(earlier.finding, finding)) == earlier.finding:
            changes.unchanged += 1
        else:
            alerts.update(earlier, merged, now)
            changes.updated.append(msgspec.structs.replace(earlier, finding=merged))
    changes.opened = alerts.opened()
    changes.changed = alerts.changed()
    changes.escalated = alerts.escalated()
    return changes


class _Alerts:
    """The alerts of one aggregation, before and after it."""

    def __init__(self, existing: Iterable[Alert]) -> None:
        self._before = {alert.alert_id: alert for alert in existing}
        self._after = dict(self._before)
        self._last: dict[UUID, UUID] = {}
        self._unresolved: dict[UUID, UUID] = {}
        for alert in sorted(self._before.values(), key=lambda alert: alert.sequence):
            self._index(alert)

    def add_new(self, finding: Finding, fingerprint: UUID, now: dt.datetime) -> Alert:
        """Add a new finding to the alert that is not resolved, or open an alert."""
        if (alert_id := self._unresolved.get(fingerprint)) is not None:
            alert = add_finding(self._after[alert_id], finding, replaces=None, now=now)
        else:
            last = self._last.get(fingerprint)
            previous = self._after[last] if last else None
            alert = open_alert(finding, fingerprint, previous=previous, now=now)
            self._index(alert)
        self._after[alert.alert_id] = alert
        return alert

    def update(self, earlier: StoredFinding, merged: Finding, now: dt.datetime) -> None:
        """Update the alert of a stored finding, even if the alert is resolved."""
        alert = self._after[earlier.alert_id]
        self._after[earlier.alert_id] = add_finding(
            alert, merged, replaces=earlier.finding, now=now
        )

    def opened(self) -> list[Alert]:
        return [alert for key, alert in self._after.items() if key not in self._before]

    def changed(self) -> list[Alert]:
        return [
            msgspec.structs.replace(after, version=before.version + 1)
            for key, before in self._before.items()
            if (after := self._after[key]) is not before
        ]

    def escalated(self) -> list[Alert]:
        return [
            before
            for key, before in self._before.items()
            if before.snoozed_until_escalation and not self._after[key].snoozed_until_escalation
        ]

    def _index(self, alert: Alert) -> None:
        self._last[alert.fingerprint] = alert.alert_id
        if alert.status is not Status.RESOLVED:
            self._unresolved[alert.fingerprint] = alert.alert_id
