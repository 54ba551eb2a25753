"""Folding: what findings that arrive do to the findings and alerts that are stored.

Pure. The adapter reads what ``fold`` needs, under locks, and writes what it says.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract import finding as findings
from auditflow.contract import identity
from auditflow.contract.alert import Status
from auditflow.contract.finding import Finding
from notification_service import alert as alerts
from notification_service.alert import Alert


class Stored(Struct, frozen=True):
    """A finding as it is stored, and the alert that it belongs to for ever."""

    finding: Finding
    fingerprint: UUID
    alert_id: UUID


class Changes(Struct):
    """What to write. Findings and alerts that stay as they are do not appear."""

    new: list[Stored] = msgspec.field(default_factory=list)
    updated: list[Stored] = msgspec.field(default_factory=list)
    unchanged: int = 0
    opened: list[Alert] = msgspec.field(default_factory=list)
    changed: list[Alert] = msgspec.field(default_factory=list)
    #: Findings that claim the identifier of a stored one, with another rule or entity.
    impostors: list[Finding] = msgspec.field(default_factory=list)


def fingerprint_of(finding: Finding) -> UUID:
    """What the findings of one alert have in common."""
    return identity.fingerprint(finding.rule.id, finding.entity)


def fold(
    incoming: Iterable[Finding],
    *,
    stored: Mapping[UUID, Stored],
    known: Iterable[Alert],
    now: dt.datetime,
) -> Changes:
    """Fold findings, one version of each, into what is stored.

    ``stored`` holds, of the incoming findings, those that are stored. ``known`` holds their
    alerts, and of each fingerprint the last alert and the one that is not resolved.
    """
    changes = Changes()
    book = _Book(known)
    for finding in incoming:
        fingerprint = fingerprint_of(finding)
        before = stored.get(finding.finding_id)
        if before is None:
            alert = book.join(finding, fingerprint, now)
            changes.new.append(Stored(finding, fingerprint, alert.alert_id))
        elif before.fingerprint != fingerprint:
            changes.impostors.append(finding)
        elif (merged := findings.merge(before.finding, finding)) == before.finding:
            changes.unchanged += 1
        else:
            book.update(before, merged, now)
            changes.updated.append(msgspec.structs.replace(before, finding=merged))
    changes.opened, changes.changed = book.outcome()
    return changes


class _Book:
    """The alerts at hand, and which of them changed."""

    def __init__(self, known: Iterable[Alert]) -> None:
        self._before = {alert.alert_id: alert for alert in known}
        self._now = dict(self._before)
        self._last: dict[UUID, UUID] = {}
        self._unresolved: dict[UUID, UUID] = {}
        for alert in sorted(self._before.values(), key=lambda alert: alert.sequence):
            self._index(alert)

    def join(self, finding: Finding, fingerprint: UUID, now: dt.datetime) -> Alert:
        """A finding that is new joins the alert that is not resolved, or opens one."""
        if (alert_id := self._unresolved.get(fingerprint)) is not None:
            alert = alerts.absorb(self._now[alert_id], finding, instead_of=None, now=now)
        else:
            last = self._last.get(fingerprint)
            after = self._now[last] if last else None
            alert = alerts.begin(finding, fingerprint, after=after, now=now)
            self._index(alert)
        self._now[alert.alert_id] = alert
        return alert

    def update(self, before: Stored, merged: Finding, now: dt.datetime) -> None:
        """A finding that is known stays with its alert, also with a resolved one."""
        alert = self._now[before.alert_id]
        self._now[before.alert_id] = alerts.absorb(
            alert, merged, instead_of=before.finding, now=now
        )

    def outcome(self) -> tuple[list[Alert], list[Alert]]:
        """The alerts that were opened, and those that were there and changed."""
        opened = [one for key, one in self._now.items() if key not in self._before]
        changed = [
            msgspec.structs.replace(one, version=before.version + 1)
            for key, before in self._before.items()
            if (one := self._now[key]) is not before
        ]
        return opened, changed

    def _index(self, alert: Alert) -> None:
        self._last[alert.fingerprint] = alert.alert_id
        if alert.status is not Status.RESOLVED:
            self._unresolved[alert.fingerprint] = alert.alert_id
