"""The alert, the unit that a person works on, and how findings change it.

Each field that findings determine is a sum, a minimum, a maximum, a union, or comes from the newest
finding. Therefore duplicated, late and reordered findings lead to the same alert.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract import event_hashes, identity
from auditflow.contract.alert import Status, Verdict
from auditflow.contract.event import Severity
from auditflow.contract.finding import Finding, RuleRef, event_set
from auditflow.contract.level import Level, level_of
from notification_service import observables, snooze

_ALERTS: Final = uuid.uuid5(identity.NAMESPACE, "alert")

#: Maximum lengths of an alert's texts, in characters. Findings keep the complete texts. A text of
#: this length fits into an index (at most 2,704 bytes, up to 4 for a character).
MAX_TEXT: Final = 500
MAX_DESCRIPTION: Final = 2_000
MAX_ENTITY_FIELDS: Final = 16
MAX_TAGS: Final = 32


class Alert(Struct, frozen=True, kw_only=True):
    """An alert, with one field for each column of the table ``alerts`` that the service writes.

    At most one alert of a fingerprint (rule and entity) is not resolved.
    """

    alert_id: UUID
    fingerprint: UUID
    #: 1 for the first alert of its fingerprint, 2 for the alert after its resolution, ...
    sequence: int
    previous_alert_id: UUID | None
    opened_at: dt.datetime

    # From findings.
    rule_id: str
    rule_title: str
    rule_revision: str
    rule_level: str
    rule_tags: tuple[str, ...]
    rule_runbook: str | None
    level: Level
    level_rank: int
    severity: Severity
    entity: Mapping[str, str]
    entity_kind: observables.Kind | None
    entity_value: str | None
    title: str
    description: str
    actor: str | None
    client_ip: str | None
    resource: str | None
    server_hostname: str | None
    environment: str
    count: int
    count_is_estimate: bool
    #: Hashes of the distinct events (``contract.event_hashes``), stored as bytes.
    event_hashes: str
    #: Events that findings counted but did not name. They may overlap.
    unlisted_events: int
    finding_count: int
    first_seen: dt.datetime
    last_seen: dt.datetime
    newest_finding_id: UUID
    approximate: bool
    #: The time of an event was in the future and was set to a limit.
    clamped: bool = False
    #: All findings were made by hunts in the archive.
    retro: bool = False

    # From people's actions.
    status: Status = Status.OPEN
    verdict: Verdict | None = None
    duplicate_of: UUID | None = None
    assignee: str | None = None
    acted_at: dt.datetime | None = None
    active_again: bool = False
    snoozed_until: dt.datetime | None = None
    snoozed_until_escalation: bool = False
    snoozed_at: dt.datetime | None = None
    #: The count of events when the alert was snoozed.
    snoozed_count: int | None = None
    triage_version: int = 1

    updated_at: dt.datetime
    version: int = 1

    @property
    def rule(self) -> RuleRef:
        """The rule, as the newest finding names it."""
        return RuleRef(
            id=self.rule_id,
            title=self.rule_title,
            revision=self.rule_revision,
            level=self.rule_level,
            tags=self.rule_tags,
            runbook=self.rule_runbook,
        )


def alert_id_of(fingerprint: UUID, sequence: int) -> UUID:
    """The identifier of an alert. ``sequence`` numbers the alerts of a fingerprint, from 1.

    It does not depend on the finding that opened the alert, because any finding may arrive first.
    Therefore the newest alert of a fingerprint must stay stored: the next sequence number is
    derived from it.
    """
    return uuid.uuid5(_ALERTS, f"{fingerprint}/{sequence}")


def open_alert(
    finding: Finding, fingerprint: UUID, *, previous: Alert | None, now: dt.datetime
) -> Alert:
    """Open an alert for a finding. ``previous`` is the last alert of the fingerprint, resolved."""
    sequence = previous.sequence + 1 if previous else 1
    hashes = event_set(finding.evidence)
    unlisted = _unlisted(finding, hashes)
    return Alert(
        alert_id=alert_id_of(fingerprint, sequence),
        fingerprint=fingerprint,
        sequence=sequence,
        previous_alert_id=previous.alert_id if previous else None,
        opened_at=now,
        **_level(level_of(finding.rule.level, finding.severity)),
        **_counted(hashes, unlisted),
        finding_count=1,
        first_seen=finding.first_seen,
        last_seen=finding.last_seen,
        newest_finding_id=finding.finding_id,
        approximate=finding.approximate,
        clamped=finding.clamped,
        retro=finding.retro,
        updated_at=now,
        **_from_newest(finding),
    )


def add_finding(
    alert: Alert, finding: Finding, *, replaces: Finding | None, now: dt.datetime
) -> Alert:
    """Add a finding to an alert. ``replaces`` is the earlier version of the finding, if any.

    Returns the same object if nothing changes.
    """
    # Merging never makes a finding older, so the newest finding stays the newest until another
    # one passes it.
    is_newest = (finding.last_seen, finding.finding_id) >= (
        alert.last_seen,
        alert.newest_finding_id,
    )
    added = event_set(finding.evidence)
    hashes = event_hashes.union(alert.event_hashes, added)
    unlisted = alert.unlisted_events + _unlisted(finding, added)
    if replaces is not None:
        unlisted -= _unlisted(replaces, event_set(replaces.evidence))
    changed = msgspec.structs.replace(
        alert,
        **_counted(hashes, unlisted),
        finding_count=alert.finding_count + (replaces is None),
        **_level(
            max(
                alert.level,
                level_of(finding.rule.level, finding.severity),
                key=lambda level: level.rank,
            )
        ),
        first_seen=min(alert.first_seen, finding.first_seen),
        last_seen=max(alert.last_seen, finding.last_seen),
        approximate=alert.approximate or finding.approximate,
        clamped=alert.clamped or finding.clamped,
        retro=alert.retro and finding.retro,
        **({"newest_finding_id": finding.finding_id, **_from_newest(finding)} if is_newest else {}),
    )
    if changed == alert:
        return alert
    if changed.count > alert.count and alert.status is not Status.RESOLVED:
        # A snooze hides new activity, unless the activity escalates.
        escalated = snooze.has_escalated(changed, now)
        changed = msgspec.structs.replace(
            changed,
            active_again=changed.acted_at is not None
            and (escalated or not snooze.is_snoozed(changed, now)),
            **(snooze.NO_SNOOZE if escalated else {}),
        )
    return msgspec.structs.replace(changed, updated_at=now)


def truncate(text: str | None, limit: int = MAX_TEXT) -> str | None:
    """The text, shortened to ``limit`` characters with an ellipsis at the end if it is longer."""
    return text if text is None or len(text) <= limit else text[: limit - 1] + "…"


def _unlisted(finding: Finding, hashes: str) -> int:
    return max(0, finding.count - event_hashes.size(hashes))


def _level(level: Level) -> dict[str, Any]:
    return {"level": level, "level_rank": level.rank, "severity": level.severity}


def _counted(hashes: str, unlisted: int) -> dict[str, Any]:
    return {
        "count": event_hashes.size(hashes) + unlisted,
        "count_is_estimate": unlisted > 0 or event_hashes.is_estimate(hashes),
        "event_hashes": hashes,
        "unlisted_events": unlisted,
    }


def _from_newest(finding: Finding) -> dict[str, Any]:
    """The fields of an alert that its newest finding determines."""
    kind, value = observables.main_entity(finding)
    return {
        **_of_rule(finding.rule),
        "entity": {
            truncate(name) or "": truncate(value) or ""
            for name, value in sorted(finding.entity.items())[:MAX_ENTITY_FIELDS]
        },
        "entity_kind": kind,
        "entity_value": value,
        "description": truncate(finding.description, MAX_DESCRIPTION) or "",
        "actor": truncate(finding.actor),
        "client_ip": truncate(finding.client_ip),
        "resource": truncate(finding.resource),
        "server_hostname": truncate(finding.server_hostname),
        "environment": truncate(finding.environment) or "",
    }


@lru_cache(256)
def _of_rule(rule: RuleRef) -> Mapping[str, Any]:
    """The fields of an alert that the rule of its newest finding determines."""
    return {
        "rule_id": rule.id,
        "rule_title": truncate(rule.title) or "",
        "rule_revision": truncate(rule.revision) or "",
        "rule_level": truncate(rule.level) or "",
        "rule_tags": tuple(truncate(tag) or "" for tag in rule.tags[:MAX_TAGS]),
        "rule_runbook": truncate(rule.runbook),
        "title": truncate(rule.title) or rule.id,
    }
