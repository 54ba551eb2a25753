"""Read models of the notification service's API. Unknown fields are ignored."""

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType, field

from auditflow.contract.event import Severity, Timestamp

Status = Literal["open", "acknowledged", "resolved"]


class Rule(Struct, frozen=True):
    """The rule of an alert. ``level`` and ``tags`` are Sigma's."""

    id: str
    title: str | None = None
    level: str | None = None
    tags: tuple[str, ...] = ()
    runbook: str | None = None


class Alert(Struct, frozen=True, kw_only=True):
    """An alert as it appears in lists."""

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
        """Display name, never empty: the title, the rule title or the rule id."""
        return self.title or self.rule.title or self.rule.id


class EventRef(Struct, frozen=True):
    """Reference to an event of a finding."""

    event_id: str
    timestamp: Timestamp


class Evidence(Struct, frozen=True):
    """References to the events of a finding, with the first and the last event in full."""

    events: tuple[EventRef, ...] = ()
    first_event: Raw | UnsetType = UNSET
    last_event: Raw | UnsetType = UNSET
    #: True if the full events are stored but too large for a response.
    events_omitted: bool = False


class Finding(Struct, frozen=True, kw_only=True):
    """A detection by a rule in one time bucket."""

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
    """An alert with its newest findings."""

    findings: tuple[Finding, ...] = ()
    findings_total: int = 0


class Counts(Struct, frozen=True):
    """Number of alerts that match a filter, over all pages."""

    total: int = 0
    open: int = 0
    acknowledged: int = 0
    resolved: int = 0
    by_severity: dict[str, int] = field(default_factory=dict)


class AlertPage(Struct, frozen=True):
    """One page of alerts."""

    alerts: tuple[Alert, ...]
    counts: Counts
    next_cursor: str | None = None
