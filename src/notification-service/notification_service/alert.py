"""The alert: what a person works on. It is exactly the sum of its findings, in any order.

Each field is a sum, a minimum, a maximum, an "any of", or taken from the newest finding. So a
finding that comes twice, or late, or in another order, leads to the same alert.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from auditflow.contract import identity
from auditflow.contract.alert import Status
from auditflow.contract.event import Severity
from auditflow.contract.finding import Finding, RuleRef

_ALERTS: Final = uuid.uuid5(identity.NAMESPACE, "alert")

#: An alert is made of words for people, and lists carry 200 of them; a finding keeps all it has.
#: Cut texts also fit into an index (at most 2,704 bytes, of up to 4 for a character).
MAX_TEXT: Final = 500
MAX_DESCRIPTION: Final = 2_000
MAX_FIELDS: Final = 16
MAX_TAGS: Final = 32


class Alert(Struct, frozen=True, kw_only=True):
    """One alert. At most one of a fingerprint (rule and entity) is not resolved."""

    alert_id: UUID
    fingerprint: UUID
    #: 1 for the first alert of its fingerprint, 2 for the one after its resolution, ...
    sequence: int
    previous_alert_id: UUID | None
    status: Status
    rule: RuleRef
    severity: Severity
    entity: Mapping[str, str]
    title: str
    description: str
    actor: str | None
    client_ip: str | None
    resource: str | None
    server_hostname: str | None
    environment: str
    count: int
    finding_count: int
    first_seen: dt.datetime
    last_seen: dt.datetime
    newest_finding_id: UUID
    approximate: bool
    opened_at: dt.datetime
    updated_at: dt.datetime
    version: int = 1


def identify(fingerprint: UUID, sequence: int) -> UUID:
    """The identifier of the nth alert of a fingerprint.

    It does not name the finding that opened the alert: which one comes first is chance, and the
    same findings shall give the same alert in any order. What it costs: as long as a fingerprint
    may come again, its newest alert must stay stored, since the next one counts from there.
    """
    return uuid.uuid5(_ALERTS, f"{fingerprint}/{sequence}")


def begin(finding: Finding, fingerprint: UUID, *, after: Alert | None, now: dt.datetime) -> Alert:
    """A new alert for a finding; ``after`` is the fingerprint's last one, which is resolved."""
    sequence = after.sequence + 1 if after else 1
    return Alert(
        alert_id=identify(fingerprint, sequence),
        fingerprint=fingerprint,
        sequence=sequence,
        previous_alert_id=after.alert_id if after else None,
        status=Status.OPEN,
        count=finding.count,
        finding_count=1,
        severity=finding.severity,
        first_seen=finding.first_seen,
        last_seen=finding.last_seen,
        newest_finding_id=finding.finding_id,
        approximate=finding.approximate,
        opened_at=now,
        updated_at=now,
        **_words(finding),
    )


def absorb(
    alert: Alert, finding: Finding, *, instead_of: Finding | None, now: dt.datetime
) -> Alert:
    """The alert with one more finding, or with a newer version of one that it has.

    Returns the same object when nothing changes.
    """
    # The newest finding can only be overtaken: merging never makes a finding older.
    is_newest = (finding.last_seen, finding.finding_id) >= (
        alert.last_seen,
        alert.newest_finding_id,
    )
    changed = msgspec.structs.replace(
        alert,
        count=alert.count + finding.count - (instead_of.count if instead_of else 0),
        finding_count=alert.finding_count + (instead_of is None),
        severity=max(alert.severity, finding.severity, key=lambda severity: severity.rank),
        first_seen=min(alert.first_seen, finding.first_seen),
        last_seen=max(alert.last_seen, finding.last_seen),
        approximate=alert.approximate or finding.approximate,
        **({"newest_finding_id": finding.finding_id, **_words(finding)} if is_newest else {}),
    )
    if changed == alert:
        return alert
    return msgspec.structs.replace(changed, updated_at=now)


def cut(text: str | None, limit: int = MAX_TEXT) -> str | None:
    """A text of at most ``limit`` characters, the last of them an ellipsis where it was longer."""
    return text if text is None or len(text) <= limit else text[: limit - 1] + "…"


def _words(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": RuleRef(
            id=rule.id,
            title=cut(rule.title) or "",
            revision=cut(rule.revision) or "",
            level=cut(rule.level) or "",
            tags=tuple(cut(tag) or "" for tag in rule.tags[:MAX_TAGS]),
            runbook=cut(rule.runbook),
        ),
        "entity": {
            cut(name) or "": cut(value) or ""
            for name, value in sorted(finding.entity.items())[:MAX_FIELDS]
        },
        "title": cut(rule.title) or rule.id,
        "description": cut(finding.description, MAX_DESCRIPTION) or "",
        "actor": cut(finding.actor),
        "client_ip": cut(finding.client_ip),
        "resource": cut(finding.resource),
        "server_hostname": cut(finding.server_hostname),
        "environment": cut(finding.environment) or "",
    }
