"""The audit log of a Kubernetes API server, as its webhook sends it.

The format is ``audit.k8s.io/v1``: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
One request has several records, one for each stage that it reached, all with the same ``auditID``.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import argocd, envelope
from auditflow.contract import bounds
from auditflow.contract.event import Event, LogSource, Timestamp
from auditflow.errors import ContractError

API_VERSION: Final = "audit.k8s.io/v1"
#: As in SigmaHQ's rules under rules/application/kubernetes/audit.
LOG_SOURCE: Final = LogSource(product="kubernetes", service="audit", category="application")
_DECISION: Final = "authorization.k8s.io/decision"
_NonEmpty = Annotated[str, Meta(min_length=1)]


class User(Struct, gc=False):
    """authentication.k8s.io/v1 UserInfo. An impersonated user may lack a name."""

    username: str | None = None
    groups: list[str] | None = None


class ObjectReference(Struct, rename="camel", gc=False):
    """What a request was about. Absent for URLs that name no resource."""

    resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    api_group: str | None = None
    subresource: str | None = None

    @property
    def kind(self) -> str:
        """The resource as RBAC has it: ``pods/exec``."""
        return "/".join(part for part in (self.resource, self.subresource) if part)

    @property
    def path(self) -> str:
        """Where it is: ``production/pods/web-0/exec``."""
        # A namespace is said to be in itself.
        around = None if self.resource == "namespaces" else self.namespace
        parts = (around, self.resource, self.name, self.subresource)
        return "/".join(part for part in parts if part)


class Status(Struct, gc=False):
    """The parts of meta/v1 Status that tell how a request ended."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None


class Record(Struct, gc=False):
    """The fields of an audit Event that are read here; the others stay in ``Event.record``."""

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


def records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The records in a request: an EventList's items, or a single Event.

    Raises:
        ContractError: the body is neither (``envelope.Malformed``: not JSON at all).
    """
    envelope.check_text(body)
    document = envelope.fields(body)
    version, kind = (envelope.text(document.get(name)) for name in ("apiVersion", "kind"))
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
    items = envelope.elements(bytes(document["items"]), name="items")
    yield from ((f"items[{index}]", item) for index, item in enumerate(items))


def event_of(item: bytes) -> Event:
    """The event of one stage of one request.

    The identifier is ``auditID:stage:`` and when the API server received the request, since a
    client may choose the auditID (by the header Audit-ID) and would hide a burst by repeating one.
    The time is that of the stage; ``event_type`` is the verb and the resource ("create pods/exec").
    Nothing in the record names a host. What a person did in Argo CD is that person's event.

    Raises:
        ContractError: what does not fit, and where.
    """
    try:
        record = _read(item)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)) from None
    moment = record.stage_timestamp or record.received
    if moment is None:
        raise ContractError("Object missing required field `stageTimestamp`")
    act = _act(record)
    if act is not None:
        return _argocd(act, record, moment, item)
    return Event(
        event_id=_identifier(record),
        timestamp=moment.astimezone(dt.UTC),
        event_type=_event_type(record),
        source_service="kube-apiserver",
        user_id=_username(record.impersonated_user) or _username(record.user),
        action_result=_result(record),
        client_ip=record.source_ips[0] if record.source_ips else None,
        resource=_resource(record),
        details=_details(record),
        logsource=LOG_SOURCE,
        record=Raw(item),
    )


def _act(record: Record) -> argocd.Act | None:
    """What a person did in Argo CD, when the record tells of that."""
    reference = record.object_ref
    if record.verb != "create" or reference is None or reference.kind != "events":
        return None
    if not bytes(record.request_object):
        return None
    return argocd.act(_username(record.user), msgspec.json.decode(record.request_object))


def _argocd(act: argocd.Act, record: Record, moment: dt.datetime, item: bytes) -> Event:
    return Event(
        event_id=_identifier(record),
        timestamp=moment.astimezone(dt.UTC),
        event_type=act.event_type,
        source_service="argocd",
        user_id=act.user,
        action_result=_result(record),
        resource=act.resource,
        # Its address is Argo CD's own, and no client's.
        details={"message": act.message, "namespace": act.involved_object.namespace},
        logsource=LOG_SOURCE,
        record=Raw(item),
    )


def _event_type(record: Record) -> str:
    kind = record.object_ref.kind if record.object_ref else ""
    # The paths themselves are any number; they stand in `resource`.
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
        return None  # the request was only received
    return "SUCCESS" if code < 400 else "FAILURE"


def _details(record: Record) -> dict[str, Any]:
    reference, status = record.object_ref, record.response_status
    impersonated = record.impersonated_user is not None
    found = {
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
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _identifier(record: Record) -> str:
    parts = (record.audit_id, record.stage)
    return ":".join(parts if record.received is None else (*parts, record.received.isoformat()))
