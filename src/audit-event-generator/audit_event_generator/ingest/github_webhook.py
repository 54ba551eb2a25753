"""GitHub webhooks: events of an organisation or a repository.

Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
Signatures: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

import datetime as dt
import hashlib
import hmac
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from audit_event_generator.ingest import raw_json
from audit_event_generator.ingest.timestamps import to_utc
from auditflow.contract.event import Event, LogSource

#: The service is not ``audit``, because the field ``action`` has other values in webhooks
#: ("created", not "repo.create").
LOG_SOURCE: Final = LogSource(product="github", service="webhook")
_SCHEME: Final = "sha256="


class Named(Struct, gc=False):
    """The name of a sender, an organisation or a repository."""

    login: str | None = None
    full_name: str | None = None


class Payload(Struct, gc=False):
    """The fields that most payloads have. ``Event.record`` keeps the complete payload."""

    action: str | None = None
    sender: Named | None = None
    repository: Named | None = None
    organization: Named | None = None
    ref: str | None = None


_read = msgspec.json.Decoder(Payload).decode


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether ``X-Hub-Signature-256`` is the signature of the body. Compares in constant time."""
    expected = _SCHEME + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


def to_event(body: bytes, *, name: str, delivery: str, received: dt.datetime) -> Event:
    """Convert one delivery. ``event_type`` is the event and its action: "member.added".

    ``name`` and ``delivery`` are the headers ``X-GitHub-Event`` and ``X-GitHub-Delivery``. A
    redelivery has the same ``X-GitHub-Delivery``. Payloads have no timestamp, so the event has the
    time at which the delivery was received.

    Raises:
        ContractError: a field has a wrong type.
        raw_json.MalformedJSON: the body is not JSON.
    """
    try:
        payload = raw_json.read_record(_read, body)
    except raw_json.MalformedJSON as error:
        if body.startswith(b"payload="):
            raise raw_json.MalformedJSON(
                f"{error} (set the content type of the webhook to application/json)"
            ) from None
        raise
    return Event(
        event_id=delivery,
        timestamp=to_utc(received),
        event_type=f"{name}.{payload.action}" if payload.action else name,
        source_service="github",
        user_id=payload.sender.login if payload.sender else None,
        action_result="SUCCESS",
        resource=_resource(payload),
        details=_details(payload),
        logsource=LOG_SOURCE,
        record=Raw(body),
    )


def _resource(payload: Payload) -> str | None:
    repository, organisation = payload.repository, payload.organization
    return (repository.full_name if repository else None) or (
        organisation.login if organisation else None
    )


def _details(payload: Payload) -> dict[str, Any] | None:
    values = {
        "org": payload.organization.login if payload.organization else None,
        "ref": payload.ref,
    }
    return {name: value for name, value in values.items() if value} or None
