"""GitHub's webhooks: what happened in an organisation or repository, as it happens.

Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
Signatures: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

import datetime as dt
import hashlib
import hmac
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from audit_event_generator.ingest import envelope
from auditflow.contract import bounds
from auditflow.contract.event import Event, LogSource
from auditflow.errors import ContractError

#: Not the service ``audit``: the same field ``action`` says "created" here, "repo.create" there.
LOG_SOURCE: Final = LogSource(product="github", service="webhook")
_SCHEME: Final = "sha256="


class Named(Struct, gc=False):
    """The sender, the organisation or the repository: whichever name it has."""

    login: str | None = None
    full_name: str | None = None


class Payload(Struct, gc=False):
    """The fields that most payloads share; the others stay in ``Event.record``."""

    action: str | None = None
    sender: Named | None = None
    repository: Named | None = None
    organization: Named | None = None
    ref: str | None = None


_read = msgspec.json.Decoder(Payload).decode


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether ``X-Hub-Signature-256`` is that of the body as it came, compared in constant time."""
    expected = _SCHEME + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


def event_of(body: bytes, *, name: str, delivery: str, received: dt.datetime) -> Event:
    """The event of a delivery. ``event_type`` is the event and its action: "member.added".

    ``name`` and ``delivery`` are of the headers ``X-GitHub-Event`` and ``X-GitHub-Delivery``; the
    latter stays the same when GitHub delivers again. No payload says when it happened, so the time
    is that of receiving it.

    Raises:
        ContractError: what does not fit, and where (``envelope.Malformed``: not JSON at all).
    """
    envelope.check_text(body)
    try:
        payload = _read(body)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except msgspec.ValidationError as error:
        raise ContractError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = " (set the webhook's content type to application/json)"
        raise envelope.Malformed(f"{error}{hint if body.startswith(b'payload=') else ''}") from None
    return Event(
        event_id=delivery,
        timestamp=received.astimezone(dt.UTC),
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
    found = {
        "org": payload.organization.login if payload.organization else None,
        "ref": payload.ref,
    }
    return {name: value for name, value in found.items() if value} or None
