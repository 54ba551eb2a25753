"""Rows of the tables ``findings`` and ``alerts``, to and from what the core works with."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, UnsetType
from psycopg2 import sql

from auditflow.contract.alert import Status
from auditflow.contract.event import Severity
from auditflow.contract.finding import EventRef, Evidence, Finding, RuleRef
from notification_service.alert import Alert
from notification_service.fold import Stored

#: Columns and their types, in the order of the functions below.
FINDING: Final = {
    "bucket_start": "timestamptz",
    "finding_id": "uuid",
    "alert_id": "uuid",
    "fingerprint": "uuid",
    "rule_id": "text",
    "rule_title": "text",
    "rule_revision": "text",
    "rule_level": "text",
    "rule_tags": "text[]",
    "rule_runbook": "text",
    "severity": "text",
    "entity": "jsonb",
    "first_seen": "timestamptz",
    "last_seen": "timestamptz",
    "count": "bigint",
    "description": "text",
    "evidence": "jsonb",
    "first_event": "json",
    "last_event": "json",
    "actor": "text",
    "client_ip": "text",
    "resource": "text",
    "server_hostname": "text",
    "correlation_id": "text",
    "environment": "text",
    "approximate": "boolean",
    "updated_at": "timestamptz",
}

ALERT: Final = {
    "alert_id": "uuid",
    "fingerprint": "uuid",
    "sequence": "integer",
    "previous_alert_id": "uuid",
    "status": "text",
    "rule_id": "text",
    "rule_title": "text",
    "rule_revision": "text",
    "rule_level": "text",
    "rule_tags": "text[]",
    "rule_runbook": "text",
    "severity": "text",
    "entity": "jsonb",
    "title": "text",
    "description": "text",
    "actor": "text",
    "client_ip": "text",
    "resource": "text",
    "server_hostname": "text",
    "environment": "text",
    "count": "bigint",
    "finding_count": "bigint",
    "first_seen": "timestamptz",
    "last_seen": "timestamptz",
    "newest_finding_id": "uuid",
    "approximate": "boolean",
    "opened_at": "timestamptz",
    "updated_at": "timestamptz",
    "version": "integer",
}

_decode_refs = msgspec.json.Decoder(tuple[EventRef, ...]).decode
_decode_entity = msgspec.json.Decoder(dict[str, str]).decode


def columns(table: dict[str, str], *, leave: Sequence[str] = ()) -> sql.Composed:
    """The names of the columns, separated by commas; JSON is read as the text that it is."""
    return sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name))
        if kind in ("json", "jsonb")
        else sql.Identifier(name)
        for name, kind in table.items()
        if name not in leave
    )


def finding_row(stored: Stored, *, now: dt.datetime) -> tuple[Any, ...]:
    """The values of ``FINDING``."""
    finding = stored.finding
    return (
        finding.bucket_start,
        str(finding.finding_id),
        str(stored.alert_id),
        str(stored.fingerprint),
        *_rule_values(finding.rule),
        finding.severity.value,
        _json(finding.entity),
        finding.first_seen,
        finding.last_seen,
        finding.count,
        finding.description,
        _json(finding.evidence.events),
        _text(finding.evidence.first_event),
        _text(finding.evidence.last_event),
        finding.actor,
        finding.client_ip,
        finding.resource,
        finding.server_hostname,
        finding.correlation_id,
        finding.environment,
        finding.approximate,
        now,
    )


def stored_of(row: Sequence[Any]) -> Stored:
    """The finding that a row of ``FINDING`` holds."""
    values = dict(zip(FINDING, row, strict=True))
    return Stored(
        finding=Finding(
            finding_id=UUID(values["finding_id"]),
            rule=_rule_of(values),
            severity=Severity(values["severity"]),
            entity=_decode_entity(values["entity"]),
            bucket_start=values["bucket_start"],
            first_seen=values["first_seen"],
            last_seen=values["last_seen"],
            count=values["count"],
            description=values["description"],
            evidence=Evidence(
                events=_decode_refs(values["evidence"]),
                first_event=_raw(values["first_event"]),
                last_event=_raw(values["last_event"]),
            ),
            actor=values["actor"],
            client_ip=values["client_ip"],
            resource=values["resource"],
            server_hostname=values["server_hostname"],
            correlation_id=values["correlation_id"],
            environment=values["environment"],
            approximate=values["approximate"],
        ),
        fingerprint=UUID(values["fingerprint"]),
        alert_id=UUID(values["alert_id"]),
    )


def alert_row(alert: Alert) -> tuple[Any, ...]:
    """The values of ``ALERT``."""
    return (
        str(alert.alert_id),
        str(alert.fingerprint),
        alert.sequence,
        str(alert.previous_alert_id) if alert.previous_alert_id else None,
        alert.status.value,
        *_rule_values(alert.rule),
        alert.severity.value,
        _json(alert.entity),
        alert.title,
        alert.description,
        alert.actor,
        alert.client_ip,
        alert.resource,
        alert.server_hostname,
        alert.environment,
        alert.count,
        alert.finding_count,
        alert.first_seen,
        alert.last_seen,
        str(alert.newest_finding_id),
        alert.approximate,
        alert.opened_at,
        alert.updated_at,
        alert.version,
    )


def alert_of(row: Sequence[Any]) -> Alert:
    """The alert that a row of ``ALERT`` holds."""
    values = dict(zip(ALERT, row, strict=True))
    rule = _rule_of(values)
    for name in [name for name in values if name.startswith("rule_")]:
        del values[name]
    for name in ("alert_id", "fingerprint", "previous_alert_id", "newest_finding_id"):
        values[name] = UUID(values[name]) if values[name] else None
    values["status"] = Status(values["status"])
    values["severity"] = Severity(values["severity"])
    values["entity"] = _decode_entity(values["entity"])
    return Alert(rule=rule, **values)


def _rule_values(rule: RuleRef) -> tuple[Any, ...]:
    return rule.id, rule.title, rule.revision, rule.level, list(rule.tags), rule.runbook


def _rule_of(values: dict[str, Any]) -> RuleRef:
    return RuleRef(
        id=values["rule_id"],
        title=values["rule_title"],
        revision=values["rule_revision"],
        level=values["rule_level"],
        tags=tuple(values["rule_tags"]),
        runbook=values["rule_runbook"],
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _text(whole: Raw | UnsetType) -> str | None:
    return None if whole is UNSET else bytes(whole).decode()


def _raw(text: str | None) -> Raw | UnsetType:
    return UNSET if text is None else Raw(text)
