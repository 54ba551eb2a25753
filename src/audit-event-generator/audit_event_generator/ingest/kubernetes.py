"""Kubernetes audit log, as the audit webhook of an API server sends it.

The format is ``audit.k8s.io/v1``: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
A request has one record per stage. All of them have the same ``auditID``.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import argocd, json_records, raw_json
from audit_event_generator.ingest.timestamps import to_utc
from auditflow.contract.event import Event, LogSource, Timestamp
from auditflow.errors import ContractError

API_VERSION: Final = "audit.k8s.io/v1"
#: As in SigmaHQ's rules under rules/application/kubernetes/audit.
LOG_SOURCE: Final = LogSource(product="kubernetes", service="audit", category="application")
_DECISION: Final = "authorization.k8s.io/decision"
_NonEmpty = Annotated[str, Meta(min_length=1)]


class User(Struct, gc=False):
    """authentication.k8s.io/v1 UserInfo. An impersonated user can have no name."""

    username: str | None = None
    groups: list[str] | None = None


class ObjectReference(Struct, rename="camel", gc=False):
    """The object of a request. Absent if the URL names no resource."""

    resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    api_group: str | None = None
    subresource: str | None = None

    @property
    def kind(self) -> str:
        """The resource in RBAC's notation: ``pods/exec``."""
        return "/".join(part for part in (self.resource, self.subresource) if part)

    @property
    def path(self) -> str:
        """The path of the object: ``production/pods/web-0/exec``."""
        # The API server sets the namespace of a Namespace to its own name.
        namespace = None if self.resource == "namespaces" else self.namespace
        parts = (namespace, self.resource, self.name, self.subresource)
        return "/".join(part for part in parts if part)


class Status(Struct, gc=False):
    """The fields of meta/v1 Status with the result of a request."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None


class Record(Struct, gc=False):
    """The fields of an audit Event that are used here. ``Event.record`` keeps the complete item."""

    audit_id: _NonEmpty = msgspec.field(name="auditID")
    stage: _NonEmpty
    verb: _NonEmpty
    level: str | None = None
    request_uri: str | None = msgspec.field(name="requestURI", default=None)
    user: User | None = None
    impersonated_user: User | None = msgspec.field(name="impersonatedUser", default=None)
    source_ips: list[str] | None = msgspec.field(name="sourceIPs", default=None)
    user_agent: str | None = msgspec.field(name="userAgent", default=None)
    object_ref: ObjectReference | None = msgspec.field(name="objectRef", default=None)
    response_status: Status | None = msgspec.field(name="responseStatus", default=None)
    stage_timestamp: Timestamp | None = msgspec.field(name="stageTimestamp", default=None)
    received: Timestamp | None = msgspec.field(name="requestReceivedTimestamp", default=None)
    request_object: Raw = msgspec.field(name="requestObject", default=Raw())
    annotations: dict[str, str] | None = None


_read = msgspec.json.Decoder(Record).decode


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the items of an EventList, or a single Event.

    Raises:
        ContractError: the body is neither.
        raw_json.MalformedJSON: the body is not JSON.
    """
    document = raw_json.read_object(body)
    version, kind = (raw_json.read_text(document.get(name)) for name in ("apiVersion", "kind"))
    if version != API_VERSION:
        got = f"`{version}`" if version else "nothing"
        raise ContractError(f"Expected `{API_VERSION}`, got {got} - at `$.apiVersion`")
    if kind == "Event":
        yield "$", body.strip()
        return
    if kind != "EventList":
        got = f"`{kind}`" if kind else "nothing"
        raise ContractError(f"Expected `EventList` or `Event`, got {got} - at `$.kind`")
    if "items" not in document:
        raise ContractError("Object missing required field `items`")
    yield from json_records.member_records(bytes(document["items"]), name="items")


def to_event(record: bytes) -> Event:
    """Convert one record: one stage of one request.

    The identifier is ``auditID:stage:requestReceivedTimestamp``. A client can choose the auditID
    (header Audit-ID) and could hide requests by repeating one. The timestamp is that of the stage.
    ``client_ip`` is the last of ``sourceIPs``, the address of the connection. The client chooses
    the others (header X-Forwarded-For), and could spread its requests over many addresses.
    ``event_type`` is the verb and the resource ("create pods/exec"). The record names no host. The
    user of an action in Argo CD is the person, not Argo CD.

    Raises:
        ContractError: the record lacks a required field or a field has a wrong type.
    """
    entry = raw_json.read_record(_read, record)
    timestamp = entry.stage_timestamp or entry.received
    if timestamp is None:
        raise ContractError("Object missing required field `stageTimestamp`")
    action = _argocd_action(entry)
    if action is not None:
        return _argocd_event(action, entry, timestamp, record)
    return Event(
        event_id=_identifier(entry),
        timestamp=to_utc(timestamp),
        event_type=_event_type(entry),
        source_service="kube-apiserver",
        user_id=_username(entry.impersonated_user) or _username(entry.user),
        action_result=_result(entry),
        client_ip=entry.source_ips[-1] if entry.source_ips else None,
        resource=_resource(entry),
        details=_details(entry),
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _argocd_action(record: Record) -> argocd.UserAction | None:
    """Return the action of a person in Argo CD; None if the record is not about one."""
    reference = record.object_ref
    if record.verb != "create" or reference is None or reference.kind != "events":
        return None
    return argocd.user_action(_username(record.user), bytes(record.request_object))


def _argocd_event(
    action: argocd.UserAction, entry: Record, timestamp: dt.datetime, record: bytes
) -> Event:
    return Event(
        event_id=_identifier(entry),
        timestamp=to_utc(timestamp),
        event_type=action.event_type,
        source_service="argocd",
        user_id=action.user,
        action_result=_result(entry),
        resource=action.resource,
        # No client_ip: the record has the address of Argo CD.
        details={"message": action.message, "namespace": action.involved_object.namespace},
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _event_type(record: Record) -> str:
    kind = record.object_ref.kind if record.object_ref else ""
    # `resource` has the path. Paths are unbounded, so they are not part of the type.
    return f"{record.verb} {kind or 'nonResourceURL'}"


def _resource(record: Record) -> str | None:
    if record.object_ref is not None and record.object_ref.kind:
        return record.object_ref.path
    return record.request_uri.partition("?")[0] if record.request_uri else None


def _username(user: User | None) -> str | None:
    return user.username or None if user else None


def _result(record: Record) -> str | None:
    if record.stage == "Panic":
        return "FAILURE"
    code = record.response_status.code if record.response_status else None
    if not code:
        return None  # the request has no result yet
    return "SUCCESS" if code < 400 else "FAILURE"


def _details(record: Record) -> dict[str, Any]:
    reference, status = record.object_ref, record.response_status
    impersonated = record.impersonated_user is not None
    values = {
        "verb": record.verb,
        "stage": record.stage,
        "level": record.level,
        "requestURI": record.request_uri,
        "userAgent": record.user_agent,
        "namespace": reference.namespace if reference else None,
        "apiGroup": reference.api_group if reference else None,
        "responseCode": status.code if status else None,
        "reason": status.reason if status else None,
        "message": status.message if status else None,
        "decision": (record.annotations or {}).get(_DECISION),
        "impersonatedBy": _username(record.user) if impersonated else None,
        "sourceIPs": record.source_ips if len(record.source_ips or ()) > 1 else None,
    }
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _identifier(record: Record) -> str:
    parts = (record.audit_id, record.stage)
    return ":".join(parts if record.received is None else (*parts, record.received.isoformat()))
