"""The messages of the alert API (``/api/v1``), shared by the service and its clients.

A field that a client must not rely on yet has a default, so that a client of this version can read
the answers of the previous version. ``docs/how-to/add-a-field-to-an-alert.md`` describes a change.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditflow.contract.event import Severity, Timestamp
from auditflow.contract.finding import EventRef
from auditflow.contract.level import Level


def _doc(description: str) -> Meta:
    return Meta(description=description)


class Status(StrEnum):
    """The state of the work on an alert."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Verdict(StrEnum):
    """The result of the work on a resolved alert."""

    TRUE_POSITIVE = "true_positive"
    FALSE_POSITIVE = "false_positive"
    BENIGN = "benign"
    DUPLICATE_OF = "duplicate_of"


class Action(StrEnum):
    """What was done to an alert. ``escalated`` and ``opened`` are done by the system."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    COMMENT = "comment"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    SNOOZE = "snooze"
    UNSNOOZE = "unsnooze"
    UNDO = "undo"
    ESCALATED = "escalated"


class Rule(Struct, frozen=True):
    """The rule of an alert."""

    id: str
    title: str
    level: Annotated[str, _doc("The level that the rule states.")]
    tags: Annotated[tuple[str, ...], _doc("Tags in Sigma's format. They name ATT&CK techniques.")]
    runbook: Annotated[str | None, _doc("URL or path of the instructions for this alert.")] = None


_CLAMPED: Final = (
    "An event had a timestamp more than five minutes in the future. Its time was set to that limit."
)


_RETRO: Final = "A hunt in the archive made it. Live detection has not."


class AlertSummary(Struct, frozen=True, kw_only=True):
    """An alert: all findings of one rule about one entity until the alert is resolved."""

    alert_id: Annotated[UUID, _doc("Computed from the rule, the entity and a sequence number.")]
    status: Annotated[Status, _doc("The state of the work on the alert.")]
    level: Annotated[Level, _doc("The highest level of its findings.")] = Level.MEDIUM
    severity: Annotated[Severity, _doc("Derived from the level, for clients of three severities.")]
    rule: Annotated[Rule, _doc("The rule, as the newest finding names it.")]
    title: Annotated[str, _doc("The title of the rule.")]
    description: Annotated[str, _doc("A sentence that describes the newest finding.")]
    entity: Annotated[dict[str, str], _doc("The fields that the rule groups by, and their values.")]
    actor: Annotated[str | None, _doc("The user in the newest finding.")]
    client_ip: Annotated[str | None, _doc("The client address or host name.")]
    resource: Annotated[str | None, _doc("The resource in the newest finding.")]
    server_hostname: Annotated[str | None, _doc("The host in the newest finding.")]
    environment: Annotated[str, _doc("The environment, for example prod.")]
    count: Annotated[int, _doc("Number of distinct events. Exact up to 10,000.")]
    count_is_estimate: Annotated[bool, _doc("The count is an estimate.")] = False
    finding_count: Annotated[int, _doc("Number of findings.")]
    first_seen: Annotated[Timestamp, _doc("Time of the earliest event.")]
    last_seen: Annotated[Timestamp, _doc("Time of the latest event: the last activity.")]
    opened_at: Annotated[Timestamp, _doc("Time when the first finding was stored.")]
    updated_at: Annotated[Timestamp, _doc("Time of the last change of any kind.")]
    approximate: Annotated[bool, _doc("A memory limit was reached. There may be more events.")]
    clamped: Annotated[bool, _doc(_CLAMPED)] = False
    retro: Annotated[bool, _doc(_RETRO)] = False
    previous_alert_id: Annotated[
        UUID | None, _doc("The resolved alert of the same rule and entity before this one.")
    ]
    triage_version: Annotated[
        int, _doc("Version for If-Match. It changes with every action, not with new events.")
    ] = 1
    change_seq: Annotated[int, _doc("Position of the last change among all changes.")] = 0
    verdict: Annotated[Verdict | None, _doc("The verdict, if the alert is resolved.")] = None
    duplicate_of: Annotated[UUID | None, _doc("The alert that this one repeats.")] = None
    assignee: Annotated[str | None, _doc("The person who works on the alert.")] = None
    acted_at: Annotated[Timestamp | None, _doc("Time of the last action of a person.")] = None
    active_again: Annotated[bool, _doc("New events arrived after a person acted on the alert.")] = (
        False
    )
    snoozed_until: Annotated[Timestamp | None, _doc("The alert is snoozed until this time.")] = None
    snoozed_until_escalation: Annotated[
        bool, _doc("The alert is snoozed until its event rate exceeds its past rate.")
    ] = False
    risk: Annotated[int, _doc("Risk of the entity: points of its alerts of the last 7 days.")] = 0


class BySeverity(Struct, frozen=True):
    """Numbers of alerts by derived severity."""

    CRITICAL: int = 0
    WARNING: int = 0
    INFO: int = 0


class Counts(Struct, frozen=True):
    """How many alerts match the filter, on all pages together."""

    total: int = 0
    open: int = 0
    acknowledged: int = 0
    resolved: int = 0
    by_severity: BySeverity = BySeverity()


class AlertList(Struct, frozen=True):
    """A page of alerts."""

    alerts: Annotated[list[AlertSummary], _doc("The alerts, in the order that `sort` names.")]
    next_cursor: Annotated[
        str | None, _doc("The cursor of the next page. It is null on the last page.")
    ] = None
    counts: Annotated[
        Counts | UnsetType, _doc("Only in the answer of `/alerts`, not of `/api/v1/alerts`.")
    ] = UNSET


class FindingEvidence(Struct, frozen=True):
    """The events of a finding."""

    events: Annotated[tuple[EventRef, ...], _doc("Up to 100 events, the earliest first.")] = ()
    first_event: Annotated[Raw | UnsetType, _doc("The earliest event as it was sent, or null.")] = (
        UNSET
    )
    last_event: Annotated[Raw | UnsetType, _doc("The latest event as it was sent, or null.")] = (
        UNSET
    )
    events_omitted: Annotated[
        bool, _doc("The complete events are stored, but too large for this answer.")
    ] = False


class FindingView(Struct, frozen=True, kw_only=True):
    """One detection by the rule."""

    finding_id: Annotated[UUID, _doc("Computed from the rule, the entity and the bucket.")]
    bucket_start: Annotated[Timestamp, _doc("Start of the period that identifies the finding.")]
    first_seen: Annotated[Timestamp, _doc("Time of the earliest event.")]
    last_seen: Annotated[Timestamp, _doc("Time of the latest event.")]
    count: Annotated[int, _doc("Number of events.")]
    severity: Annotated[Severity, _doc("The severity of the finding.")]
    description: Annotated[str, _doc("A sentence that describes the finding.")]
    rule_revision: Annotated[str, _doc("The revision of the rule.")]
    correlation_id: Annotated[str | None, _doc("Identifies the request in all logs.")] = None
    approximate: Annotated[bool, _doc("A memory limit was reached. There may be more events.")] = (
        False
    )
    clamped: Annotated[bool, _doc(_CLAMPED)] = False
    retro: Annotated[bool, _doc(_RETRO)] = False
    evidence: Annotated[FindingEvidence, _doc("The events of the finding.")] = FindingEvidence()


class AlertDetail(AlertSummary, frozen=True, kw_only=True):
    """An alert with its findings."""

    findings: Annotated[list[FindingView], _doc("The newest 50 findings, the newest first.")]
    findings_total: Annotated[int, _doc("Number of all findings.")]
    allowed_actions: Annotated[
        tuple[Action, ...], _doc("Actions that the state of the alert allows.")
    ] = ()


class FacetValue(Struct, frozen=True):
    """A value of a field and the number of alerts that have it."""

    value: str
    count: int
    label: Annotated[str | None, _doc("The title of the rule, for the facet `rule`.")] = None
    filter: Annotated[
        str | None,
        _doc(
            "The text that selects exactly this value in the parameter of the same name as the "
            "facet. Null if it is the value itself."
        ),
    ] = None


class Facets(Struct, frozen=True):
    """Numbers of alerts over the complete filter result, by field."""

    total: int
    exact: Annotated[bool, _doc("False if the total is an estimate.")] = True
    status: tuple[FacetValue, ...] = ()
    level: tuple[FacetValue, ...] = ()
    severity: tuple[FacetValue, ...] = ()
    rule: tuple[FacetValue, ...] = ()
    environment: tuple[FacetValue, ...] = ()
    assignee: tuple[FacetValue, ...] = ()
    verdict: tuple[FacetValue, ...] = ()
    technique: Annotated[
        tuple[FacetValue, ...],
        _doc("Techniques of ATT&CK, by the rules of the alerts. A technique includes its parts."),
    ] = ()
    actor: Annotated[tuple[FacetValue, ...], _doc("Users in any finding of an alert.")] = ()
    host: Annotated[tuple[FacetValue, ...], _doc("Hosts in any finding of an alert.")] = ()
    ip: Annotated[tuple[FacetValue, ...], _doc("Addresses in any finding of an alert.")] = ()
    sampled: Annotated[
        int | None,
        _doc(
            "Null if the facets actor, host and ip are exact. Otherwise they are estimates from a"
            " random sample of this number of alerts of the complete filter result."
        ),
    ] = None


class Total(Struct, frozen=True):
    """The number of alerts that match the filter."""

    total: int
    exact: bool = True


class EventRow(Struct, frozen=True, kw_only=True):
    """An event of an alert. Fields are null if only the identifier of the event is stored."""

    timestamp: Timestamp
    event_id: str
    event_type: str | None = None
    user: str | None = None
    host: str | None = None
    address: str | None = None
    resource: str | None = None
    result: str | None = None
    has_record: Annotated[bool, _doc("The complete event can be read.")] = False


class EventPage(Struct, frozen=True):
    """Events of an alert."""

    events: Annotated[tuple[EventRow, ...], _doc("The latest first.")]
    next_cursor: str | None = None


class AlertChanges(Struct, frozen=True):
    """Changed alerts, in the order of their last change."""

    alerts: tuple[AlertSummary, ...]
    last: Annotated[int, _doc("Pass as `after` for later changes.")]
    more: Annotated[bool, _doc("There are later changes already.")] = False


class RiskPart(Struct, frozen=True, kw_only=True):
    """An alert that adds to the risk of an entity."""

    alert_id: UUID
    title: str
    level: Level
    points: int
    last_seen: Timestamp


class Risk(Struct, frozen=True, kw_only=True):
    """The risk of an entity: the sum of the points of its alerts of the last 7 days.

    Alerts with the verdict false positive do not count.
    """

    kind: Literal["user", "host", "address", "resource"]
    value: str
    risk: Annotated[int, _doc("The sum over all alerts, also over those not listed in `parts`.")]
    alerts: Annotated[int, _doc("Number of alerts in the sum.")]
    parts: Annotated[tuple[RiskPart, ...], _doc("The 100 alerts with the most points.")] = ()
