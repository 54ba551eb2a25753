"""What the API answers, field by field. The OpenAPI document is made from these."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Raw, Struct

from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef
from notification_service.alert import Status

Moment = Annotated[dt.datetime, Meta(tz=True)]


def _says(description: str) -> Meta:
    return Meta(description=description)


class Rule(Struct, frozen=True):
    """The rule that an alert comes from."""

    id: str
    title: str
    level: Annotated[str, _says("Sigma's: informational, low, medium, high or critical.")]
    tags: Annotated[tuple[str, ...], _says("Sigma's; they name techniques of ATT&CK.")]
    runbook: Annotated[str | None, _says("Where it says what to do.")]


class Summary(Struct, frozen=True, kw_only=True):
    """An alert: all findings of one rule about one entity, from its opening to its resolution."""

    alert_id: Annotated[UUID, _says("The same for the same findings, in whatever order they came.")]
    status: Annotated[Status, _says("Where the work on it stands.")]
    severity: Annotated[Severity, _says("The gravest of its findings.")]
    rule: Annotated[Rule, _says("As its newest finding names it.")]
    title: Annotated[str, _says("What happened, in a few words.")]
    description: Annotated[str, _says("A sentence for people: that of the newest finding.")]
    entity: Annotated[
        dict[str, str], _says("The fields that the rule groups by, and what they hold here.")
    ]
    actor: Annotated[str | None, _says("Who acted, in the newest finding.")]
    client_ip: Annotated[str | None, _says("From where: an address, or a host name.")]
    resource: Annotated[str | None, _says("On what.")]
    server_hostname: Annotated[str | None, _says("On which host.")]
    environment: Annotated[str, _says("In which environment.")]
    count: Annotated[int, _says("Events in all its findings.")]
    finding_count: Annotated[int, _says("Its findings.")]
    first_seen: Annotated[Moment, _says("The earliest event.")]
    last_seen: Annotated[Moment, _says("The latest event.")]
    opened_at: Annotated[Moment, _says("When its first finding was stored: the order of lists.")]
    updated_at: Annotated[Moment, _says("When it last changed.")]
    approximate: Annotated[
        bool, _says("A bound on memory was reached: there may have been more events.")
    ]
    previous_alert_id: Annotated[
        UUID | None, _says("The resolved alert of the same rule and entity before it.")
    ]


class BySeverity(Struct, frozen=True):
    """Numbers of alerts."""

    CRITICAL: int
    WARNING: int
    INFO: int


class Counts(Struct, frozen=True):
    """How many alerts match the whole filter, whatever page is shown."""

    total: int
    open: int
    acknowledged: int
    resolved: int
    by_severity: BySeverity


class AlertList(Struct, frozen=True):
    """A page of alerts."""

    alerts: Annotated[list[Summary], _says("The latest opened first.")]
    next_cursor: Annotated[
        str | None, _says("Ask with it for the next page; null on the last one.")
    ]
    counts: Annotated[Counts, _says("Of the whole filter, not of the page.")]


class FindingEvidence(Struct, frozen=True):
    """The events that a finding rests on."""

    events: Annotated[tuple[EventRef, ...], _says("Up to 100, the earliest first.")]
    first_event: Annotated[Raw, _says("The whole event as it was sent, or null.")]
    last_event: Annotated[Raw, _says("The whole event as it was sent, or null.")]
    events_omitted: Annotated[
        bool, _says("The whole events are stored, but too large for this answer.")
    ]


class FindingView(Struct, frozen=True, kw_only=True):
    """What the rule saw once."""

    finding_id: Annotated[UUID, _says("Computed from rule, entity and bucket.")]
    bucket_start: Annotated[Moment, _says("The period by which the rule tells findings apart.")]
    first_seen: Annotated[Moment, _says("The earliest event.")]
    last_seen: Annotated[Moment, _says("The latest event.")]
    count: Annotated[int, _says("Its events.")]
    severity: Annotated[Severity, _says("As the rule has it.")]
    description: Annotated[str, _says("A sentence for people.")]
    rule_revision: Annotated[str, _says("The version of the rule that saw it.")]
    correlation_id: Annotated[str | None, _says("Names the work in the logs of all services.")]
    approximate: Annotated[bool, _says("There may have been more events.")]
    evidence: Annotated[FindingEvidence, _says("What it rests on.")]


class AlertDetail(Summary, frozen=True, kw_only=True):
    """An alert with its findings."""

    findings: Annotated[list[FindingView], _says("The newest 50, the newest first.")]
    findings_total: Annotated[int, _says("How many there are in all.")]
