"""Google Cloud Audit Logs: lines (a log sink), an array, or a Pub/Sub push.

LogEntry: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
Payload: https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog
Push delivery: https://cloud.google.com/pubsub/docs/push
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import json_records, raw_json
from audit_event_generator.ingest.timestamps import to_utc
from auditflow.contract import identity
from auditflow.contract.event import Event, LogSource, Severity, Timestamp
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/cloud/gcp/audit.
LOG_SOURCE: Final = LogSource(product="gcp", service="gcp.audit")
_AUDIT_LOG: Final = "type.googleapis.com/google.cloud.audit.AuditLog"
_SEVERITIES: Final = {
    "WARNING": Severity.WARNING, "ERROR": Severity.WARNING, "CRITICAL": Severity.CRITICAL,
    "ALERT": Severity.CRITICAL, "EMERGENCY": Severity.CRITICAL,
}  # fmt: skip
_MAX_ID: Final = 256


class Caller(Struct, rename="camel", gc=False):
    """authenticationInfo."""

    principal_email: str | None = None
    principal_subject: str | None = None


class Request(Struct, rename="camel", gc=False):
    """requestMetadata."""

    caller_ip: str | None = None
    caller_supplied_user_agent: str | None = None


class Status(Struct, gc=False):
    """google.rpc.Status. No code and code 0 mean success."""

    code: int | None = None
    message: str | None = None


class Permission(Struct, gc=False):
    """An element of authorizationInfo: one requested permission."""

    permission: str | None = None
    granted: bool | None = None


class Payload(Struct, rename="camel", gc=False):
    """The fields of an AuditLog that are used here."""

    method_name: Annotated[str, Meta(min_length=1)]
    type: str | None = msgspec.field(name="@type", default=None)
    service_name: str | None = None
    resource_name: str | None = None
    authentication_info: Caller | None = None
    authorization_info: list[Permission] | None = None
    request_metadata: Request | None = None
    status: Status | None = None


class Resource(Struct, gc=False):
    """The monitored resource of the entry."""

    type: str | None = None
    labels: dict[str, str] | None = None


class Record(Struct, rename="camel", gc=False):
    """The fields of a LogEntry that are used here. ``Event.record`` keeps the complete entry."""

    timestamp: Timestamp
    proto_payload: Payload
    insert_id: str | None = None
    log_name: str | None = None
    severity: str | None = None
    resource: Resource | None = None


_read = msgspec.json.Decoder(Record).decode


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the entries of an array, lines, ``{"entries": [...]}`` or a Pub/Sub push, or one entry.

    Raises:
        ContractError: the body has none of these shapes.
        raw_json.MalformedJSON: the body is not JSON.
    """
    return json_records.split(body, _unwrap)


def to_event(record: bytes) -> Event:
    """Convert one entry. ``event_type`` is the method, such as "SetIamPolicy".

    ``insertId`` is unique among entries with the same timestamp. Timestamp and ``insertId`` are the
    identifier. Public rules use Filebeat's field names (``gcp.audit.*``) or Chronicle's
    (``data.protoPayload.*``). ``details`` has both.

    Raises:
        ContractError: the record lacks a required field or a field has a wrong type.
    """
    entry = raw_json.read_record(_read, record)
    payload = entry.proto_payload
    if payload.type not in (None, _AUDIT_LOG):
        raise ContractError(f"Expected `{_AUDIT_LOG}`, got `{payload.type}` - at `$.protoPayload`")
    caller, request = payload.authentication_info, payload.request_metadata
    timestamp = to_utc(entry.timestamp)
    identifier = f"{timestamp.isoformat()}:{entry.insert_id}"
    is_valid = entry.insert_id and len(identifier) <= _MAX_ID
    return Event(
        event_id=identifier if is_valid else identity.record_id(record),
        timestamp=timestamp,
        event_type=payload.method_name[:128],
        source_service=payload.service_name,
        severity=_SEVERITIES.get(entry.severity or "", Severity.INFO),
        user_id=(caller.principal_email or caller.principal_subject or None) if caller else None,
        action_result="FAILURE" if payload.status and payload.status.code else "SUCCESS",
        client_ip=(request.caller_ip or None) if request else None,
        resource=payload.resource_name or None,
        details=_details(entry),
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _unwrap(document: Mapping[str, Raw]) -> tuple[str, bytes] | None:
    if "entries" in document:
        return "entries", bytes(document["entries"])
    if "message" in document and "subscription" in document:
        return "message.data", b"[" + _pushed_data(bytes(document["message"])) + b"]"
    return None


def _pushed_data(message: bytes) -> bytes:
    data = raw_json.read_text(raw_json.read_object(message).get("data"))
    try:
        return base64.b64decode(data or "", validate=True)
    except binascii.Error:
        raise ContractError("Expected base64 - at `$.message.data`") from None


def _details(record: Record) -> dict[str, Any]:
    payload = record.proto_payload
    caller, resource = payload.authentication_info, record.resource or Resource()
    labels = resource.labels or {}
    permissions = [
        {"permission": item.permission, "granted": item.granted}
        for item in payload.authorization_info or []
    ]
    values = {
        "project": labels.get("project_id"),
        "userAgent": (
            payload.request_metadata.caller_supplied_user_agent
            if payload.request_metadata
            else None
        ),
        "status": payload.status.message if payload.status else None,
        "gcp.audit.method_name": payload.method_name,
        "gcp.audit.service_name": payload.service_name,
        "gcp.audit.resource_name": payload.resource_name,
        "gcp.audit.authentication_info.principal_email": caller.principal_email if caller else None,
        "data": {
            "protoPayload": {
                "methodName": payload.method_name,
                "serviceName": payload.service_name,
                "resourceName": payload.resource_name,
                "logName": record.log_name,
                "resource": {"type": resource.type},
                "authorizationInfo": permissions,
            }
        },
    }
    return {name: value for name, value in values.items() if value}
