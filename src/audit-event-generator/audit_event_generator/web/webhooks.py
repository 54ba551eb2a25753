"""Webhooks: verify the signatures of GitHub, answer the challenges of Okta."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from audit_event_generator.ingest import github_webhook
from audit_event_generator.web.problems import Response, respond
from auditflow.contract.event import Event
from auditflow.errors import ContractError
from auditflow.http.problem import Problem

_SIGNATURE: Final = "X-Hub-Signature-256"
_EVENT: Final = "X-GitHub-Event"
_DELIVERY: Final = "X-GitHub-Delivery"
_CHALLENGE: Final = "X-Okta-Verification-Challenge"
#: Valid names of events and deliveries. They become parts of events.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SIGNATURE_FORM: Final = re.compile(r"sha256=[0-9a-f]{64}")


class DeliveryHeaders(Struct, frozen=True):
    """The headers X-GitHub-Event and X-GitHub-Delivery."""

    name: str
    delivery: str


def is_delivery(headers: Mapping[str, str]) -> bool:
    """Whether the request is a webhook delivery, not a part of the audit log."""
    return _EVENT.lower() in headers


def requires_signature(headers: Mapping[str, str]) -> bool:
    """Whether the signature authenticates this request, not the token."""
    return is_delivery(headers) or _SIGNATURE.lower() in headers


def has_signature(headers: Mapping[str, str]) -> bool:
    """Whether the request has a signature, which may be wrong."""
    return _SIGNATURE_FORM.fullmatch(headers.get(_SIGNATURE.lower(), "")) is not None


def is_signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether GitHub signed the body with the secret."""
    return github_webhook.is_signed(body, headers.get(_SIGNATURE.lower(), ""), secret)


def wrong_signature() -> Response:
    """Return the response to a missing or wrong signature."""
    detail = f"{_SIGNATURE} is not the signature of this body with the secret of this service."
    return respond(Problem(401, "Unauthorized", detail))


def delivery_headers(headers: Mapping[str, str]) -> DeliveryHeaders:
    """Return the headers of a delivery.

    Raises:
        ContractError: a header is missing or invalid.
    """
    name, delivery = (headers.get(header.lower(), "") for header in (_EVENT, _DELIVERY))
    for header, value in ((_EVENT, name), (_DELIVERY, delivery)):
        if not _NAME.fullmatch(value):
            raise ContractError(f"the header {header} must be 1 to 64 letters, digits, _ . -")
    return DeliveryHeaders(name, delivery)


def to_event(headers: DeliveryHeaders, body: bytes) -> Event:
    """Convert a delivery of GitHub.

    Raises:
        ContractError: the payload is invalid.
    """
    return github_webhook.to_event(
        body, name=headers.name, delivery=headers.delivery, received=dt.datetime.now(dt.UTC)
    )


def okta_challenge(headers: Mapping[str, str]) -> Response:
    """Answer the verification request of Okta.

    https://developer.okta.com/docs/concepts/event-hooks/#one-time-verification-request
    """
    challenge = headers.get(_CHALLENGE.lower())
    if not challenge:
        detail = f"GET is for Okta's verification, with the header {_CHALLENGE}."
        return respond(Problem(400, "Bad Request", detail))
    return Response(200, msgspec.json.encode({"verification": challenge}))
