"""Rows of the tables ``findings`` and ``alerts``, as JSON with one key for each column.

PostgreSQL reads rows from JSON and returns rows as JSON. Therefore a column has one name in one
place: the Struct. Its type is defined by the migration.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from auditflow.contract.event import Severity
from auditflow.contract.finding import (
    EventRef,
    Evidence,
    Finding,
    Observables,
    RuleRef,
)
from notification_service.aggregation import StoredFinding
from notification_service.alert import Alert

_NULL: Final = Raw(b"null")
#: PostgreSQL's notation of bytes.
_HEX: Final = "\\x"


class FindingRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of ``findings``. ``Raw(b"null")`` stands for an event that is not stored.

    The audit log has the hash of a row (``document_of``). Therefore a new column needs the default
    None and stands before ``updated_at``, and old rows must stay null.
    """

    bucket_start: dt.datetime
    finding_id: UUID
    alert_id: UUID
    fingerprint: UUID
    rule_id: str
    rule_title: str
    rule_revision: str
    rule_level: str
    rule_tags: tuple[str, ...]
    rule_runbook: str | None
    severity: Severity
    entity: dict[str, str]
    first_seen: dt.datetime
    last_seen: dt.datetime
    count: int
    description: str
    evidence: tuple[EventRef, ...]
    first_event: Raw
    last_event: Raw
    actor: str | None
    client_ip: str | None
    resource: str | None
    server_hostname: str | None
    correlation_id: str | None
    environment: str
    approximate: bool
    clamped: bool
    event_hashes: str | None
    observables: Observables | None
    retro: bool | None = None
    updated_at: dt.datetime


FINDING_COLUMNS: Final = FindingRow.__struct_fields__
ALERT_COLUMNS: Final = Alert.__struct_fields__

_decode_finding = msgspec.json.Decoder(FindingRow).decode
_decode_alert = msgspec.json.Decoder(Alert).decode


def select(table: str, columns: Sequence[str]) -> str:
    """A query that returns each row as JSON text. Add conditions after it, with alias ``t``."""
    listed = ", ".join(
        "encode(t.event_hashes, 'hex') AS event_hashes" if name == "event_hashes" else f"t.{name}"
        for name in columns
    )
    return (
        f"SELECT row_to_json(r)::text FROM {table} AS t CROSS JOIN LATERAL (SELECT {listed}) AS r "
    )


def insert(table: str, columns: Sequence[str]) -> str:
    """A statement that inserts rows from a JSON array, its parameter ``rows``."""
    listed = ", ".join(columns)
    return (
        f"INSERT INTO {table} ({listed})"
        f" SELECT {listed} FROM json_populate_recordset(NULL::{table}, %(rows)s::json)"
    )


def upsert(table: str, columns: Sequence[str], key: Sequence[str], keep: Iterable[str] = ()) -> str:
    """A statement that writes rows from a JSON array, its parameter ``rows``.

    An existing row with the same ``key`` is updated, except for the columns ``keep``.
    """
    kept = {*key, *keep}
    changing = [name for name in columns if name not in kept]
    values = ", ".join(f"excluded.{name}" for name in changing)
    return (
        f"{insert(table, columns)} ON CONFLICT ({', '.join(key)})"
        f" DO UPDATE SET ({', '.join(changing)}) = ROW ({values})"
    )


