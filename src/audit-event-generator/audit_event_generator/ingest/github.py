"""GitHub audit log: streamed (lines), exported (lines), or from the API (an array).

Streaming: https://docs.github.com/en/enterprise-cloud@latest/admin/monitoring-activity-in-your-enterprise/reviewing-audit-logs-for-your-enterprise/streaming-the-audit-log-for-your-enterprise
API: https://docs.github.com/en/enterprise-cloud@latest/rest/orgs/orgs#get-the-audit-log-for-an-organization
Actions: https://docs.github.com/en/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/audit-log-events-for-your-organization
Webhooks have another shape: see ``github_webhook``.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import json_records, raw_json
from auditflow.contract import event, identity
from auditflow.contract.event import Event, LogSource
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/application/github/audit.
LOG_SOURCE: Final = LogSource(product="github", service="audit")
#: Smaller timestamps are in seconds (until the year 5138), others in milliseconds (since 1973).
_MILLISECONDS_FROM: Final = 10**11
_EpochTime = Annotated[int, Meta(ge=0, lt=10**14)]


class Location(Struct, gc=False):
    """actor_location."""

    country_code: str | None = None


class Record(Struct, gc=False):
    """The fields that are used here. ``Event.record`` keeps the complete entry."""

    action: Annotated[str, Meta(min_length=1)]
    timestamp: _EpochTime | None = msgspec.field(name="@timestamp", default=None)
    created_at: _EpochTime | None = None
    document_id: str | None = msgspec.field(name="_document_id", default=None)
    actor: str | None = None
    actor_ip: str | None = None
    actor_location: Location | None = None
    business: str | None = None
    org: Any = None
    repo: str | None = None
    user: str | None = None
    team: str | None = None
    user_agent: str | None = None
    operation_type: str | None = None
    programmatic_access_type: str | None = None
    transport_protocol_name: str | None = None
    visibility: str | None = None
    previous_visibility: str | None = None
    permission: str | None = None


_read = msgspec.json.Decoder(Record).decode


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the entries of an array or lines, or a single entry.

    Raises:
        ContractError: the body has none of these shapes.
        raw_json.MalformedJSON: the body is not JSON.
    """
    return json_records.split(body)


def to_event(record: bytes) -> Event:
    """Convert one entry. ``event_type`` is the action, such as "repo.create".

    The identifier of an entry without ``_document_id`` is the UUIDv5 of its bytes.

    Raises:
        ContractError: the record lacks a required field or a field has a wrong type.
    """
    entry = raw_json.read_record(_read, record)
    timestamp = entry.timestamp if entry.timestamp is not None else entry.created_at
    if timestamp is None:
        raise ContractError("Object missing required field `@timestamp`")
    return Event(
        event_id=entry.document_id or identity.record_id(record),
        timestamp=_to_datetime(timestamp),
        event_type=entry.action[:128],
        source_service="github",
        user_id=entry.actor or None,
        action_result="FAILURE" if "failed" in entry.action else "SUCCESS",
        client_ip=entry.actor_ip or None,
        resource=_resource(entry),
        details=_details(entry),
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _to_datetime(timestamp: int) -> dt.datetime:
    return event.from_epoch_ms(timestamp if timestamp >= _MILLISECONDS_FROM else timestamp * 1000)


def _organisation(record: Record) -> str | None:
    # An entry about an enterprise lists its organisations.
    org = record.org[0] if isinstance(record.org, list) and record.org else record.org
    return org if isinstance(org, str) and org else None


def _resource(record: Record) -> str | None:
    names = (record.repo, record.team, record.user, _organisation(record), record.business)
    return next((name for name in names if name), None)


def _details(record: Record) -> dict[str, Any] | None:
    location = record.actor_location
    values = {
        "org": _organisation(record),
        "business": record.business,
        "repo": record.repo,
        "user": record.user,
        "team": record.team,
        "country": location.country_code if location else None,
        "userAgent": record.user_agent,
        "operationType": record.operation_type,
        "accessType": record.programmatic_access_type,
        "protocol": record.transport_protocol_name,
        "visibility": record.visibility,
        "previousVisibility": record.previous_visibility,
        "permission": record.permission,
    }
    return {name: value for name, value in values.items() if value} or None
