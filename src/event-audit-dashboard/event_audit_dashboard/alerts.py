"""What the notification service tells about alerts. Fields that are not known here are ignored."""

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType, field

from auditflow.contract.event import Severity, Timestamp

Status = Literal["open", "acknowledged", "resolved"]


class Rule(Struct, frozen=True):
    """The rule behind an alert. ``level`` and ``tags`` are Sigma's."""

    id: str
    title: str | None = None
    level: str | None = None
    tags: tuple[str, ...] = ()
    runbook: str | None = None


class Alert(Struct, frozen=True, kw_only=True):
    """One alert, as lists have it."""

    alert_id: str
    status: Status
    severity: Severity
    rule: Rule
    title: str | None = None
    description: str | None = None
    entity: dict[str, Any] = field(default_factory=dict)
    actor: str | None = None
    client_ip: str | None = None
    resource: str | None = None
    server_hostname: str | None = None
    environment: str | None = None
    count: int = 1
    finding_count: int = 1
    first_seen: Timestamp
    last_seen: Timestamp
    opened_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    approximate: bool = False
    previous_alert_id: str | None = None

    @property
    def name(self) -> str:
        """What people call it; there is always something."""
        return self.title or self.rule.title or self.rule.id


class EventRef(Struct, frozen=True):
    """An event that a finding rests on."""

    event_id: str
    timestamp: Timestamp


class Evidence(Struct, frozen=True):
    """The events behind a finding by name, and two of them whole."""

    events: tuple[EventRef, ...] = ()
    first_event: Raw | UnsetType = UNSET
    last_event: Raw | UnsetType = UNSET
    #: They are stored, but too large for an answer.
    events_omitted: bool = False


class Finding(Struct, frozen=True, kw_only=True):
    """What the rule saw in one span of time."""

    finding_id: str
    severity: Severity
    first_seen: Timestamp
    last_seen: Timestamp
    count: int = 1
    bucket_start: Timestamp | None = None
    description: str | None = None
    rule_revision: str | None = None
    correlation_id: str | None = None
    approximate: bool = False
    evidence: Evidence = field(default_factory=Evidence)


class AlertDetail(Alert, frozen=True, kw_only=True):
    """One alert with the newest of its findings."""

    findings: tuple[Finding, ...] = ()
    findings_total: int = 0


class Counts(Struct, frozen=True):
    """How many alerts there are in a whole filter, on all its pages."""

    total: int = 0
    open: int = 0
    acknowledged: int = 0
    resolved: int = 0
    by_severity: dict[str, int] = field(default_factory=dict)


class Listing(Struct, frozen=True):
    """One page of alerts, the latest opened first."""

    alerts: tuple[Alert, ...]
    counts: Counts
    next_cursor: str | None = None