def finding_row(stored: StoredFinding, *, now: dt.datetime) -> FindingRow:
    """The row of a finding."""
    finding = stored.finding
    rule, evidence = finding.rule, finding.evidence
    return FindingRow(
        bucket_start=_in_utc(finding.bucket_start),
        finding_id=finding.finding_id,
        alert_id=stored.alert_id,
        fingerprint=stored.fingerprint,
        rule_id=rule.id,
        rule_title=rule.title,
        rule_revision=rule.revision,
        rule_level=rule.level,
        rule_tags=rule.tags,
        rule_runbook=rule.runbook,
        severity=finding.severity,
        entity=_in_order(finding.entity),
        first_seen=_in_utc(finding.first_seen),
        last_seen=_in_utc(finding.last_seen),
        count=finding.count,
        description=finding.description,
        evidence=evidence.events,
        first_event=_or_null(evidence.first_event),
        last_event=_or_null(evidence.last_event),
        actor=finding.actor,
        client_ip=finding.client_ip,
        resource=finding.resource,
        server_hostname=finding.server_hostname,
        correlation_id=finding.correlation_id,
        environment=finding.environment,
        approximate=finding.approximate,
        clamped=finding.clamped,
        retro=True if finding.retro else None,
        event_hashes=_HEX + evidence.event_hashes if evidence.event_hashes else None,
        observables=finding.observables if finding.observables != Observables() else None,
        updated_at=now,
    )


def read_finding(text: str) -> StoredFinding:
    """The finding of a row that ``select`` returned.

    Raises:
        msgspec.MsgspecError: the row is not one of this version.
    """
    row = _decode_finding(text)
    return StoredFinding(
        finding=Finding(
            finding_id=row.finding_id,
            rule=RuleRef(
                id=row.rule_id,
                title=row.rule_title,
                revision=row.rule_revision,
                level=row.rule_level,
                tags=row.rule_tags,
                runbook=row.rule_runbook,
            ),
            severity=row.severity,
            entity=row.entity,
            bucket_start=row.bucket_start,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            count=row.count,
            description=row.description,
            evidence=Evidence(
                events=row.evidence,
                first_event=_or_unset(row.first_event),
                last_event=_or_unset(row.last_event),
                event_hashes=row.event_hashes or "",
            ),
            actor=row.actor,
            client_ip=row.client_ip,
            resource=row.resource,
            server_hostname=row.server_hostname,
            correlation_id=row.correlation_id,
            environment=row.environment,
            approximate=row.approximate,
            clamped=row.clamped,
            retro=bool(row.retro),
            observables=row.observables or Observables(),
        ),
        fingerprint=row.fingerprint,
        alert_id=row.alert_id,
    )


def read_row(text: str) -> FindingRow:
    """The row of a finding that ``select`` returned, with the values that were written."""
    row = _decode_finding(text)
    hashes = None if row.event_hashes is None else _HEX + row.event_hashes
    return msgspec.structs.replace(
        row,
        bucket_start=_in_utc(row.bucket_start),
        first_seen=_in_utc(row.first_seen),
        last_seen=_in_utc(row.last_seen),
        entity=_in_order(row.entity),
        event_hashes=hashes,
    )


def read_alert(text: str) -> Alert:
    """The alert of a row that ``select`` returned."""
    return _decode_alert(text)


def encode_finding(row: FindingRow) -> bytes:
    """The row as JSON."""
    return msgspec.json.encode(row)


def document_of(encoded: bytes) -> bytes:
    """The part of an encoded row that the audit log has the hash of: all without ``updated_at``.

    It is the same before a row is written and after it is read.
    """
    return encoded[: encoded.rindex(b',"updated_at":')] + b"}"


def encode_findings(encoded: Iterable[bytes]) -> str:
    """The parameter of ``insert`` and ``upsert`` for these encoded rows."""
    return (b"[" + b",".join(encoded) + b"]").decode()


def encode_alerts(alerts: Iterable[Alert]) -> str:
    """The parameter of ``insert`` and ``upsert`` for these alerts."""
    return msgspec.json.encode(
        [msgspec.structs.replace(alert, event_hashes=_HEX + alert.event_hashes) for alert in alerts]
    ).decode()


def _or_null(event: Raw | UnsetType) -> Raw:
    return _NULL if event is UNSET else event


def _or_unset(event: Raw) -> Raw | UnsetType:
    return UNSET if bytes(event) == b"null" else Raw(bytes(event))


def _in_utc(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo is dt.UTC else time.astimezone(dt.UTC)


def _in_order(entity: dict[str, str]) -> dict[str, str]:
    return entity if len(entity) < 2 else dict(sorted(entity.items()))
